"""RTM_*NEIGH messages (include/uapi/linux/neighbour.h)."""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from struct import Struct
from typing import NamedTuple

from reconciler.netlink.wire import ATTRIBUTE, NLM_F_CREATE, NLM_F_REPLACE, attribute, message, u8

RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
NDA_DST, NDA_LLADDR, NDA_PROTOCOL = 1, 2, 12
NUD_NOARP, NUD_PERMANENT = 0x40, 0x80
STATES = {
    0x01: "incomplete",
    0x02: "reachable",
    0x04: "stale",
    0x08: "delay",
    0x10: "probe",
    0x20: "failed",
    0x80: "permanent",
}

_NDMSG = Struct("=BxxxiHBB")  # family, index, state, flags, type


class RawNeighbour(NamedTuple):
    """One ARP or ND entry."""

    ifindex: int
    address: str
    mac: str
    state: int
    protocol: int


def dump_neighbours() -> bytes:
    """The body of a dump request: the ARP and ND tables."""
    return _NDMSG.pack(0, 0, 0, 0, 0)


def decode_neighbour(buffer: bytearray, start: int, end: int) -> RawNeighbour | None:
    """One RTM_NEWNEIGH payload; None for what is no ARP or ND entry, and for the kernel's own (multicast)."""
    family, index, state, _flags, _type = _NDMSG.unpack_from(buffer, start)
    if family not in (AF_INET, AF_INET6) or state & NUD_NOARP:
        return None
    address = mac = ""
    protocol = 0
    offset = start + 12
    while offset + 4 <= end:
        length, attr = ATTRIBUTE.unpack_from(buffer, offset)
        if length < 4:
            break
        if attr == NDA_DST:
            address = inet_ntop(family, bytes(buffer[offset + 4 : offset + length]))
        elif attr == NDA_LLADDR:
            mac = buffer[offset + 4 : offset + length].hex(":")
        elif attr == NDA_PROTOCOL:
            protocol = buffer[offset + 4]
        offset += (length + 3) & ~3
    return RawNeighbour(index, address, mac, state, protocol) if address else None


def new_neighbour(index: int, address: str, mac: str, protocol: int) -> bytes:
    """Add a permanent entry, or replace the one (learned or not) that stands there."""
    family = AF_INET6 if ":" in address else AF_INET
    return message(
        RTM_NEWNEIGH,
        NLM_F_CREATE | NLM_F_REPLACE,
        _NDMSG.pack(family, index, NUD_PERMANENT, 0, 0),
        attribute(NDA_DST, inet_pton(family, address)),
        attribute(NDA_LLADDR, bytes.fromhex(mac.replace(":", ""))),
        u8(NDA_PROTOCOL, protocol),
    )


def delete_neighbour(index: int, address: str) -> bytes:
    family = AF_INET6 if ":" in address else AF_INET
    return message(RTM_DELNEIGH, 0, _NDMSG.pack(family, index, 0, 0, 0), attribute(NDA_DST, inet_pton(family, address)))
