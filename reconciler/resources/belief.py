"""Whose is a thing that is marked by a protocol number: the number says cnm, the interface says which owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.netlink.mark import PROTOCOL
from reconciler.resources.resource import Key

if TYPE_CHECKING:
    from reconciler.host.host import Host
    from reconciler.host.namespace import Namespace


def owner_by_protocol(host: Host, namespace: Namespace, ifindex: int, protocol: int, key: Key) -> str:
    """The owner of an address, route or neighbour entry; ``""`` when it is nobody's or cannot be proven.

    On an interface of ours it is that interface's owner. On anything else (somebody's bridge that we use as
    it is, a route without an interface) only the inventory knows which owner made it.
    """
    if protocol != PROTOCOL:
        return ""
    return namespace.owners.get(ifindex) or (host.owner if str(key) in host.inventory.made else "")
