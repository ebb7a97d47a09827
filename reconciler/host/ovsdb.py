"""Open vSwitch's daemons over their Unix sockets: the database (RFC 7047) and the daemons' own commands, both JSON-RPC 1.0.

Nothing is opened before somebody asks, so a host without Open vSwitch pays one look for a socket.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from codecs import getincrementaldecoder
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple

from reconciler.errors import ObservationError
from reconciler.host.step import Step, unhindered

DATABASE = "Open_vSwitch"
_RUNTIME = "/run/openvswitch"
_ANSWER = 30.0  # seconds that an answer may take
_FLOCK = Struct("=hhxxxxqqi4x")  # struct flock of 64-bit Linux: type, whence, start, length, pid
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

    def lacks_dpdk(self) -> str:
        """ "" when ovs-vswitchd was built with DPDK."""
        if not self.present():
            return self.missing()
        rows = self.select({DATABASE: ("dpdk_version",)})[DATABASE]
        version = next((text for row in rows for text in atoms(row["dpdk_version"])), "none")
        return "this ovs-vswitchd is one without DPDK" if version in ("", "none") else ""

    def present(self, *, asked: bool = False) -> bool:
        """Whether there is a server that answers. No socket, or one that nobody serves: no; nor one that we may not speak to,
        unless it is ``asked`` for. Raises ObservationError."""
        try:
            self._connected()
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return False
        except OSError as error:
            if isinstance(error, PermissionError) and not asked:
                return False
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

    def ports(self) -> frozenset[str] | None:
        """The names of all ports; None when there is no server to ask. Raises ObservationError."""
        if not self.present():
            return None
        return frozenset(row["name"] for row in self.select({"Port": ("name",)})["Port"])

    def transact(
        self, operations: Sequence[Operation], database: str = DATABASE
    ) -> tuple[Sequence[Mapping[str, Any]], Refused | None]:
        """All of the operations, or none: their results, or what was refused. Raises OSError when the server is gone."""
        self._step("ovsdb", "transaction")
        results = self._call("transact", [database, *operations])
        return results, _refusal(results)

    def switching(self) -> bool:
        """Whether ovs-vswitchd runs."""
        return self.pid() != 0

    def pid(self) -> int:
        """The process id of ovs-vswitchd, as it is told in our process namespace (-1: it is in another one); 0 when it does
        not run. It holds a lock on its pid file as long as it lives (lib/daemon-unix.c). The file is called as the program is:
        ovs-vswitchd-dpdk as well."""
        for path in sorted(self.runtime.glob("ovs-vswitchd*.pid")):
            try:
                with path.open("rb") as file:
                    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
                    kind, _whence, _start, _length, pid = _FLOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))
            except OSError:
                continue
            if kind != fcntl.F_UNLCK:
                return pid or -1
        return 0

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

    def changes(self, tables: Mapping[str, Sequence[str]], database: str = DATABASE) -> Changes:
        """A connection of its own that tells when one of these columns changes (RFC 7047, 4.1.5). Raises OSError."""
        return Changes(self.path, tables, database)

    def command(self, method: str, *parameters: str) -> str:
        """A command of ovs-vswitchd (ovs-appctl(8)): what it says. Raises OSError."""
        for path in sorted(self.runtime.glob("ovs-vswitchd*.ctl")):
            try:
                wire = _Wire(path)
            except ConnectionRefusedError:  # left of one that was killed
                continue
            try:
                return str(wire.call(method, list(parameters), _ANSWER))
            finally:
                wire.close()
        raise FileNotFoundError(2, "ovs-vswitchd takes no commands", str(self.runtime))

    def _connected(self) -> _Wire:
        """Raises OSError. A connection that was closed is seen to be before anything is written to it."""
        if self._wire is not None and self._wire.closed():
            self.close()
        if self._wire is None:
            self._wire = _Wire(self.path)
        return self._wire

    def _call(self, method: str, parameters: Sequence[Any]) -> Any:
        """On a connection that the server closed, by a restart, nothing was asked: a new one is opened."""
        try:
            return self._connected().call(method, parameters, _ANSWER)
        except OSError:
            self.close()
            raise


class Changes:
    """What is told unasked."""

    def __init__(self, path: Path, tables: Mapping[str, Sequence[str]], database: str) -> None:
        self._wire = _Wire(path)
        asked = {table: [{"columns": list(columns), "select": {"initial": False}}] for table, columns in tables.items()}
        try:
            self._wire.call("monitor", [database, None, asked], _ANSWER)
        except OSError:
            self._wire.close()
            raise

    def fileno(self) -> int:
        return self._wire.fileno()

    def close(self) -> None:
        self._wire.close()

    def heard(self) -> bool | None:
        """Whether anything changed; None when the server has gone."""
        try:
            return any(message.get("method") == "update" for message in self._wire.waiting())
        except OSError:
            return None


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

    def fileno(self) -> int:
        return self._socket.fileno()

    def waiting(self) -> list[dict[str, Any]]:
        """What was said unasked; echo requests are answered. Raises OSError when the other side has gone."""
        found = []
        gone = self.closed()
        while self._text.endswith("}"):
            try:
                message, end = _DECODER.raw_decode(self._text)
            except ValueError:
                break
            self._text = self._text[end:].lstrip()
            found.append(message)
            if message.get("method") == "echo" and not gone:
                self._send({"result": message["params"], "error": None, "id": message["id"]})
        if gone and not found:
            raise ConnectionResetError(104, "the connection was closed")
        return found

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
