"""Endpoints with a routed address of their own: no bridge, no subnet on any link, a route on the host for each address.

::

    sandbox  eth0  10.1.0.2/32          default via 169.254.1.1 dev eth0 onlink
             169.254.1.1 and fe80::1 are the host's end of the pair, by permanent neighbours: nobody has to be asked
    host     ve-…  no IPv4 address      10.1.0.2 dev ve-…
             fe80::1/64, where the network has IPv6

As Calico does it (its documentation, "The Calico data path: IP routing and iptables"), but for proxy ARP: that
answers only where the host has a default route.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_network

from msgspec.structs import replace

from reconciler.drivers.cable import cable_name, render_cable
from reconciler.drivers.driver import Announcing
from reconciler.drivers.plug import plug_address
from reconciler.errors import Origin, Problem
from reconciler.resources.neighbour import Neighbour, neighbour_key
from reconciler.resources.resource import Resource
from reconciler.resources.route import Route, route_key
from reconciler.resources.sysctl import Sysctl, sysctl_key
from reconciler.topology.derive import mac_of
from reconciler.topology.options import Gateway, NetworkOptions
from reconciler.topology.view import BlockView, EndpointView, NetworkView, Subnet, SubnetView

NEXT_HOP4, NEXT_HOP6 = IPv4Address("169.254.1.1"), IPv6Address("fe80::1")


class RoutedOptions(NetworkOptions):
    """Options of drivers whose endpoints are each on a link of its own."""

    def gateway(self, version: int) -> Gateway:
        return "hop"

    def hop(self, version: int) -> IPv4Address | IPv6Address:
        return NEXT_HOP4 if version == 4 else NEXT_HOP6

    def length(self, cidr: Subnet) -> int:
        return cidr.max_prefixlen

    def routed(self) -> bool:
        return True


def host_end(network: NetworkView, endpoint: EndpointView) -> str:
    """The host's interface that leads to an endpoint."""
    return cable_name(network, endpoint)


def port_of(network: NetworkView, endpoint: EndpointView) -> str | None:
    """The host's interface that leads to an endpoint and to nothing else; None where endpoints are not routed."""
    return host_end(network, endpoint) if isinstance(network.options, RoutedOptions) else None


def check_routed(network: NetworkView) -> Iterable[Problem]:
    """What no routed network can do."""
    if network.allow_from or network.internal:
        what = "internal" if network.internal else "allowFrom"
        yield Problem(
            network.at("spec", what),
            f"network {network.name}: its endpoints have addresses that all routers know, {what} closes nothing there",
            f"leave {what} out, and say by policies who may reach them (policyDefault: deny)",
        )
    for endpoint in network.local:
        for number, address in enumerate(endpoint.link_local):
            if address.ip == NEXT_HOP6:
                yield Problem(
                    endpoint.at("spec", "linkLocal", number),
                    f"endpoint {endpoint.name}: {NEXT_HOP6} is the host's own link-local address there",
                    "choose another one",
                )
        for route in endpoint.routes:
            if route.via is not None:
                yield Problem(
                    route.origin,
                    f"endpoint {endpoint.name}: route to {route.to} via {route.via}: the only neighbour on its link is "
                    "the host",
                    "leave via out",
                )


