"""Open vSwitch's daemons over their Unix sockets: the database (RFC 7047) and the daemons' own commands, both JSON-RPC 1.0.

Nothing is opened before somebody asks, so a host without Open vSwitch pays one look for a socket.
"""

from __future__ import annotations

import json
import os
import socket
import time
from codecs import getincrementaldecoder
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from reconciler.errors import ObservationError
from reconciler.host.step import Step, unhindered

DATABASE = "Open_vSwitch"
_RUNTIME = "/run/openvswitch"
_ANSWER = 30.0  # seconds that an answer may take
_LOCK = "ovs_vswitchd"  # what ovs-vswitchd holds in the database as long as it runs (vswitchd/bridge.c)
_DECODER = json.JSONDecoder()

Uuid = str
Operation = Mapping[str, Any]
RowData = dict[str, Any]


class Refused(NamedTuple):
    """What the database would not do: RFC 7047's error word and its details."""

    error: str
    details: str

    def __str__(self) -> str:
        return f"{self.error}: {self.details}" if self.details else self.error


class Ovsdb:
    """One server's socket, kept open; opened anew when the server was restarted. Not for two threads at once."""

    def __init__(self, step: Step = unhindered, runtime: str | None = None) -> None:
        self.runtime = Path(runtime or os.environ.get("OVS_RUNDIR") or _RUNTIME)
        self._step = step
        self._wire: _Wire | None = None

    @property
    def path(self) -> Path:
        return self.runtime / "db.sock"

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def missing(self) -> str:
        """ "" when the server answers, else what is wrong."""
        try:
            self._call("list_dbs", [])
        except FileNotFoundError:
            return f"{self.path} is not there: Open vSwitch is not installed, or ovsdb-server does not run"
        except OSError as error:
            return f"ovsdb-server does not answer at {self.path}: {error.strerror or error}"
        return ""

    def present(self) -> bool:
        """Whether there is a server that answers. No socket, or one that nobody serves: no."""
        try:
            self._connected()
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return False
        except OSError as error:
            raise ObservationError(f"{self.path}: {error.strerror or error}") from None
        return True

    def select(self, tables: Mapping[str, Sequence[str]], database: str = DATABASE) -> dict[str, list[RowData]]:
        """These columns of all rows of these tables, of one moment. Raises ObservationError."""
        operations = [
            {"op": "select", "table": table, "where": [], "columns": list(columns)} for table, columns in tables.items()
        ]
        try:
            results = self._call("transact", [database, *operations])
        except OSError as error:
            raise ObservationError(f"{self.path}: {error.strerror or error}") from None
        refused = _refusal(results)
        if refused is not None:
            raise ObservationError(f"{self.path}: {refused}")
        return {table: result["rows"] for table, result in zip(tables, results, strict=True)}

    def transact(
        self, operations: Sequence[Operation], database: str = DATABASE
    ) -> tuple[Sequence[Mapping[str, Any]], Refused | None]:
        """All of the operations, or none: their results, or what was refused. Raises OSError when the server is gone."""
        self._step("ovsdb", "transaction")
        results = self._call("transact", [database, *operations])
        return results, _refusal(results)

    def switching(self) -> bool:
        """Whether ovs-vswitchd runs: while it does, it holds a lock in the database, which we are then not given."""
        try:
            wire = self._connected()
            free = bool(wire.call("lock", [_LOCK], _ANSWER).get("locked"))
            wire.call("unlock", [_LOCK], _ANSWER)
        except OSError:
            return False
        return not free

    def settled(self, number: int, patience: float) -> bool:
        """Wait until ovs-vswitchd has brought configuration ``number`` (next_cfg) into being, or for ``patience`` s."""
        deadline = time.monotonic() + patience
        seen = -1
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            wait = {
                "op": "wait",
                "timeout": max(1, int(min(left, 1.0) * 1000)),
                "table": DATABASE,
                "where": [],
                "columns": ["cur_cfg"],
                "until": "!=",
                "rows": [{"cur_cfg": seen}],
            }
            look = {"op": "select", "table": DATABASE, "where": [], "columns": ["cur_cfg"]}
            results = self._call("transact", [DATABASE, wait, look])
            if _refusal(results) is None:
                seen = int(results[1]["rows"][0]["cur_cfg"])
                if seen >= number:
                    return True

    def command(self, method: str, *parameters: str) -> str:
        """A command of ovs-vswitchd (ovs-appctl(8)): what it says. Raises OSError."""
        pid = (self.runtime / "ovs-vswitchd.pid").read_text().strip()
        wire = _Wire(self.runtime / f"ovs-vswitchd.{pid}.ctl")
        try:
            return str(wire.call(method, list(parameters), _ANSWER))
        finally:
            wire.close()

    def management(self, bridge: str) -> str:
        """Where the OpenFlow side of a bridge of this switch is spoken to, as ovs-ofctl(8) wants it."""
        return f"unix:{self.runtime / bridge}.mgmt"

    def _connected(self) -> _Wire:
        if self._wire is None:
            self._wire = _Wire(self.path)
        return self._wire

    def _call(self, method: str, parameters: Sequence[Any]) -> Any:
        """Asked once more where the server was restarted since the last time: what it then gets, it gets for the first
        time, because a connection that was closed is seen to be before anything is written to it."""
        if self._wire is not None and self._wire.closed():
            self.close()
        try:
            return self._connected().call(method, parameters, _ANSWER)
        except OSError:
            self.close()
            raise


