"""The interface that Open vSwitch makes of a port of type internal."""

from __future__ import annotations

from reconciler.errors import Origin
from reconciler.resources.link import Link, link_key


def internal_link(netns: str, dev: str, port: str, origin: Origin, *, mtu: int | None, mac: str | None) -> Link:
    """It comes by itself, with the port; wherever it is, and whatever it is called there, it is known by that."""
    return Link(
        key=link_key(netns, dev),
        origin=origin,
        type=None,
        up=True,
        mtu=mtu,
        mac=mac,
        addr_gen="none",
        device=f"ovs:{port}",
    )
