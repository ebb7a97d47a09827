"""RTM_*ROUTE messages (include/uapi/linux/rtnetlink.h)."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from struct import Struct
from typing import NamedTuple, Protocol

from reconciler.netlink.wire import (
    ATTRIBUTE,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    U32,
    attribute,
    message,
    u32,
)

RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC = 1, 4, 5, 6, 7
RTA_MULTIPATH, RTA_TABLE, RTA_VIA = 9, 15, 18
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_NOWHERE = 0, 253, 255
RT_TABLE_MAIN, RT_TABLE_LOCAL = 254, 255
RTN_UNICAST = 1
RTNH_F_ONLINK = 4
RTPROT_KERNEL, RTPROT_BOOT, RTPROT_RA = 2, 3, 9
RTM_F_CLONED, RTM_F_LOOKUP_TABLE, RTM_F_FIB_MATCH = 0x200, 0x1000, 0x2000
TYPES = {
    1: "unicast",
    2: "local",
    3: "broadcast",
    4: "anycast",
    5: "multicast",
    6: "blackhole",
    7: "unreachable",
    8: "prohibit",
}
_NUMBERS = {name: number for number, name in TYPES.items()}

_RTMSG = Struct("=BBBBBBBBI")  # family, dst_len, src_len, tos, table, protocol, scope, type, flags


class RawRoute(NamedTuple):
    """One route. ``to`` is a CIDR; ``index`` 0 and ``via`` "" when there is no single next hop."""

    to: str
    ifindex: int
    via: str
    src: str
    metric: int
    table: int
    protocol: int
    scope: int
    type: int
    onlink: bool
    cloned: bool


def dump_routes() -> bytes:
    """The body of a dump request: all routes of both families."""
    return _RTMSG.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)


def decode_route(buffer: bytearray, start: int, end: int) -> RawRoute | None:
    """One RTM_NEWROUTE payload; None for the kernel's own table of local addresses, which nobody manages."""
    family, prefix, _src, _tos, table, protocol, scope, kind, flags = _RTMSG.unpack_from(buffer, start)
    if table == RT_TABLE_LOCAL or family not in (AF_INET, AF_INET6):
        return None
    to = via = src = ""
    index = metric = 0
    unpack = ATTRIBUTE.unpack_from
    offset = start + 12
    while offset + 4 <= end:
        length, attr = unpack(buffer, offset)
        if length < 4:
            break
        at = offset + 4
        if attr == RTA_DST:
            to = inet_ntop(family, bytes(buffer[at : offset + length]))
        elif attr == RTA_OIF:
            index = U32.unpack_from(buffer, at)[0]
        elif attr == RTA_GATEWAY:
            via = inet_ntop(family, bytes(buffer[at : offset + length]))
        elif attr == RTA_VIA:
            other = AF_INET6 if length - 6 == 16 else AF_INET
            via = inet_ntop(other, bytes(buffer[at + 2 : offset + length]))
        elif attr == RTA_PRIORITY:
            metric = U32.unpack_from(buffer, at)[0]
        elif attr == RTA_PREFSRC:
            src = inet_ntop(family, bytes(buffer[at : offset + length]))
        elif attr == RTA_TABLE:
            table = U32.unpack_from(buffer, at)[0]
        offset += (length + 3) & ~3
    if not to:
        to = "0.0.0.0" if family == AF_INET else "::"  # noqa: S104 - the default route, nothing listens
    onlink = bool(flags & RTNH_F_ONLINK)
    cloned = bool(flags & RTM_F_CLONED)
    return RawRoute(f"{to}/{prefix}", index, via, src, metric, table, protocol, scope, kind, onlink, cloned)


def _encode(
    to: str,
    index: int,
    via: str | None,
    src: str | None,
    metric: int,
    table: int,
    protocol: int,
    kind: str,
    *,
    onlink: bool,
) -> list[bytes]:
    address, _, prefix = to.partition("/")
    family = AF_INET6 if ":" in address else AF_INET
    number = _NUMBERS[kind]
    link_scope = family == AF_INET and via is None and number == RTN_UNICAST
    flags = RTNH_F_ONLINK if onlink else 0
    scope = RT_SCOPE_LINK if link_scope else RT_SCOPE_UNIVERSE
    short = table if table < 256 else 0
    body = [_RTMSG.pack(family, int(prefix), 0, 0, short, protocol, scope, number, flags), u32(RTA_TABLE, table)]
    if int(prefix):
        body.append(attribute(RTA_DST, inet_pton(family, address)))
    if index:
        body.append(u32(RTA_OIF, index))
    if via is not None:
        via_family = AF_INET6 if ":" in via else AF_INET
        if via_family == family:
            body.append(attribute(RTA_GATEWAY, inet_pton(family, via)))
        else:  # an IPv4 route over an IPv6 next hop (RFC 5549)
            body.append(attribute(RTA_VIA, via_family.to_bytes(2, "little") + inet_pton(via_family, via)))
    if src is not None:
        body.append(attribute(RTA_PREFSRC, inet_pton(family, src)))
    if metric:
        body.append(u32(RTA_PRIORITY, metric))
    return body


def new_route(
    to: str,
    index: int,
    protocol: int,
    *,
    via: str | None = None,
    src: str | None = None,
    metric: int = 0,
    table: int = RT_TABLE_MAIN,
    kind: str = "unicast",
    onlink: bool = False,
    replace: bool = False,
) -> bytes:
    """Add a route; ``replace`` changes the one of the same destination, metric and table in place."""
    body = _encode(to, index, via, src, metric, table, protocol, kind, onlink=onlink)
    return message(RTM_NEWROUTE, NLM_F_CREATE | (NLM_F_REPLACE if replace else NLM_F_EXCL), *body)


def delete_route(to: str, index: int, protocol: int, *, via: str | None, metric: int, table: int, kind: str) -> bytes:
    """Delete exactly this route; the protocol is part of the match, so that a foreign one never goes."""
    address, _, prefix = to.partition("/")
    family = AF_INET6 if ":" in address else AF_INET
    short = table if table < 256 else 0
    body = [_RTMSG.pack(family, int(prefix), 0, 0, short, protocol, RT_SCOPE_NOWHERE, _NUMBERS[kind], 0)]
    body += _encode(to, index, via, None, metric, table, protocol, kind, onlink=False)[1:]
    return message(RTM_DELROUTE, 0, *body)


class Asked(Protocol):
    """What answers a single request (host.rtnl)."""

    def ask(self, request: bytes, decode: Callable[[bytearray, int, int], RawRoute | None]) -> RawRoute | None: ...


def lookup_route(socket: Asked, to: IPv4Address | IPv6Address, *, entry: bool = False) -> RawRoute | None:
    """The route that a packet to ``to`` takes now, resolved; with ``entry`` the entry of the routing table that was
    matched, with its own prefix. None when there is none, or when ``to`` is this host's own address."""
    family = AF_INET6 if to.version == 6 else AF_INET
    flags = RTM_F_LOOKUP_TABLE | (RTM_F_FIB_MATCH if entry else 0)
    header = _RTMSG.pack(family, to.max_prefixlen, 0, 0, 0, 0, 0, 0, flags)
    return socket.ask(message(RTM_GETROUTE, 0, header, attribute(RTA_DST, to.packed)), decode_route)
