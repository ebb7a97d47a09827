"""What the kernel tells unasked: which object of which namespace changed, and by whose hand."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from reconciler.netlink.wire import HEADER, attributes, string

# Multicast groups, by number: include/uapi/linux/rtnetlink.h (enum rtnetlink_groups) and nfnetlink.h
RTNLGRP_LINK, RTNLGRP_NEIGH = 1, 3
RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE = 5, 7
RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE = 9, 11
RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF, RTNLGRP_NSID = 24, 25, 28
ROUTE_GROUPS = (
    RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE,
    RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF, RTNLGRP_NSID,
)  # fmt: skip
NFNLGRP_NFTABLES = 7

RTM_NEWLINK, RTM_DELLINK, RTM_DELNEIGH = 16, 17, 29
RTM_NEWNSID, RTM_DELNSID, RTM_GETNSID = 88, 89, 90
NETNSA_NSID, NETNSA_FD = 1, 3
_NFT = 10  # NFNL_SUBSYS_NFTABLES
_NFT_NEWGEN = 15
_NFTA_GEN_PROC_PID, _NFTA_GEN_PROC_NAME = 2, 3
_AF_BRIDGE = 7
_NUD_PERMANENT, _NUD_NOARP = 0x80, 0x40
_KINDS = {
    16: "link", 17: "link", 20: "address", 21: "address", 24: "route", 25: "route", 28: "neighbour", 29: "neighbour",
    80: "sysctl", 81: "sysctl", 88: "netns", 89: "netns",
}  # fmt: skip

_FAMILY, _NEIGHBOUR, _ROUTE = Struct("=B"), Struct("=BBHiHBB"), Struct("=BBBBBBBBI")
_IFINDEX = Struct("=i")


class Event(NamedTuple):
    """``batch`` is the resource batch that it concerns (``link``, ``address``, ``route``, ``neighbour``, ``fdb``,
    ``nft``, ``sysctl``, ``netns``); ``ifindex`` the interface, 0 where there is none. ``port`` is the netlink port of
    who did it (its process id, as a rule; 0: the kernel by itself), ``protocol`` a route's, ``process`` its name,
    where the event says. ``nsid``: of events about namespace numbers. ``start`` and ``end`` bound the payload."""

    batch: str
    ifindex: int = 0
    port: int = 0
    protocol: int = 0
    process: str = ""
    gone: bool = False
    nsid: int = -1
    start: int = 0
    end: int = 0


def route_events(buffer: bytearray, size: int) -> Iterator[Event]:
    """Events of a NETLINK_ROUTE datagram, but those of neighbours that traffic comes and goes with."""
    offset = 0
    while offset + 16 <= size:
        length, kind, _flags, _sequence, port = HEADER.unpack_from(buffer, offset)
        if length < 16:
            return
        start, end = offset + 16, min(offset + length, size)
        batch = _KINDS.get(kind, "")
        if batch == "neighbour":
            family, _, _, ifindex, state, _, _ = _NEIGHBOUR.unpack_from(buffer, start)
            if kind == RTM_DELNEIGH or state & (_NUD_PERMANENT | _NUD_NOARP):
                yield Event("fdb" if family == _AF_BRIDGE else batch, ifindex, port, gone=kind == RTM_DELNEIGH)
        elif batch == "link":
            # A bridge tells of its ports with family AF_BRIDGE: less than the event proper, which comes as well.
            if _FAMILY.unpack_from(buffer, start)[0] != _AF_BRIDGE:
                ifindex = _IFINDEX.unpack_from(buffer, start + 4)[0]
                yield Event(batch, ifindex, port, gone=kind == RTM_DELLINK, start=start, end=end)
        elif batch == "address":
            yield Event(batch, _IFINDEX.unpack_from(buffer, start + 4)[0], port)
        elif batch == "route":
            yield Event(batch, 0, port, protocol=_ROUTE.unpack_from(buffer, start)[5])
        elif batch == "netns":
            for attribute, low, high in attributes(buffer, start + 4, end):
                if attribute == NETNSA_NSID and high - low >= 4:
                    number = _IFINDEX.unpack_from(buffer, low)[0]
                    yield Event(batch, 0, port, gone=kind == RTM_DELNSID, nsid=number)
        elif batch:
            yield Event(batch, 0, port)
        offset += (length + 3) & ~3


def nft_events(buffer: bytearray, size: int) -> Iterator[Event]:
    """One event for each transaction: its last message names the process that made it (NFT_MSG_NEWGEN)."""
    offset = 0
    while offset + 16 <= size:
        length, kind, _flags, _sequence, port = HEADER.unpack_from(buffer, offset)
        if length < 16:
            return
        if kind >> 8 == _NFT and kind & 0xFF == _NFT_NEWGEN:
            name = ""
            for attribute, low, high in attributes(buffer, offset + 20, min(offset + length, size)):
                if attribute == _NFTA_GEN_PROC_PID:
                    port = int.from_bytes(buffer[low:high], "big")
                elif attribute == _NFTA_GEN_PROC_NAME:
                    name = string(buffer, low, high)
            yield Event("nft", 0, port, process=name)
        offset += (length + 3) & ~3