def _refusal(results: Sequence[Any]) -> Refused | None:
    for result in results:
        if result is not None and "error" in result:
            return Refused(str(result["error"]), str(result.get("details", "")))
    return None


class _Wire:
    """A connection that speaks JSON-RPC 1.0 as RFC 7047, 4 has it: objects one after the other, without a separator."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.settimeout(_ANSWER)
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._number = 0
        self._text = ""
        self._decoder = getincrementaldecoder("utf-8")()

    def close(self) -> None:
        self._socket.close()

    def closed(self) -> bool:
        """Whether the other side has gone. What it said unasked (echo requests) is kept."""
        try:
            with suppress(BlockingIOError):
                self._socket.settimeout(0)
                data = self._socket.recv(65536)
                if not data:
                    return True
                self._text += self._decoder.decode(data)
        except OSError:
            return True
        finally:
            self._socket.settimeout(_ANSWER)
        return False

    def call(self, method: str, parameters: Sequence[Any], patience: float) -> Any:
        """The result. Raises OSError: TimeoutError, ConnectionError, and EINVAL with the words of an error."""
        self._number += 1
        self._send({"method": method, "params": parameters, "id": self._number})
        for message in self._messages(patience):
            if message.get("method") == "echo":
                self._send({"result": message["params"], "error": None, "id": message["id"]})
            elif message.get("id") == self._number and "method" not in message:
                if message.get("error") is not None:
                    raise OSError(22, _words(message["error"]))
                return message["result"]
        raise ConnectionResetError(104, "the connection was closed")

    def _send(self, message: Mapping[str, Any]) -> None:
        self._socket.sendall(json.dumps(message, separators=(",", ":")).encode())

    def _messages(self, patience: float) -> Iterable[dict[str, Any]]:
        self._socket.settimeout(patience)
        while True:
            if self._text.endswith(
                "}"
            ):  # else the last message is not whole: do not try, a long one comes in many pieces
                try:
                    message, end = _DECODER.raw_decode(self._text)
                except ValueError:
                    pass
                else:
                    self._text = self._text[end:].lstrip()
                    yield message
                    continue
            data = self._socket.recv(1 << 20)
            if not data:
                return
            self._text += self._decoder.decode(data)


def _words(error: Any) -> str:
    return str(error.get("details") or error.get("error")) if isinstance(error, dict) else str(error).strip()


def atoms(value: Any) -> tuple[Any, ...]:
    """A column's value as a tuple: a set of any size, or the one that stands alone; a UUID as its text."""
    if isinstance(value, list):
        if value[0] == "set":
            return tuple(_atom(item) for item in value[1])
        return (_atom(value),)
    return (value,)


def _atom(value: Any) -> Any:
    return value[1] if isinstance(value, list) else value


def pairs(value: Any) -> dict[Any, Any]:
    """A map column's value."""
    return {_atom(name): _atom(item) for name, item in value[1]}


def a_set(items: Iterable[Any]) -> list[Any]:
    return ["set", list(items)]


def a_map(items: Iterable[tuple[Any, Any]]) -> list[Any]:
    return ["map", [[name, value] for name, value in items]]


def same(uuid: Uuid) -> list[Any]:
    """The condition that a row is this one."""
    return [["_uuid", "==", ["uuid", uuid]]]
