"""Forwarding by the host, for networks whose packets pass it."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.errors import Origin
from reconciler.resources.resource import Resource
from reconciler.resources.sysctl import Sysctl, sysctl_key
from reconciler.topology.view import NodeFacts


def render_forwarding(node: NodeFacts, origin: Origin, *, ipv4: bool, ipv6: bool) -> Iterable[Resource]:
    """With IPv6, the host's own routers first: an interface that heard of its default route from a router would lose
    it otherwise."""
    if ipv4:
        yield Sysctl(key=sysctl_key("", "net/ipv4/ip_forward"), origin=origin, value="1")
    if ipv6:
        first = tuple(sysctl_key("", f"net/ipv6/conf/{name}/accept_ra") for name in node.ra_links)
        for key in first:
            yield Sysctl(key=key, origin=origin, value="2", dev=None)
        yield Sysctl(key=sysctl_key("", "net/ipv6/conf/all/forwarding"), origin=origin, value="1", first=first or None)
