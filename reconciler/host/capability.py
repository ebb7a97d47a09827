"""What this kernel can do, found out by trying it in a namespace that nobody else sees."""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import EOPNOTSUPP
from functools import cache
from pathlib import Path

from reconciler.host import libc
from reconciler.host.host import OWN_NAMESPACE
from reconciler.host.rtnl import Rtnl
from reconciler.netlink.link import IFLA_LINK, new_link, veth_peer
from reconciler.netlink.wire import attribute, u8, u16, u32
from reconciler.netlink.xfrm import NETLINK_XFRM, new_state

BRIDGE_NETFILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")  # net/bridge/br_netfilter_hooks.c
_PARENT, _CHILD = 2, 3
_VLAN_FILTERING = 7  # IFLA_BR_VLAN_FILTERING
# Those that need something to stand on or to say: (IFLA_INFO_DATA, body).
_NEEDS_PARENT = frozenset(("macvlan", "macvtap", "ipvlan", "ipvtap", "vlan"))


def bridge_vlan() -> str:
    """The same for bridges that filter by VLANs."""
    filtering = link_kind("bridge", u8(_VLAN_FILTERING, 1))
    return link_kind("bridge") or (filtering and "the kernel's bridges do not filter by VLANs")


@cache
def link_kind(kind: str, data: bytes = b"") -> str:
    """ "" when interfaces of this kind (with these IFLA_INFO_DATA) can be made here; else the kernel's words. Needs
    CAP_SYS_ADMIN."""
    return _apart(lambda: _try(kind, data))


def bridge_netfilter() -> str:
    """ "" when frames inside a bridge can be made to pass the IP hooks; else what is missing. The module may come and go,
    and bridges tell of their setting either way, so it is asked each time."""
    if BRIDGE_NETFILTER.exists():
        return ""
    return "br_netfilter is not loaded, or the kernel has none: frames between two ports of a bridge pass no filter"


@cache
def esp() -> str:
    """ "" when the kernel has IPsec with AES-GCM (RFC 4106); else what is missing. Needs CAP_SYS_ADMIN."""
    return _apart(_try_esp)


@cache
def ovs_datapath() -> str:
    """ "" when the kernel has Open vSwitch's datapath: a family of generic netlink."""
    from pyroute2 import GenericNetlinkSocket
    from pyroute2.netlink.exceptions import NetlinkError
    from pyroute2.netlink.generic import ctrlmsg

    with GenericNetlinkSocket() as family:
        try:
            family.bind("ovs_datapath", ctrlmsg)
        except NetlinkError:
            return "the kernel has no Open vSwitch datapath (module openvswitch)"
    return ""


def _apart(trial: Callable[[], str]) -> str:
    """Try something in a namespace that goes with it."""
    home = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc.unshare()
        try:
            return trial()
        finally:
            libc.setns(home)
    except OSError as error:
        return error.strerror or str(error)
    finally:
        os.close(home)


def _try_esp() -> str:
    try:
        socket = Rtnl(protocol=NETLINK_XFRM)
    except OSError:
        return "the kernel has no IPsec (XFRM)"
    try:
        state = new_state("192.0.2.1", "192.0.2.2", 4096, 1, "rfc4106(gcm(aes))", 128, bytes(36))
        refused = socket.send([state]).get(0)
        return f"the kernel has no ESP with rfc4106(gcm(aes)): {refused.text}" if refused is not None else ""
    finally:
        socket.close()


def _try(kind: str, data: bytes) -> str:
    socket = Rtnl()
    here = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        body: list[bytes] = []
        requests = []
        if kind in _NEEDS_PARENT:
            requests.append(new_link(_PARENT, "parent", "veth", data=veth_peer(9, "other", here)))
            body.append(u32(IFLA_LINK, _PARENT))
            data = u16(1, 10) if kind == "vlan" else data
        if kind == "veth":
            data = veth_peer(9, "other", here)
        elif kind == "ipip":
            data = attribute(2, bytes((192, 0, 2, 1)))  # IFLA_IPTUN_LOCAL: tunl0, which comes by itself, has none
        elif kind == "vrf" or kind in ("vxlan", "geneve"):
            data = u32(1, 42)
        requests.append(new_link(_CHILD, "probe", kind, *body, data=data))
        refused = socket.send(requests).get(len(requests) - 1)
        if refused is None:
            return ""
        return f"the kernel has no {kind} interfaces" if refused.errno == EOPNOTSUPP else refused.text
    finally:
        socket.close()
        os.close(here)
