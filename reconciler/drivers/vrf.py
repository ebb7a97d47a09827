"""Driver vrf: networks in routing domains of their own, one a tenant, which may all use the same subnets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar

from msgspec.structs import replace
from pydantic import Field

from reconciler.drivers.cable import cable_name, render_cable
from reconciler.drivers.forwarding import render_forwarding
from reconciler.drivers.plug import plug_address
from reconciler.errors import Origin, Problem
from reconciler.manifest.types import InterfaceName
from reconciler.resources.link import Link, link_key
from reconciler.resources.linkinfo.vrf import Vrf
from reconciler.resources.resource import Resource
from reconciler.resources.route import Route, route_key
from reconciler.resources.sysctl import Sysctl, sysctl_key
from reconciler.topology.derive import digest, mac_of, short_name
from reconciler.topology.options import EndpointOptions, NetworkOptions
from reconciler.topology.view import EndpointView, NetworkView, NodeFacts, Topology

_FIRST_TABLE, _TABLES = 1 << 20, 1 << 30  # far above those that people number by hand
_LAST = 4278198272  # the metric that Documentation/networking/vrf.rst gives to the route of last resort


class VrfOptions(NetworkOptions):
    """Options of driver vrf."""

    vrf: InterfaceName = Field(
        description="The routing domain, as the name of its VRF device. Networks of one domain reach each other through their "
        "gateways; nothing else reaches them, nor they anything else."
    )
    table: Annotated[int, Field(ge=1, le=4294967295)] | None = Field(
        default=None, description="Number of the domain's routing table. Default: derived from its name."
    )

    def domain(self) -> str:
        return self.vrf

    @property
    def number(self) -> int:
        """The routing table."""
        return self.table or _FIRST_TABLE + int.from_bytes(digest("vrf", self.vrf)[:4], "big") % _TABLES


def bridge_name(network: NetworkView) -> str:
    """The network's own bridge, a part of the VRF."""
    return short_name("vb-", "vrf", network.name)


class VrfDriver:
    """One VRF a domain, one bridge a network."""

    name: ClassVar[str] = "vrf"
    summary: ClassVar[str] = "networks in routing domains of their own, which may all use the same subnets"
    capabilities: ClassVar[frozenset[str]] = frozenset({"link:vrf", "link:bridge", "link:veth"})
    Options: ClassVar[type[NetworkOptions]] = VrfOptions
    EndpointOptions: ClassVar[type[EndpointOptions]] = EndpointOptions

    def requires(self, network: NetworkView) -> frozenset[str]:
        return self.capabilities

    def host_interface(self, network: NetworkView) -> str | None:
        return None

    def host_port(self, network: NetworkView, endpoint: EndpointView) -> str:
        return cable_name(network, endpoint)

    def check(self, network: NetworkView, topology: Topology) -> Iterable[Problem]:
        options: VrfOptions = network.options
        if network.allow_from:
            yield Problem(
                network.at("spec", "allowFrom"),
                f"network {network.name}: routing domain {options.vrf} is closed to all others, and open within",
                "leave allowFrom out, or give networks that shall reach each other one vrf",
            )
        if options.table in (253, 254, 255):
            yield Problem(
                network.at("spec", "options", "table"),
                f"network {network.name}: table {options.table} is the host's own",
                "write another number, or leave it out",
            )
        for other in topology.networks:
            theirs = other.options
            if other.name >= network.name or not isinstance(theirs, VrfOptions):
                continue
            if (theirs.vrf == options.vrf) != (theirs.number == options.number):
                yield Problem(
                    network.at("spec", "options", "table"),
                    f"networks {other.name} and {network.name}: domains {theirs.vrf} and {options.vrf} with tables "
                    f"{theirs.number} and {options.number}",
                    "one domain has one table, and another domain another",
                )

    def render(self, network: NetworkView, node: NodeFacts) -> Iterable[Resource]:
        if not network.local:
            return
        options: VrfOptions = network.options
        origin = replace(network.origin, driver=self.name)
        yield from _domain(options, origin)
        bridge = bridge_name(network)
        yield Link(
            key=link_key("", bridge),
            origin=origin,
            type="bridge",
            up=True,
            mtu=network.mtu,
            mac=mac_of("bridge", bridge),
            master=options.vrf,
            addr_gen="none",
        )
        item, value = ("accept_ra", "0") if network.ipv6 else ("disable_ipv6", "1")
        yield Sysctl(key=sysctl_key("", f"net/ipv6/conf/{bridge}/{item}"), origin=origin, value=value, dev=bridge)
        if network.ipv6:
            yield plug_address("", bridge, "fe80::1/64", origin)
        for subnet in network.subnets:
            at = replace(subnet.origin, driver=self.name)
            yield plug_address("", bridge, f"{subnet.gateway}/{subnet.cidr.prefixlen}", at)
        if not network.internal:
            yield from render_forwarding(node, origin, ipv4=network.ipv4, ipv6=network.ipv6)
        for endpoint in network.local:
            yield from render_cable(
                endpoint,
                replace(endpoint.origin, driver=self.name),
                name=self.host_port(network, endpoint),
                master=bridge,
                ipv6=network.ipv6,
            )


def _domain(options: VrfOptions, origin: Origin) -> Iterable[Resource]:
    """The device, and a last route that says no: a table without an answer is passed over, and the host's own would be
    asked next."""
    yield Link(
        key=link_key("", options.vrf),
        origin=origin,
        type="vrf",
        up=True,
        addr_gen="none",
        info=Vrf(number=options.number),
    )
    for to in ("0.0.0.0/0", "::/0"):
        key = route_key("", to, _LAST, options.number)
        yield Route(key=key, origin=origin, to=to, metric=_LAST, table=options.number, type="unreachable")


DRIVER = VrfDriver()
