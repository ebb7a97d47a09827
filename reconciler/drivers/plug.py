"""What every endpoint has inside its sandbox, whatever carries its packets: addresses, sysctls, routes."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from reconciler.errors import Origin
from reconciler.resources.address import Address, address_key
from reconciler.resources.process import Process, process_key
from reconciler.resources.resource import Resource
from reconciler.resources.route import Route, route_key
from reconciler.resources.sysctl import Sysctl, sysctl_key
from reconciler.topology.view import EndpointView


def render_plug(endpoint: EndpointView, origin: Origin, *, ipv6: bool) -> Iterable[Resource]:
    """All but the link itself. ``ipv6`` False: the network has none, so the interface shall not speak it either."""
    netns, dev = endpoint.sandbox.netns, endpoint.interface
    for address in (*endpoint.addresses, *endpoint.link_local):
        yield plug_address(netns, dev, str(address), origin)
    if 4 in endpoint.leased:
        yield _dhcp(endpoint, origin)
    if 6 in endpoint.leased:
        for item in ("accept_ra", "autoconf", "accept_ra_defrtr", "accept_ra_pinfo"):
            yield _sysctl(netns, dev, f"net/ipv6/conf/{dev}/{item}", "1", origin)
    elif not ipv6:
        yield _sysctl(netns, dev, f"net/ipv6/conf/{dev}/disable_ipv6", "1", origin)
    elif not endpoint.sandbox.made and endpoint.sandbox.stack != "host":
        # Whoever made the namespace may have turned it off for all that comes: Docker does where its own networks have none.
        yield _sysctl(netns, dev, f"net/ipv6/conf/{dev}/disable_ipv6", "0", origin)
    for name, value in sorted(endpoint.sysctls.items()):
        family, _, item = name.partition("/")
        place = f"neigh/{dev}/{item.removeprefix('neigh/')}" if item.startswith("neigh/") else f"conf/{dev}/{item}"
        yield _sysctl(netns, dev, f"net/{family}/{place}", value, origin)
    for version, hop, default in ((4, endpoint.gateway4, "0.0.0.0/0"), (6, endpoint.gateway6, "::/0")):
        if hop is not None or version in endpoint.on_device:
            via = str(hop) if hop is not None else None
            yield Route(key=route_key(netns, default), origin=origin, to=default, dev=dev, via=via)
    for route in endpoint.routes:
        yield Route(
            key=route_key(netns, str(route.to), route.metric),
            origin=replace(route.origin, driver=origin.driver),
            to=str(route.to),
            metric=route.metric,
            dev=dev,
            via=str(route.via) if route.via is not None else None,
        )


def _dhcp(endpoint: EndpointView, origin: Origin) -> Process:
    """Its own client, which lives as long as the endpoint and gives the lease back at its end. The endpoint's name is
    its identity (RFC 4361 wants one that outlives the hardware's address)."""
    netns, dev = endpoint.sandbox.netns, endpoint.interface
    return Process(
        key=process_key(f"dhcp.{netns}.{dev}", netns),
        origin=origin,
        program="dhcp",
        arguments=(dev, endpoint.sandbox.name, f"{endpoint.network}/{endpoint.name}"),
        dev=dev,
    )


def plug_address(netns: str, dev: str, address: str, origin: Origin) -> Address:
    """IPv6 addresses are ours by decision, so nobody waits for duplicate address detection."""
    nodad = True if ":" in address else None
    return Address(key=address_key(netns, dev, address), origin=origin, dev=dev, address=address, nodad=nodad)


def _sysctl(netns: str, dev: str, path: str, value: str, origin: Origin) -> Sysctl:
    return Sysctl(key=sysctl_key(netns, path), origin=origin, value=value, dev=dev)
