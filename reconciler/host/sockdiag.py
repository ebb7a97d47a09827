"""Who listens on which port of a namespace (sock_diag(7))."""

from __future__ import annotations

import socket
from struct import Struct
from typing import NamedTuple

from reconciler.host.namespace import Namespace
from reconciler.host.rtnl import Rtnl
from reconciler.netlink.wire import U32, attributes

# include/uapi/linux/sock_diag.h, inet_diag.h
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY = 4, 20
INET_DIAG_SKV6ONLY, INET_DIAG_MARK = 11, 15
_REQUEST = Struct("=BBBxI48x")  # family, protocol, extensions, states; an empty inet_diag_sockid
_MESSAGE = Struct("=BBxx2s2x16s")  # family, state, source port (big endian), source
_LENGTH = 72  # of struct inet_diag_msg
_LISTEN, _CLOSE = 1 << 10, 1 << 7  # TCP that listens; UDP that is not connected
_PROTOCOLS = (("tcp", socket.IPPROTO_TCP, _LISTEN), ("udp", socket.IPPROTO_UDP, _CLOSE))


class Listening(NamedTuple):
    """``both``: an IPv6 socket that takes IPv4 as well. ``mark`` is its SO_MARK (0 to those who may not know it)."""

    protocol: str
    address: str
    port: int
    both: bool
    mark: int


def listening(namespace: Namespace) -> list[Listening]:
    """All TCP sockets that listen and all UDP sockets that take from anybody. Raises ObservationError."""
    with namespace.entered():
        diag = Rtnl(protocol=NETLINK_SOCK_DIAG)
    try:
        found: list[Listening] = []
        for name, number, states in _PROTOCOLS:

            def decode(buffer: bytearray, low: int, high: int, protocol: str = name) -> Listening | None:
                return _decode(protocol, buffer, low, high)

            for family in (socket.AF_INET, socket.AF_INET6):
                found += diag.dump(SOCK_DIAG_BY_FAMILY, _REQUEST.pack(family, number, 0, states), decode)
        return found
    finally:
        diag.close()


def _decode(protocol: str, buffer: bytearray, low: int, high: int) -> Listening | None:
    family, _state, port, source = _MESSAGE.unpack_from(buffer, low)
    number = int.from_bytes(port, "big")
    if not number:
        return None
    address = socket.inet_ntop(family, source[:4] if family == socket.AF_INET else source)
    only, mark = family == socket.AF_INET, 0
    for kind, first, _last in attributes(buffer, low + _LENGTH, high):
        if kind == INET_DIAG_SKV6ONLY:
            only = bool(buffer[first])
        elif kind == INET_DIAG_MARK:
            mark = U32.unpack_from(buffer, first)[0]
    return Listening(protocol, address, number, not only and address == "::", mark)
