"""RTM_*LINK messages (include/uapi/linux/if_link.h)."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from struct import Struct
from typing import NamedTuple

from reconciler.netlink.shape import Buffer, Reading, Shapes, Tree
from reconciler.netlink.wire import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REQUEST,
    attribute,
    attributes,
    nested,
    string,
    text,
    u8,
    u32,
)

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK, RTM_NEWLINKPROP, RTM_DELLINKPROP = 16, 17, 18, 19, 108, 109
IFF_UP, IFF_LOWER_UP = 0x1, 0x10000
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_TXQLEN, IFLA_LINKINFO = 1, 3, 4, 5, 10, 13, 18
IFLA_AF_SPEC, IFLA_GROUP, IFLA_NET_NS_FD, IFLA_EXT_MASK, IFLA_LINK_NETNSID = 26, 27, 28, 29, 37
IFLA_NEW_IFINDEX, IFLA_PROP_LIST, IFLA_ALT_IFNAME = 49, 52, 53
IFLA_PARENT_DEV_NAME, IFLA_PARENT_DEV_BUS_NAME = 56, 57
IFLA_PHYS_SWITCH_ID, IFLA_PHYS_PORT_NAME = 36, 38
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_INET6_ADDR_GEN_MODE = 8
VETH_INFO_PEER = 1
AF_INET6 = 10
RTEXT_FILTER_SKIP_STATS = 8
ADDR_GEN_MODES = {0: "eui64", 1: "none", 2: "stable-privacy", 3: "random"}

_IFINFOMSG = Struct("=BxHiII")  # family, device type, index, flags, change mask
_HEADERS = Struct("=IHHIIBxHiII")  # a request's and that
_TREE: Tree = {  # of the forty that the kernel tells
    IFLA_ADDRESS: "mac",
    IFLA_IFNAME: "name",
    IFLA_MTU: "mtu",
    IFLA_LINK: "link",
    IFLA_MASTER: "master",
    IFLA_TXQLEN: "txqlen",
    IFLA_LINKINFO: {
        IFLA_INFO_KIND: "kind",
        IFLA_INFO_DATA: "data",
        IFLA_INFO_SLAVE_KIND: "port_kind",
        IFLA_INFO_SLAVE_DATA: "port",
    },
    IFLA_AF_SPEC: {AF_INET6: {IFLA_INET6_ADDR_GEN_MODE: "addr_gen"}},
    IFLA_GROUP: "group",
    IFLA_LINK_NETNSID: "netnsid",
    IFLA_PROP_LIST: "altnames",
    IFLA_PARENT_DEV_NAME: "device",
    IFLA_PARENT_DEV_BUS_NAME: "bus",
    IFLA_PHYS_SWITCH_ID: "switch",
    IFLA_PHYS_PORT_NAME: "switch_port",
}
_FIELDS = (
    *("mac", "name", "mtu", "link", "master", "txqlen", "kind", "data", "port_kind", "port", "addr_gen", "group"),
    *("netnsid", "altnames", "device", "bus", "switch", "switch_port"),
)


class RawLink(NamedTuple):
    """One interface as the kernel tells it. ``data`` and ``port`` are the undecoded IFLA_INFO_DATA and
    IFLA_INFO_SLAVE_DATA; ``link`` is the index of the parent or peer, in namespace ``netnsid`` (-1: this one)."""

    ifindex: int
    name: str
    up: bool
    kind: str
    mtu: int
    mac: str
    master: int
    link: int
    netnsid: int
    txqlen: int
    group: int
    addr_gen: str
    altnames: tuple[str, ...]
    data: bytes
    port_kind: str
    port: bytes
    device: str  # "BUS/NAME" of the hardware: pci/0000:01:00.0
    carrier: bool = True  # whether somebody is at the other end: of a tap, a program
    switch: str = ""  # the ports of one switch in hardware have the same (Documentation/networking/switchdev.rst)
    switch_port: str = ""  # which of them it is: p0, pf0vf3


def dump_links() -> bytes:
    """The body of a dump request: all interfaces, without statistics."""
    return _IFINFOMSG.pack(0, 0, 0, 0, 0) + u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)


def _in_order(names: Sequence[str]) -> Reading[tuple[bytes, ...]]:
    """The values of a shape in the order of ``_FIELDS``; b"" for what it does not have."""
    places = {name: place for place, name in enumerate(names)}
    pick = itemgetter(*(places.get(name, len(names)) for name in _FIELDS))
    return lambda values: pick((*values, b""))


_shapes = Shapes(_TREE, _in_order, _IFINFOMSG.size)


def decode_link(buffer: Buffer, start: int, end: int) -> RawLink:
    """One RTM_NEWLINK payload."""
    _family, _type, index, flags, _change = _IFINFOMSG.unpack_from(buffer, start)
    (
        mac,
        name,
        mtu,
        link,
        master,
        txqlen,
        kind,
        data,
        port_kind,
        port,
        addr_gen,
        group,
        netnsid,
        names,
        device,
        bus,
        switch,
        switch_port,
    ) = _shapes.read(buffer, start, end)
    number = int.from_bytes
    return RawLink(
        index,
        _text(name),
        bool(flags & IFF_UP),
        _text(kind),
        number(mtu, "little"),
        mac.hex(":"),
        number(master, "little"),
        number(link, "little"),
        number(netnsid, "little", signed=True) if netnsid else -1,
        number(txqlen, "little"),
        number(group, "little"),
        ADDR_GEN_MODES.get(addr_gen[0], "") if addr_gen else "",
        _altnames(names) if names else (),
        data,
        _text(port_kind),
        port,
        f"{_text(bus)}/{_text(device)}" if device else "",
        bool(flags & IFF_LOWER_UP),
        switch.hex() if switch else "",
        _text(switch_port) if switch_port else "",
    )


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode("utf-8", "surrogateescape")


def _altnames(raw: bytes) -> tuple[str, ...]:
    return tuple(
        string(raw, first, last) for item, first, last in attributes(raw, 0, len(raw)) if item == IFLA_ALT_IFNAME
    )


def _request(kind: int, flags: int, index: int, state: int, change: int, *body: bytes) -> bytes:
    """:func:`wire.message` about one interface; ``state`` and ``change`` are IFF_*."""
    payload = b"".join(body)
    return _HEADERS.pack(32 + len(payload), kind, flags | NLM_F_REQUEST, 0, 0, 0, 0, index, state, change) + payload


def new_link(index: int, name: str, kind: str, *body: bytes, up: bool = False, data: bytes = b"") -> bytes:
    """Create an interface of ``kind`` under an index of our own choice (free, or the kernel says EBUSY)."""
    flags = IFF_UP if up else 0
    info = [text(IFLA_INFO_KIND, kind)]
    if data:
        info.append(nested(IFLA_INFO_DATA, data))
    return _request(
        RTM_NEWLINK,
        NLM_F_CREATE | NLM_F_EXCL,
        index,
        flags,
        flags,
        text(IFLA_IFNAME, name),
        *body,
        nested(IFLA_LINKINFO, *info),
    )


def veth_peer(index: int, name: str, netns_fd: int, *body: bytes) -> bytes:
    """The IFLA_INFO_DATA of a veth: its other end, made straight in the namespace of ``netns_fd``. It cannot be
    up from the start (the kernel answers ENOTCONN)."""
    return attribute(
        VETH_INFO_PEER,
        b"".join((_IFINFOMSG.pack(0, 0, index, 0, 0), text(IFLA_IFNAME, name), u32(IFLA_NET_NS_FD, netns_fd), *body)),
    )


def set_link(index: int, *body: bytes, up: bool | None = None) -> bytes:
    """Change an interface in place. RTM_NEWLINK without NLM_F_CREATE, since RTM_SETLINK takes no IFLA_LINKINFO."""
    flags, change = (IFF_UP if up else 0), (0 if up is None else IFF_UP)
    return _request(RTM_NEWLINK, 0, index, flags, change, *body)


def delete_link(index: int) -> bytes:
    return _request(RTM_DELLINK, 0, index, 0, 0)


def delete_group(group: int) -> bytes:
    """Delete all interfaces of a group in one go: one wait for RCU, not one a link."""
    return _request(RTM_DELLINK, 0, 0, 0, 0, u32(IFLA_GROUP, group))


def move_link(index: int, netns_fd: int, new_index: int, name: str) -> bytes:
    """Take an interface down and into another namespace, under a new index (0: as it
    comes) and name, in one step."""
    return _request(
        RTM_NEWLINK,
        0,
        index,
        0,
        IFF_UP,
        u32(IFLA_NET_NS_FD, netns_fd),
        u32(IFLA_NEW_IFINDEX, new_index) if new_index else b"",
        text(IFLA_IFNAME, name),
    )


def delete_altname(index: int, altname: str) -> bytes:
    properties = nested(IFLA_PROP_LIST, text(IFLA_ALT_IFNAME, altname))
    return _request(RTM_DELLINKPROP, 0, index, 0, 0, properties)


def add_altname(index: int, altname: str) -> bytes:
    properties = nested(IFLA_PROP_LIST, text(IFLA_ALT_IFNAME, altname))
    return _request(RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_EXCL, index, 0, 0, properties)


def ipv6_addr_gen(mode: str) -> bytes:
    """Whether the kernel makes a link-local address by itself: ``none`` or ``eui64``."""
    return _ADDR_GEN[mode]


_ADDR_GEN = {
    name: nested(IFLA_AF_SPEC, nested(AF_INET6, u8(IFLA_INET6_ADDR_GEN_MODE, number)))
    for number, name in ADDR_GEN_MODES.items()
}


def bridge_port(data: bytes) -> bytes:
    """IFLA_LINKINFO for a bridge port; ``data`` are IFLA_BRPORT_* attributes."""
    return nested(IFLA_LINKINFO, text(IFLA_INFO_SLAVE_KIND, "bridge"), nested(IFLA_INFO_SLAVE_DATA, data))


def link_info(kind: str, data: bytes) -> bytes:
    """IFLA_LINKINFO to change what only this kind of interface has."""
    return nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, kind), nested(IFLA_INFO_DATA, data))


def mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
