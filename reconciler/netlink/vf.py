"""Virtual functions as their physical function's interface tells of them: IFLA_VFINFO_LIST (include/uapi/linux/if_link.h)."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Any, NamedTuple

from reconciler.netlink.link import _IFINFOMSG, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS, set_link
from reconciler.netlink.wire import ATTRIBUTE, NLA_TYPE_MASK, attribute, attributes, nested, u32

IFLA_VFINFO_LIST, IFLA_VF_INFO = 22, 1
RTEXT_FILTER_VF = 1
_MAC, _VLAN, _SPOOFCHK, _LINK_STATE, _RATE, _TRUST, _VLAN_LIST = 1, 2, 4, 5, 6, 9, 12
_VLAN_INFO = 1
LINK_STATES = {"auto": 0, "enable": 1, "disable": 2}
VLAN_PROTOCOLS = {"802.1Q": 0x8100, "802.1ad": 0x88A8}
_UNSUPPORTED = 0xFFFFFFFF  # what the kernel answers where the driver has no such switch

_TWO, _THREE = Struct("=II"), Struct("=III")
_VLAN_ITEM = Struct("=III2s2x")
_VF_MAC = Struct("=I32s")


class RawVf(NamedTuple):
    """One virtual function of the interface ``pf``. Rates in Mbit/s, 0: no limit. None: the driver cannot."""

    pf: int
    number: int
    mac: str
    vlan: int
    qos: int
    protocol: str
    min_rate: int
    max_rate: int
    spoof_check: bool | None
    trust: bool | None
    link_state: str


def dump_vfs() -> bytes:
    """The body of a dump request for links: all interfaces with their virtual functions."""
    return _IFINFOMSG.pack(0, 0, 0, 0, 0) + u32(IFLA_EXT_MASK, RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS)


def decode_vfs(buffer: bytearray, start: int, end: int) -> list[RawVf] | None:
    """The virtual functions in one RTM_NEWLINK payload; None when it has none."""
    _family, _type, index, _flags, _change = _IFINFOMSG.unpack_from(buffer, start)
    offset = start + 16
    while offset + 4 <= end:
        length, attr = ATTRIBUTE.unpack_from(buffer, offset)
        if length < 4:
            break
        if attr & NLA_TYPE_MASK == IFLA_VFINFO_LIST:
            items = attributes(buffer, offset + 4, offset + length)
            return [_vf(index, bytes(buffer[first:last])) for _, first, last in items]
        offset += (length + 3) & ~3
    return None


def _vf(pf: int, data: bytes) -> RawVf:
    number = vlan = qos = low = high = 0
    mac, protocol, state = "", "802.1Q", "auto"
    spoof: bool | None = None
    trust: bool | None = None
    for kind, first, last in attributes(data, 0, len(data)):
        payload = data[first:last]
        if kind == _MAC:
            number, raw = _VF_MAC.unpack(payload[: _VF_MAC.size])
            mac = raw[:6].hex(":")
        elif kind == _VLAN:
            _number, vlan, qos = _THREE.unpack(payload)
        elif kind == _VLAN_LIST:
            for _, begin, _end in attributes(payload, 0, len(payload)):
                _number, vlan, qos, tag = _VLAN_ITEM.unpack_from(payload, begin)
                protocol = next(
                    (name for name, value in VLAN_PROTOCOLS.items() if value == int.from_bytes(tag, "big")), protocol
                )
        elif kind == _RATE:
            _number, low, high = _THREE.unpack(payload)
        elif kind == _SPOOFCHK:
            spoof = _switch(_TWO.unpack(payload)[1])
        elif kind == _TRUST:
            trust = _switch(_TWO.unpack(payload)[1])
        elif kind == _LINK_STATE:
            value = _TWO.unpack(payload)[1]
            state = next((name for name, known in LINK_STATES.items() if known == value), "auto")
    return RawVf(pf, number, mac, vlan, qos, protocol, low, high, spoof, trust, state)


def _switch(value: int) -> bool | None:
    return None if value == _UNSUPPORTED else bool(value)


def set_vf(pf: int, index: int, values: Mapping[str, Any]) -> list[bytes]:
    """Requests that set what ``values`` (fields of RawVf) names, one each: a driver that cannot do one of them
    then says so of that one."""
    items = []
    if "mac" in values:
        items.append(attribute(_MAC, _VF_MAC.pack(index, bytes.fromhex(values["mac"].replace(":", "")))))
    if {"vlan", "qos", "protocol"} & values.keys():
        tag = VLAN_PROTOCOLS[values.get("protocol") or "802.1Q"].to_bytes(2, "big")
        item = _VLAN_ITEM.pack(index, values.get("vlan") or 0, values.get("qos") or 0, tag)
        items.append(nested(_VLAN_LIST, attribute(_VLAN_INFO, item)))
    if {"min_rate", "max_rate"} & values.keys():
        items.append(attribute(_RATE, _THREE.pack(index, values.get("min_rate") or 0, values.get("max_rate") or 0)))
    if "spoof_check" in values:
        items.append(attribute(_SPOOFCHK, _TWO.pack(index, int(values["spoof_check"]))))
    if "trust" in values:
        items.append(attribute(_TRUST, _TWO.pack(index, int(values["trust"]))))
    if "link_state" in values:
        items.append(attribute(_LINK_STATE, _TWO.pack(index, LINK_STATES[values["link_state"]])))
    return [set_link(pf, nested(IFLA_VFINFO_LIST, nested(IFLA_VF_INFO, item))) for item in items]