def render_routed(network: NetworkView, endpoint: EndpointView, origin: Origin) -> Iterable[Resource]:
    """Its pair of interfaces, what is in its sandbox, and the host's routes to it."""
    netns, dev, port = endpoint.sandbox.netns, endpoint.interface, host_end(network, endpoint)
    mac = mac_of("host-end", network.name, endpoint.name)
    plug = replace(endpoint, routes=(), gateway4=None, gateway6=None)  # its routes have a next hop that no subnet knows
    yield from render_cable(plug, origin, name=port, mac=mac, ipv6=network.ipv6)
    item, value = ("accept_ra", "0") if network.ipv6 else ("disable_ipv6", "1")
    yield Sysctl(key=sysctl_key("", f"net/ipv6/conf/{port}/{item}"), origin=origin, value=value, dev=port)
    if network.ipv6:
        yield plug_address("", port, f"{NEXT_HOP6}/64", origin)
    if network.ipv4:
        # A sandbox with several such interfaces answers through one; features/sources.py knows its addresses.
        yield Sysctl(key=sysctl_key("", f"net/ipv4/conf/{port}/rp_filter"), origin=origin, value="0", dev=port)
    for address in endpoint.addresses:
        to = str(address.network)
        yield Route(key=route_key("", to), origin=origin, to=to, dev=port)
    for version in sorted({address.version for address in endpoint.addresses}):
        hop = str(NEXT_HOP4 if version == 4 else NEXT_HOP6)
        yield Neighbour(key=neighbour_key(netns, dev, hop), origin=origin, dev=dev, address=hop, mac=mac)
        if (endpoint.gateway4 if version == 4 else endpoint.gateway6) is None:  # another endpoint has the default route
            for subnet in network.subnets:
                if subnet.cidr.version == version:
                    yield _inside(netns, dev, str(subnet.cidr), hop, 0, origin)
    for own, default in ((endpoint.gateway4, "0.0.0.0/0"), (endpoint.gateway6, "::/0")):
        if own is not None:
            yield _inside(netns, dev, default, str(own), 0, origin)
    for route in endpoint.routes:
        hop = str(NEXT_HOP4 if route.to.version == 4 else NEXT_HOP6)
        yield _inside(netns, dev, str(route.to), hop, route.metric, replace(route.origin, driver=origin.driver))


def _inside(netns: str, dev: str, to: str, hop: str, metric: int, origin: Origin) -> Route:
    """A route through the host, which is a neighbour though no subnet says so. IPv6 link-local is on every link anyway."""
    onlink = True if ":" not in hop else None
    key = route_key(netns, to, metric)
    return Route(key=key, origin=origin, to=to, metric=metric, dev=dev, via=hop, onlink=onlink)


def blocks_of(network: NetworkView, node: str) -> Iterable[tuple[SubnetView, BlockView]]:
    """The blocks of a node, with their subnets."""
    for subnet in network.subnets:
        for block in subnet.blocks:
            if block.node == node:
                yield subnet, block


def render_blocks(network: NetworkView, node: str, driver: str) -> Iterable[Resource]:
    """A blackhole for each block of a node, or what is for none of its endpoints would go back where it came from. A block
    of one address is its endpoint's route."""
    for subnet, block in blocks_of(network, node):
        if block.cidr.prefixlen < block.cidr.max_prefixlen:
            to = str(block.cidr)
            origin = replace(subnet.origin, driver=driver)
            yield Route(key=route_key("", to), origin=origin, to=to, type="blackhole")


def announced(network: NetworkView, node: str, *, blocks: bool = True) -> Announcing:
    """Whole blocks, and one by one the addresses of endpoints that are in none of the node's (borrowed ones); without
    ``blocks`` all of them one by one."""
    whole = tuple(block.cidr for _subnet, block in blocks_of(network, node)) if blocks else ()
    return Announcing(
        whole=whole,
        parts=tuple(subnet.cidr for subnet in network.subnets),
        hosts=tuple(host for host in hosts_of(network, node) if not any(_is_in(host, cidr) for cidr in whole)),
    )


def hosts_of(network: NetworkView, node: str) -> Iterable[Subnet]:
    """The addresses of a node's endpoints, as prefixes."""
    for endpoint in network.endpoints:
        if endpoint.sandbox.node == node:
            yield from (ip_network(address.ip) for address in endpoint.addresses)


def _is_in(host: Subnet, cidr: Subnet) -> bool:
    return host.version == cidr.version and host.network_address in cidr


def check_gateways(network: NetworkView) -> Iterable[Problem]:
    """Gateways that are written, though the host is every endpoint's next hop."""
    for number, subnet in enumerate(network.subnets if network.says("subnets") else ()):
        if network.says("subnets", number, "gateway"):
            yield Problem(
                network.at("spec", "subnets", number, "gateway"),
                f"network {network.name} has no gateway in {subnet.cidr}: the next hop of every endpoint is "
                f"{network.options.hop(subnet.cidr.version)}",
                "leave it out",
            )
