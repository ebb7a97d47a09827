"""Driver ovs: an Open vSwitch bridge a network, or several networks on one by VLANs; a veth pair or an internal port an endpoint."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

from msgspec.structs import replace
from pydantic import Field

from reconciler.drivers.cable import cable_name, render_cable
from reconciler.drivers.driver import SwitchPort
from reconciler.drivers.internalport import internal_link
from reconciler.drivers.ovsbridge import Switch, bridge_name
from reconciler.drivers.ovscheck import Checks, check_endpoint
from reconciler.drivers.ovsguard import guard_port, guarded
from reconciler.drivers.ovsoptions import SwitchEndpointOptions, SwitchOptions
from reconciler.drivers.ovsrates import burst_of, check_rates, hold_rates, queue, queue_name
from reconciler.drivers.plug import render_plug
from reconciler.errors import Origin, Problem
from reconciler.resources.offload import Offload, offload_key
from reconciler.resources.ovs import OvsInterface
from reconciler.resources.resource import Entries, Resource
from reconciler.topology.options import EndpointOptions, NetworkOptions
from reconciler.topology.view import EndpointView, NetworkView, NodeFacts, Topology

Datapath = Literal["system", "netdev"]
PortKind = Literal["veth", "internal"]


class OvsOptions(SwitchOptions):
    """Options of driver ovs."""

    datapath: Datapath = Field(
        default="system",
        description="system: the kernel's (module openvswitch); netdev: in ovs-vswitchd itself, on any kernel.",
    )
    port: PortKind = Field(
        default="veth",
        description="What an endpoint is plugged in by: a veth pair, or an internal port of the bridge, which keeps its name "
        "in the sandbox.",
    )


class OvsEndpointOptions(SwitchEndpointOptions):
    """Options of an endpoint on a network of driver ovs."""

    port: PortKind | None = Field(default=None, description="veth | internal, instead of the network's.")


class OvsDriver:
    """Ports on a bridge of Open vSwitch."""

    name: ClassVar[str] = "ovs"
    summary: ClassVar[str] = (
        "an Open vSwitch bridge, a veth pair or an internal port an endpoint: VLANs, tunnels, mirrors"
    )
    capabilities: ClassVar[frozenset[str]] = frozenset({"ovs", "link:veth"})
    Options: ClassVar[type[NetworkOptions]] = OvsOptions
    EndpointOptions: ClassVar[type[EndpointOptions]] = OvsEndpointOptions
    holds_rates: ClassVar[bool] = True

    def requires(self, network: NetworkView) -> frozenset[str]:
        options: OvsOptions = network.options
        return self.capabilities | ({"ovs-datapath"} if options.datapath == "system" else frozenset())

    def host_interface(self, network: NetworkView) -> str | None:
        return None

    def check(self, network: NetworkView, topology: Topology) -> Iterable[Problem]:
        options: OvsOptions = network.options
        yield from Checks(network, self.name).problems(topology)
        for endpoint in network.endpoints:
            yield from check_endpoint(endpoint)
        internal: dict[str, str] = {}
        for endpoint in network.local:
            if _kind(options, endpoint) == "internal":
                yield from _internal(network, endpoint, topology, internal)
            yield from check_rates(network, endpoint, userspace=options.datapath == "netdev")

    def render(self, network: NetworkView, node: NodeFacts) -> Iterable[Resource]:
        switch = Switch(network, self.name, network.options.datapath)
        if not switch.used:
            return
        yield from switch.render(node, {endpoint.name: port_name(network, endpoint) for endpoint in network.local})
        for endpoint in network.local:
            yield from self._endpoint(switch, endpoint)

    def switch_port(
        self, network: NetworkView, interface: str, node: NodeFacts, origin: Origin, trunk: tuple[int, ...]
    ) -> SwitchPort:
        options: OvsOptions = network.options
        switch = Switch(network, self.name, options.datapath)
        port = switch.port(
            interface,
            origin,
            [OvsInterface(name=interface, type="", fault="")],
            protected=not options.inter_container,
        )
        if trunk:
            port = replace(port, trunks=trunk, vlan_mode="native-untagged")
        bridge = () if switch.used else switch.render(node, {})
        return SwitchPort(beside=(*bridge, port))

    def _endpoint(self, switch: Switch, endpoint: EndpointView) -> Iterable[Resource]:
        network, options = switch.network, switch.network.options
        origin = replace(endpoint.origin, driver=self.name)
        netns, dev = endpoint.sandbox.netns, endpoint.interface
        port = port_name(network, endpoint)
        internal = _kind(options, endpoint) == "internal"
        policed = endpoint.send if options.datapath == "system" else None
        interface = OvsInterface(
            name=port,
            type="internal" if internal else "",
            mtu=endpoint.mtu if internal else None,
            policing_rate=policed.rate // 1000 if policed is not None else 0,
            policing_burst=burst_of(policed) if policed is not None else 0,
            fault="",
        )
        yield switch.port(
            port,
            origin,
            [interface],
            endpoint.options,
            protected=not options.inter_container,
            qos=queue_name(endpoint) if endpoint.receive is not None else "",
            external_ids=Entries((("cnm-endpoint", f"{network.name}/{endpoint.name}"),)),
        )
        if internal:
            yield internal_link(netns, dev, port, origin, mtu=endpoint.mtu, mac=endpoint.mac)
            yield from render_plug(endpoint, origin, ipv6=network.ipv6)
        else:
            yield from render_cable(endpoint, origin, name=port, ipv6=network.ipv6)
        if not internal and options.datapath == "netdev":
            # ovs-vswitchd reads the other end by AF_PACKET: a checksum that is left to the hardware would never be made.
            yield Offload(key=offload_key(netns, dev), origin=origin, dev=dev, tx_checksum=False)
        yield from queue(endpoint, origin)
        yield from guard_port(switch.bridge, port, network, endpoint, origin)
        userspace, behind = options.datapath == "netdev", guarded(network, endpoint)
        yield from hold_rates(switch.bridge, port, endpoint, origin, userspace=userspace, guarded=behind)


def port_name(network: NetworkView, endpoint: EndpointView) -> str:
    """The port, and so the host's end of the veth pair; an internal port has the interface's name."""
    if _kind(network.options, endpoint) == "internal":
        return endpoint.interface
    return cable_name(network, endpoint)


def _kind(options: OvsOptions, endpoint: EndpointView) -> PortKind:
    own: OvsEndpointOptions = endpoint.options
    return own.port or options.port


def _internal(
    network: NetworkView, endpoint: EndpointView, topology: Topology, seen: dict[str, str]
) -> Iterable[Problem]:
    if not endpoint.says("interface"):
        yield Problem(
            endpoint.origin,
            f"endpoint {endpoint.name}: an internal port keeps its name in the sandbox, and that must be free on the host",
            "write spec.interface: NAME, one that nothing else on this host has",
        )
        return
    other = seen.setdefault(endpoint.interface, endpoint.name)
    taken = next((link for link in topology.facts.links if link.name == endpoint.interface), None)
    foreign = taken is not None and taken.type not in ("tun", "openvswitch")
    if other != endpoint.name or foreign or endpoint.interface == bridge_name(network):
        whose = f"endpoint {other} has it too" if other != endpoint.name else "the host has an interface of that name"
        yield Problem(
            endpoint.at("spec", "interface"),
            f"endpoint {endpoint.name}: {endpoint.interface} cannot be the name of its internal port: {whose}",
            "write another name",
        )


DRIVER = OvsDriver()
