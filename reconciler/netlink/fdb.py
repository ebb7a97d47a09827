"""RTM_*NEIGH messages of family AF_BRIDGE: forwarding tables (include/uapi/linux/neighbour.h).

A port of a bridge can be in two tables: the bridge's (``master``: which port a MAC address is behind) and, for a
VXLAN interface, its own (``self``: which tunnel endpoint it is behind).
"""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from struct import Struct
from typing import NamedTuple

from reconciler.netlink.wire import ATTRIBUTE, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REPLACE, attribute, message

RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
AF_BRIDGE = 7
NDA_DST, NDA_LLADDR, NDA_MASTER = 1, 2, 9
NTF_SELF, NTF_MASTER, NTF_EXT_LEARNED = 0x02, 0x04, 0x10
NUD_REACHABLE, NUD_NOARP, NUD_PERMANENT = 0x02, 0x40, 0x80
STATIC = NUD_NOARP | NUD_REACHABLE  # what `bridge fdb ... static` writes: neither table ages or moves it
EVERY = "00:00:00:00:00:00"  # a VXLAN interface's answer for what has no entry; may have many tunnel endpoints

_NDMSG = Struct("=BxxxiHBB")  # family, index, state, flags, type


class RawFdb(NamedTuple):
    """One entry of one table. ``dst`` is "" in a bridge's table, and where a VXLAN entry has no address."""

    ifindex: int
    mac: str
    dst: str
    master: int
    state: int
    flags: int


def dump_fdb() -> bytes:
    """The body of a dump request: the tables of all interfaces."""
    return _NDMSG.pack(AF_BRIDGE, 0, 0, 0, 0)


def decode_fdb(buffer: bytearray, start: int, end: int) -> RawFdb | None:
    """One RTM_NEWNEIGH payload; None for groups, for what a bridge keeps of its own ports' addresses, and for the
    unicast filters of hardware."""
    _family, index, state, flags, _type = _NDMSG.unpack_from(buffer, start)
    mac = bytearray()
    dst = ""
    master = 0
    offset = start + 12
    unpack = ATTRIBUTE.unpack_from
    while offset + 4 <= end:
        length, attr = unpack(buffer, offset)
        if length < 4:
            break
        if attr == NDA_LLADDR:
            mac = buffer[offset + 4 : offset + length]
        elif attr == NDA_DST:
            dst = inet_ntop(AF_INET if length == 8 else AF_INET6, buffer[offset + 4 : offset + length])
        elif attr == NDA_MASTER:
            master = int.from_bytes(buffer[offset + 4 : offset + 8], "little")
        offset += (length + 3) & ~3
    if len(mac) != 6 or mac[0] & 1 or (master and state & NUD_PERMANENT) or not (master or dst):
        return None
    return RawFdb(index, mac.hex(":"), dst, master, state, flags)


def new_fdb(index: int, mac: str, dst: str | None, *, master: bool) -> bytes:
    """Put a static entry into the interface's own table (``dst`` not None), its bridge's, or both; what stands there,
    learned or not, is replaced. The entry for what has no entry takes one more tunnel endpoint."""
    flags = (NTF_SELF if dst is not None else 0) | (NTF_MASTER if master else 0)
    body = [attribute(NDA_LLADDR, bytes.fromhex(mac.replace(":", "")))]
    if dst is not None:
        body.append(attribute(NDA_DST, inet_pton(AF_INET6 if ":" in dst else AF_INET, dst)))
    how = NLM_F_APPEND if mac == EVERY else NLM_F_REPLACE
    return message(RTM_NEWNEIGH, NLM_F_CREATE | how, _NDMSG.pack(AF_BRIDGE, index, STATIC, flags, 0), *body)


def delete_fdb(index: int, mac: str, dst: str | None) -> bytes:
    """Remove an entry from the interface's own table (``dst`` not None) or from its bridge's."""
    flags = NTF_SELF if dst is not None else NTF_MASTER
    body = [attribute(NDA_LLADDR, bytes.fromhex(mac.replace(":", "")))]
    if dst is not None:
        body.append(attribute(NDA_DST, inet_pton(AF_INET6 if ":" in dst else AF_INET, dst)))
    return message(RTM_DELNEIGH, 0, _NDMSG.pack(AF_BRIDGE, index, 0, flags, 0), *body)
