"""Speaking to the attendant (reconciler.attendant): what it serves, and what it shall serve."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reconciler.attendant import control

SO_MARK = 36  # include/uapi/asm-generic/socket.h
OURS = 0x00636E6D  # on the sockets that we open for it, so that we know them when we look who listens where
_PATIENCE = 10.0
_BACKLOG = 128
_FREEBIND = 15  # IP_FREEBIND, include/uapi/linux/in.h

Change = tuple[str, dict[str, Any] | None, Sequence[socket.socket] | None]
"""(key, spec or None to drop it, its sockets or None: it keeps those that it has)."""


def _ask(runtime: Path, message: Any, descriptors: Sequence[int] = ()) -> Any:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(_PATIENCE)
        connection.connect(str(runtime / "attendant.socket"))
        control.send(connection, message, descriptors)
        return control.receive(connection)[0]


def served(runtime: Path, kind: str) -> list[tuple[str, dict[str, Any]]]:
    """(key, spec) of all that it serves of a kind; nothing while it does not run."""
    try:
        return [(str(key), dict(spec)) for key, spec in _ask(runtime, {"list": kind})]
    except (FileNotFoundError, ConnectionRefusedError):
        return []


def change(runtime: Path, changes: Sequence[Change]) -> list[tuple[int, str]]:
    """(errno, text) of each change. Closes the sockets that were handed over. Raises OSError."""
    given = [sockets for _key, _spec, sockets in changes if sockets is not None]
    descriptors = [each.fileno() for sockets in given for each in sockets]
    try:
        items = [(key, spec, len(sockets) if sockets is not None else -1) for key, spec, sockets in changes]
        return [(int(number), str(text)) for number, text in _ask(runtime, {"apply": items}, descriptors)]
    finally:
        for sockets in given:
            for each in sockets:
                each.close()


def listen(protocol: str, address: str, port: int) -> socket.socket:
    """A socket in the namespace of the calling thread, bound and for TCP listening. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    own = socket.socket(family, kind | socket.SOCK_CLOEXEC)
    try:
        own.setsockopt(socket.SOL_SOCKET, SO_MARK, OURS)
        if family == socket.AF_INET6:
            own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "tcp":
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        elif family == socket.AF_INET6:
            own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            own.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
        own.setsockopt(socket.IPPROTO_IP, _FREEBIND, 1)  # an address that the host gets later; loopback that is down
        own.bind((address, port))
        if protocol == "tcp":
            own.listen(_BACKLOG)
    except OSError:
        own.close()
        raise
    return own
