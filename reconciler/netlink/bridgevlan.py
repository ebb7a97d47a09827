"""VLANs of bridge ports: RTM_*LINK messages of family AF_BRIDGE (include/uapi/linux/if_bridge.h)."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from reconciler.netlink.link import IFLA_AF_SPEC, IFLA_EXT_MASK, RTM_DELLINK, RTM_SETLINK
from reconciler.netlink.wire import attribute, attributes, message, nested, u32

AF_BRIDGE = 7
RTEXT_FILTER_BRVLAN = 2
IFLA_BRIDGE_VLAN_INFO = 2
_PVID, _UNTAGGED = 2, 4
_IFINFOMSG = Struct("=BxHiII")
_VLAN = Struct("=HH")  # struct bridge_vlan_info: flags, vid


class RawVlans(NamedTuple):
    """A port's VLANs: (VLAN ID, is the port's own, leaves without its tag)."""

    ifindex: int
    vlans: tuple[tuple[int, bool, bool], ...]


def dump_vlans() -> bytes:
    """The body of a dump request."""
    return _IFINFOMSG.pack(AF_BRIDGE, 0, 0, 0, 0) + u32(IFLA_EXT_MASK, RTEXT_FILTER_BRVLAN)


def decode_vlans(buffer: bytearray, start: int, end: int) -> RawVlans:
    """One RTM_NEWLINK payload."""
    index = _IFINFOMSG.unpack_from(buffer, start)[2]
    found = []
    for kind, first, last in attributes(buffer, start + _IFINFOMSG.size, end):
        if kind != IFLA_AF_SPEC:
            continue
        for item, low, _high in attributes(buffer, first, last):
            if item == IFLA_BRIDGE_VLAN_INFO:
                flags, vid = _VLAN.unpack_from(buffer, low)
                found.append((vid, bool(flags & _PVID), bool(flags & _UNTAGGED)))
    return RawVlans(index, tuple(found))


def set_vlan(index: int, vid: int, *, pvid: bool, untagged: bool) -> bytes:
    """Add a VLAN to a port, or change how it is one of that port's."""
    return _message(RTM_SETLINK, index, vid, (_PVID if pvid else 0) | (_UNTAGGED if untagged else 0))


def delete_vlan(index: int, vid: int) -> bytes:
    return _message(RTM_DELLINK, index, vid, 0)


def _message(kind: int, index: int, vid: int, flags: int) -> bytes:
    vlan = attribute(IFLA_BRIDGE_VLAN_INFO, _VLAN.pack(flags, vid))
    return message(kind, 0, _IFINFOMSG.pack(AF_BRIDGE, 0, index, 0, 0), nested(IFLA_AF_SPEC, vlan))
