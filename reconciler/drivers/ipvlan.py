"""Driver ipvlan: endpoints with IP addresses of their own under the MAC address of an interface of the host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_interface, ip_network
from typing import Any, ClassVar, Literal

from pydantic import Field

from reconciler.drivers.parent import Parent, host_link
from reconciler.drivers.rider import Rider, RiderOptions
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

    def shared(self) -> dict[str, Any]:
        return {"mode": self.mode, "flag": self.flag}

    def apart(self) -> str:
        return "flag private" if self.flag == "private" else ""

    def leases(self) -> bool:
        return super().leases() and self.mode == "l2"

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

    def network_facts(self, network: NetworkView, facts: NodeFacts) -> Mapping[str, str]:
        """For the owner of the router beyond the parent: the routes that it needs, as nobody answers ARP for endpoints there.
        A network that is on this node alone is one route a subnet, else every endpoint is one."""
        on: Parent = network.options.on(network.name, facts)
        if network.options.mode == "l2" or on.dummy or not network.local:
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


DRIVER = IpvlanDriver()
