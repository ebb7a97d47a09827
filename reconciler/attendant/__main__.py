"""``python -m reconciler.attendant RUNTIME_FOLDER [VERSION]``: serve until SIGTERM."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from reconciler.attendant import control
from reconciler.attendant.names import Directory, Resolver
from reconciler.attendant.relay import Relay

_NOBODY = 65534
_PATIENCE = 5.0  # seconds that one request may take


class Served(Protocol):
    """What the attendant serves, from when it is made until it is closed."""

    def release(self) -> Sequence[socket.socket]:
        """Stop serving; the sockets stay open, for what takes over."""


_directory = Directory()
KINDS: dict[str, Callable[[Any, Sequence[socket.socket]], Served]] = {
    "relay": Relay,
    "name": _directory.record,
    "resolver": partial(Resolver, _directory),
}


class Attendant:
    """All that is served, by key. ``kind/...`` names the kind."""

    def __init__(self, listener: socket.socket, master: int) -> None:
        self._listener = listener
        self._master = master
        self._specs: dict[str, Any] = {}
        self._served: dict[str, Served] = {}

    def readable(self) -> None:
        """Somebody wants something: one request, at once."""
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        with connection, suppress(OSError):
            connection.settimeout(_PATIENCE)
            _pid, uid, _gid = struct.unpack("=iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if uid != self._master:
                return
            message, descriptors = control.receive(connection)
            sockets = [socket.socket(fileno=fd) for fd in descriptors]
            if "list" in message:
                start = f"{message['list']}/"
                answer: Any = [[key, spec] for key, spec in self._specs.items() if key.startswith(start)]
            else:
                answer = [self._apply(key, spec, sockets, count) for key, spec, count in message["apply"]]
            _close(sockets)
            control.send(connection, answer)

    def _apply(self, key: str, spec: Any, sockets: list[socket.socket], count: int) -> tuple[int, str]:
        """``count`` of ``sockets``, taken from the front, are this one's; -1: it keeps those that it has."""
        old = self._served.pop(key, None)
        self._specs.pop(key, None)
        mine = list(old.release()) if old is not None else []
        if count >= 0:
            _close(mine)
            mine, sockets[:count] = sockets[:count], []
        if spec is None:
            _close(mine)
            return 0, ""
        try:
            self._served[key] = KINDS[key.partition("/")[0]](spec, mine)
        except (OSError, KeyError, ValueError, TypeError) as error:
            _close(mine)
            return getattr(error, "errno", None) or 22, f"{type(error).__name__}: {error}"
        self._specs[key] = spec
        return 0, ""


def _close(sockets: Sequence[socket.socket]) -> None:
    for each in sockets:
        each.close()


async def serve(listener: socket.socket, master: int, ready: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    loop.add_reader(listener, Attendant(listener, master).readable)
    ready()
    await over.wait()


def notifier() -> Callable[[], None]:
    """What says READY=1 to whoever started us (sd_notify(3)); connected while we may still reach it."""
    there = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with suppress(OSError):
        there.connect(os.environ.get("NOTIFY_SOCKET", ""))

    def ready() -> None:
        with there, suppress(OSError):
            there.send(b"READY=1")

    return ready


def drop_privileges() -> None:
    """Nothing here needs any; who is root in a user namespace without others stays it."""
    if os.getuid() == 0:
        with suppress(OSError):
            os.setgroups([])
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def main() -> None:
    path = Path(sys.argv[1], "attendant.socket")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    os.umask(0o177)
    listener.bind(str(path))
    listener.listen(16)
    listener.setblocking(False)
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    master, ready = os.getuid(), notifier()
    drop_privileges()
    asyncio.run(serve(listener, master, ready))


if __name__ == "__main__":
    main()
