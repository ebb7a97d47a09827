"""Driver ipvlan: endpoints with IP addresses of their own under the MAC address of an interface of the host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_interface, ip_network
from typing import Any, ClassVar, Literal

from pydantic import Field

from reconciler.drivers.driver import Announcing
from reconciler.drivers.parent import Parent, host_link
from reconciler.drivers.rider import Rider, RiderOptions
from reconciler.drivers.routed import hosts_of
from reconciler.errors import Problem
from reconciler.resources.linkinfo.info import LinkInfo
from reconciler.resources.linkinfo.ipvlan import Ipvlan
from reconciler.topology.options import Gateway, NetworkOptions
from reconciler.topology.view import EndpointView, NetworkView, NodeFacts, Topology

Mode = Literal["l2", "l3", "l3s"]
Flag = Literal["bridge", "private", "vepa"]


class IpvlanOptions(RiderOptions):
    """Options of driver ipvlan."""

    family: ClassVar[str] = "ipvlan"

    mode: Mode = Field(
        default="l2",
        description="l2: endpoints are on the parent's segment; l3: the parent routes between them and the outside, which "
        "needs routes back to them (`cnm status` tells which): no ARP, no multicast, the default route goes out of the interface; "
        "l3s: the same, and packets pass the host's netfilter. One mode for all on a parent.",
    )
    flag: Flag = Field(
        default="bridge",
        description="bridge: endpoints on one parent reach each other; private: they do not; vepa: only by way of what is "
        "beyond the parent. One for all on a parent.",
    )

    announce: Literal["subnets", "endpoints"] | None = Field(
        default=None,
        description="Tell routers of the way back to endpoints in mode l3 or l3s by BGP, from nodes with spec.bgp. subnets: each "
        "subnet whole, where one node has all endpoints; endpoints: the addresses of a node's endpoints one by one.",
    )

    def shared(self) -> dict[str, Any]:
        return {"mode": self.mode, "flag": self.flag}

    def apart(self) -> str:
        return "flag private" if self.flag == "private" else ""

    def leases(self) -> bool:
        return super().leases() and self.mode == "l2"

    def routed(self) -> bool:
        return self.announce is not None

    def gateway(self, version: int) -> Gateway:
        return "written" if self.mode == "l2" else "device"


class IpvlanDriver(Rider):
    """An ipvlan an endpoint."""

    name: ClassVar[str] = "ipvlan"
    summary: ClassVar[str] = (
        "endpoints with IP addresses of their own under the MAC address of an interface of the host"
    )
    capabilities: ClassVar[frozenset[str]] = frozenset({"link:ipvlan"})
    Options: ClassVar[type[NetworkOptions]] = IpvlanOptions
    info: ClassVar[type[Ipvlan]] = Ipvlan

    def link_info(self, network: NetworkView, endpoint: EndpointView | None) -> LinkInfo:
        kind = self.info if endpoint is not None else Ipvlan  # the host itself needs no character device
        return kind(mode=network.options.mode, flag=network.options.flag)

    def mac(self, network: NetworkView, endpoint: EndpointView) -> str | None:
        return None

    def announcing(self, network: NetworkView, node: str) -> Announcing | None:
        """The node has no route to what it announces: its interface takes packets to endpoints before any route is looked
        up (ipvlan_handle_mode_l3 in drivers/net/ipvlan/ipvlan_core.c)."""
        options: IpvlanOptions = network.options
        if options.announce is None:
            return None
        subnets = tuple(subnet.cidr for subnet in network.subnets)
        hosts = tuple(hosts_of(network, node))
        whole = options.announce == "subnets"
        return Announcing(parts=subnets, originated=subnets if whole and hosts else hosts)

    def network_facts(self, network: NetworkView, facts: NodeFacts) -> Mapping[str, str]:
        """For the owner of the router beyond the parent: the routes that it needs, as nobody answers ARP for endpoints there.
        A network that is on this node alone is one route a subnet, else every endpoint is one."""
        on: Parent = network.options.on(network.name, facts)
        told = network.options.announce is not None
        if network.options.mode == "l2" or on.dummy or told or not network.local:
            return {}
        if len(network.local) == len(network.endpoints):
            towards = [subnet.cidr for subnet in network.subnets]
        else:
            towards = [ip_network(address.ip) for endpoint in network.local for address in endpoint.addresses]
        found = host_link(facts, on.name)
        own = [ip_interface(address).ip for address in found.addresses] if found is not None else []
        hops = {ip.version: str(ip) for ip in reversed(own) if not ip.is_link_local}
        routes = (f"{to} via {hops.get(to.version, f'this node on {on.name}')}" for to in towards)
        return {"routes back": ", ".join(routes)}

    def check(self, network: NetworkView, topology: Topology) -> Iterable[Problem]:
        yield from super().check(network, topology)
        options: IpvlanOptions = network.options
        for endpoint in network.endpoints:
            if endpoint.says("mac"):
                yield Problem(
                    endpoint.at("spec", "mac"),
                    f"endpoint {endpoint.name}: driver {self.name} gives all endpoints their parent's MAC address",
                    "leave mac out, or use driver macvlan",
                )
        if options.announce is not None:
            yield from self._check_announced(network, options)
        if options.mode == "l2":
            return
        for number, subnet in enumerate(network.subnets):
            if network.says("subnets") and network.says("subnets", number, "gateway"):
                yield Problem(
                    network.at("spec", "subnets", number, "gateway"),
                    f"network {network.name}: in mode {options.mode} there is no gateway on {subnet.cidr}: packets leave by the "
                    "interface as it is, and the parent routes them",
                    "leave gateway out",
                )

    @staticmethod
    def _check_announced(network: NetworkView, options: IpvlanOptions) -> Iterable[Problem]:
        at, who = network.at("spec", "options", "announce"), f"network {network.name}"
        if options.mode == "l2":
            text = f"{who}: in mode l2 endpoints are on the parent's own segment, and nobody needs a route to them"
            yield Problem(at, text, "write mode: l3, or leave announce out")
        if options.parent is None:
            text = f"{who}: its endpoints ride on a dummy interface, which leads nowhere"
            yield Problem(at, text, "write options.parent, or leave announce out")
        used = sorted({endpoint.sandbox.node for endpoint in network.endpoints})
        if options.announce == "subnets" and len(used) > 1:
            text = f"{who} has endpoints on {' and '.join(used)}: whoever announces a whole subnet gets what is for the others"
            yield Problem(at, text, "write announce: endpoints")
        speaking = {node.name for node in network.nodes if node.bgp is not None}
        for name in used:
            if name not in speaking:
                yield Problem(
                    at, f"{who} has endpoints on node {name}, which speaks no BGP", f"write spec.bgp in Node {name}"
                )


DRIVER = IpvlanDriver()
