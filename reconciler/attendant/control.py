"""How cnm and its attendant speak: one request a connection of a unix socket, JSON behind its length, descriptors along.

Requests: ``{"list": KIND}`` is answered by ``[[key, spec], ...]``; ``{"apply": [[key, spec or null, descriptors], ...]}``
by ``[[errno, text], ...]``.
"""

from __future__ import annotations

import json
import socket
from array import array
from collections.abc import Sequence
from struct import Struct
from typing import Any

_LENGTH = Struct("!II")  # bytes of JSON, descriptors
_LARGEST = 256 << 20
_AT_ONCE = 200  # SCM_MAX_FD is 253


def send(connection: socket.socket, message: Any, descriptors: Sequence[int] = ()) -> None:
    """Raises OSError."""
    text = json.dumps(message, separators=(",", ":")).encode()
    connection.sendall(_LENGTH.pack(len(text), len(descriptors)) + text)
    for start in range(0, len(descriptors), _AT_ONCE):
        socket.send_fds(connection, [b"."], list(descriptors[start : start + _AT_ONCE]))


def receive(connection: socket.socket) -> tuple[Any, list[int]]:
    """(message, descriptors). Raises OSError, also when the other side says nothing that makes sense."""
    length, count = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if length > _LARGEST:
        raise OSError(90, "message too long")
    try:
        message = json.loads(_exactly(connection, length))
    except ValueError as error:
        raise OSError(22, f"no JSON: {error}") from None
    descriptors: list[int] = []
    while len(descriptors) < count:
        space = socket.CMSG_SPACE(_AT_ONCE * array("i").itemsize)
        data, ancillary, _flags, _from = connection.recvmsg(1, space)
        if not data:
            raise OSError(104, "the other side is gone")
        for _level, _kind, raw in ancillary:
            found = array("i")
            found.frombytes(raw[: len(raw) - len(raw) % found.itemsize])
            descriptors += found
    return message, descriptors


def _exactly(connection: socket.socket, length: int) -> bytes:
    parts = []
    while length:
        part = connection.recv(min(length, 1 << 20))
        if not part:
            raise OSError(104, "the other side is gone")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
