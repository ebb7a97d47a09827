"""A veth pair: one end at the host, the other one in the sandbox, with all that is in there."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.drivers.plug import render_plug
from reconciler.errors import Origin
from reconciler.resources.link import BridgePort, Link, Peer, link_key
from reconciler.resources.resource import Resource
from reconciler.topology.derive import short_name
from reconciler.topology.view import EndpointView, NetworkView


def cable_name(network: NetworkView, endpoint: EndpointView) -> str:
    """The interface name of the host's end."""
    return short_name("ve-", "endpoint", network.name, endpoint.name)


def render_cable(
    endpoint: EndpointView,
    origin: Origin,
    *,
    name: str,
    ipv6: bool,
    mac: str | None = None,
    master: str | None = None,
    port: BridgePort | None = None,
) -> Iterable[Resource]:
    """Both ends, and the plug. ``name`` is the host's end with address ``mac``, a port of bridge ``master`` with the
    settings of ``port``. The kernel is to give neither end an address of its own making."""
    netns, dev = endpoint.sandbox.netns, endpoint.interface
    host_end = link_key("", name)
    yield Link(
        key=host_end,
        origin=origin,
        type="veth",
        up=True,
        mtu=endpoint.mtu,
        mac=mac,
        master=master,
        addr_gen="none",
        peer=Peer(netns=netns, name=dev),
        port=port,
    )
    yield Link(
        key=link_key(netns, dev),
        origin=origin,
        type="veth",
        up=True,
        mtu=endpoint.mtu,
        mac=endpoint.mac,
        addr_gen="none",
        maker=host_end,
    )
    yield from render_plug(endpoint, origin, ipv6=ipv6)
