"""The marks by which a freshly installed cnm recognises what is ours.

Interfaces carry an alternative name, unique in their namespace: ``cnm.OWNER.IFNAME`` (visible in
``ip link``, survives renames and moves). A namespace of ours carries one on its loopback. Addresses (kernel
5.18 and newer), routes, rules and neighbours carry a protocol number instead.
"""

from __future__ import annotations

from collections.abc import Iterable

# Free in /etc/iproute2/rt_protos and in the kernel's rtnetlink.h; `ip route show proto 147` lists what is ours.
PROTOCOL = 147

_PREFIX = "cnm."


def altname(owner: str, ifname: str) -> str:
    """The mark of an interface. At most 4 + 63 + 1 + 15 bytes; the kernel takes 127."""
    return f"{_PREFIX}{owner}.{ifname}"


def owner_of(altnames: Iterable[str]) -> tuple[str, str]:
    """(owner, interface name) of the first mark among alternative names; ("", "") when there is none."""
    for name in altnames:
        if name.startswith(_PREFIX):
            owner, _, ifname = name[len(_PREFIX) :].partition(".")
            if owner and ifname:
                return owner, ifname
    return "", ""
