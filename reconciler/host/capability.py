"""What this kernel can do, found out by trying it in a namespace that nobody else sees."""

from __future__ import annotations

import os
from errno import EOPNOTSUPP
from functools import cache

from reconciler.host import libc
from reconciler.host.host import OWN_NAMESPACE
from reconciler.host.rtnl import Rtnl
from reconciler.netlink.link import IFLA_LINK, new_link, veth_peer
from reconciler.netlink.wire import u16, u32

_PARENT, _CHILD = 2, 3
# Those that need something to stand on or to say: (IFLA_INFO_DATA, body).
_NEEDS_PARENT = frozenset(("macvlan", "macvtap", "ipvlan", "ipvtap", "vlan"))


@cache
def link_kind(kind: str) -> str:
    """ "" when interfaces of this kind can be made here; else the kernel's words. Needs CAP_SYS_ADMIN."""
    home = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc.unshare()
        try:
            return _try(kind)
        finally:
            libc.setns(home)
    except OSError as error:
        return error.strerror or str(error)
    finally:
        os.close(home)


def _try(kind: str) -> str:
    socket = Rtnl()
    here = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = b""
        body: list[bytes] = []
        requests = []
        if kind in _NEEDS_PARENT:
            requests.append(new_link(_PARENT, "parent", "veth", data=veth_peer(9, "other", here)))
            body.append(u32(IFLA_LINK, _PARENT))
            data = u16(1, 10) if kind == "vlan" else b""
        if kind == "veth":
            data = veth_peer(9, "other", here)
        elif kind in ("vxlan", "geneve"):
            data = u32(1, 42)
        requests.append(new_link(_CHILD, "probe", kind, *body, data=data))
        refused = socket.send(requests).get(len(requests) - 1)
        if refused is None:
            return ""
        return f"the kernel has no {kind} interfaces" if refused.errno == EOPNOTSUPP else refused.text
    finally:
        socket.close()
        os.close(here)
