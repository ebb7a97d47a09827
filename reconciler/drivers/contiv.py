"""Driver contiv: networks of tenants on one Open vSwitch bridge, all of whose forwarding is flows that are known beforehand.

Where every endpoint is and which addresses it has follows from the manifests, so nothing is learned and next to nothing
flooded. The flows are ``features/openflow/flows.py``'s; here are the bridge and its ports.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, Literal

from msgspec.structs import replace
from pydantic import Field

from reconciler.drivers.cable import cable_name, render_cable
from reconciler.drivers.driver import Place
from reconciler.drivers.firewall import Firewall, Zone
from reconciler.drivers.forwarding import render_forwarding
from reconciler.drivers.internalport import internal_link
from reconciler.drivers.plug import plug_address
from reconciler.errors import Origin, Problem
from reconciler.manifest.types import InterfaceName
from reconciler.resources.neighbour import Neighbour, neighbour_key
from reconciler.resources.offload import Offload, offload_key
from reconciler.resources.ovs import OvsBridge, OvsInterface, OvsPort, ovs_bridge_key, ovs_port_key
from reconciler.resources.resource import Entries, Resource
from reconciler.resources.sysctl import Sysctl, sysctl_key
from reconciler.topology.derive import mac_of, short_name
from reconciler.topology.options import DEFAULT_MTU, EndpointOptions, Gateway, NetworkOptions
from reconciler.topology.view import EndpointView, NetworkView, NodeFacts, NodeView, SubnetView, Topology

VXLAN_PORT = 4789
_VXLAN_HEADERS = 50  # over IPv4; 20 more over IPv6


class ContivOptions(NetworkOptions):
    """Options of driver contiv."""

    bridge: InterfaceName = Field(
        default="br-contiv", description="The bridge; networks that name the same one share it."
    )
    datapath: Literal["system", "netdev"] = Field(
        default="system",
        description="system: the kernel's (module openvswitch); netdev: in ovs-vswitchd itself, on any kernel.",
    )
    encapsulation: Literal["vlan", "vxlan"] = Field(
        default="vlan", description="How frames travel between nodes: with a VLAN tag by the uplink, or in VXLAN."
    )
    vlan: Annotated[int, Field(ge=1, le=4094)] | None = Field(
        default=None,
        description="VLAN of the network. On a fabric each group has its own instead, and this is left out.",
    )
    vxlan_id: Annotated[int, Field(ge=1, le=16777215)] | None = Field(
        default=None, description="VXLAN network identifier. Default: chosen, and kept in the lock file."
    )
    uplink: InterfaceName | None = Field(
        default=None,
        description="Interface of the host that leads to the other nodes, for VLANs. Default: none, the network stays on its node.",
    )
    forwarding: Literal["bridge", "routing"] = Field(
        default="bridge",
        description="bridge: endpoints of the network reach each other, and what the uplink leads to. routing: every node is "
        "also the gateway of each subnet, and routes to networks that let this one in (allowFrom).",
    )

    outgoing: Literal["nat", "routed"] | None = Field(
        default=None,
        description="With routing, the way to all that is not on the bridge, through each node's own host. nat: under the host's "
        "address, and nobody opens anything from there. routed: as it is, for hosts that know the way back, and both may "
        "open. Default: there is none.",
    )

    def gateway(self, version: int) -> Gateway:
        return "first" if self.forwarding == "routing" else "written"

    def shares(self) -> frozenset[str]:
        return frozenset({self.uplink}) if self.uplink is not None else frozenset()

    def vni(self, segment: int) -> int | None:
        return (self.vxlan_id or 0) if self.encapsulation == "vxlan" else None

    def default_mtu(self, facts: NodeFacts, node: NodeView | None, subnets: Sequence[SubnetView]) -> int:
        whole = min(DEFAULT_MTU, facts.uplink_mtu)
        if self.encapsulation == "vlan":
            return whole
        over6 = node is not None and bool(node.addresses) and node.addresses[0].version == 6
        return whole - _VXLAN_HEADERS - (20 if over6 else 0)


class ContivDriver:
    """Ports on a bridge that only does what its flows say."""

    name: ClassVar[str] = "contiv"
    summary: ClassVar[str] = "networks of tenants on Open vSwitch: VLAN or VXLAN, bridged or routed, policies as flows"
    capabilities: ClassVar[frozenset[str]] = frozenset({"ovs", "link:veth"})
    Options: ClassVar[type[NetworkOptions]] = ContivOptions
    EndpointOptions: ClassVar[type[EndpointOptions]] = EndpointOptions
    holds_rates: ClassVar[bool] = True
    place: ClassVar[Place] = Place.DRIVER

    def requires(self, network: NetworkView) -> frozenset[str]:
        options: ContivOptions = network.options
        if not network.local:
            return frozenset()
        found = self.capabilities | ({"ovs-datapath"} if options.datapath == "system" else frozenset())
        return found | ({"nft"} if options.outgoing is not None else frozenset())

    def host_interface(self, network: NetworkView) -> str | None:
        return None

    def vlans(self, network: NetworkView) -> frozenset[int]:
        """With which tags its endpoints' frames leave the host: where none is said, with those of their groups."""
        options: ContivOptions = network.options
        return frozenset({options.vlan}) if options.vlan is not None else frozenset()

    def check(self, network: NetworkView, topology: Topology) -> Iterable[Problem]:
        options: ContivOptions = network.options
        fabric = topology.fabric_of(network.name)
        at = network.at("spec", "options")
        say = f"network {network.name}: "
        if options.encapsulation == "vlan" and options.vlan is None and not fabric:
            yield Problem(at, f"{say}which VLAN?", "write options.vlan, from 1 to 4094")
        for name, other in (("vlan", "vxlan"), ("uplink", "vxlan"), ("vxlan_id", "vlan")):
            if getattr(options, name) is not None and options.encapsulation == other:
                yield Problem(
                    network.at("spec", "options", type(options).model_fields[name].alias or name),
                    f"{say}encapsulation {other} has no {name}",
                    f"leave options.{name} out",
                )
        if fabric and options.encapsulation != "vlan":
            yield Problem(at, f"{say}a fabric takes its frames in VLANs", "write encapsulation: vlan")
        if fabric and options.forwarding == "routing":
            yield Problem(
                network.at("spec", "options", "forwarding"),
                f"{say}fabric {fabric} routes for it",
                "write forwarding: bridge",
            )
        if options.outgoing is not None and (options.forwarding == "bridge" or network.internal):
            what = "an internal network has" if network.internal else "nothing routes on a bridged network, it has"
            where = "leave options.outgoing out" if network.internal else "write forwarding: routing, or leave it out"
            yield Problem(network.at("spec", "options", "outgoing"), f"{say}{what} no way out", where)
        if network.allow_from and options.forwarding == "bridge" and not fabric:
            yield Problem(
                network.at("spec", "allowFrom"),
                f"{say}nothing routes between bridged networks",
                "write forwarding: routing in both, or leave allowFrom out",
            )
        for source in network.allow_from:
            theirs = source.options
            if not fabric and (not isinstance(theirs, ContivOptions) or theirs.bridge != options.bridge):
                yield Problem(
                    network.at("spec", "allowFrom"),
                    f"{say}network {source.name} is not on bridge {options.bridge}, whose flows route",
                    "put both on one bridge",
                )
        if options.encapsulation == "vxlan":
            used = {endpoint.sandbox.node for endpoint in network.endpoints}
            for node in network.nodes:
                if node.name in used and len(used) > 1 and not node.addresses:
                    yield Problem(
                        node.origin,
                        f"{say}node {node.name} has no address that tunnels could lead to",
                        "write spec.addresses",
                    )
        yield from self._beside(network, topology)

    def _beside(self, network: NetworkView, topology: Topology) -> Iterable[Problem]:
        """Networks on one bridge agree on what is the bridge's, and have each its own number."""
        options: ContivOptions = network.options
        for other in topology.networks:
            theirs = other.options
            if other.name >= network.name or getattr(theirs, "bridge", None) != options.bridge:
                continue
            who = f"networks {other.name} and {network.name} are both on bridge {options.bridge}"
            if not isinstance(theirs, ContivOptions):
                yield Problem(
                    network.at("spec", "options", "bridge"),
                    f"{who}, but driver {other.driver} wants it for itself",
                    "name another bridge",
                )
                continue
            if theirs.datapath != options.datapath:
                yield Problem(
                    network.at("spec", "options", "datapath"),
                    f"{who}, but do not agree on datapath",
                    "let both say the same",
                )
            for name, alias in (("vlan", "vlan"), ("vxlan_id", "vxlanId")):
                number = getattr(options, name)
                if number is not None and number == getattr(theirs, name):
                    yield Problem(
                        network.at("spec", "options", alias),
                        f"{who} and {alias} {number}",
                        "give one another number, or make them one network",
                    )

    def render(self, network: NetworkView, node: NodeFacts) -> Iterable[Resource]:
        options: ContivOptions = network.options
        if not network.local:
            return
        shared = Origin(document=f"bridge {options.bridge}", driver=self.name)
        yield OvsBridge(
            key=ovs_bridge_key(options.bridge),
            origin=shared,
            datapath_type=options.datapath,
            fail_mode="secure",
            protocols=(),
            stp=False,
            rstp=False,
            mcast_snooping=False,
            other_config=(("hwaddr", mac_of("bridge", options.bridge)),),
            fault="",
        )
        if options.encapsulation == "vxlan":
            pairs = (("dst_port", str(VXLAN_PORT)), ("key", "flow"), ("remote_ip", "flow"))
            yield _port(
                tunnel_name(options.bridge), options.bridge, shared, OvsInterface(name="", type="vxlan", options=pairs)
            )
        elif options.uplink is not None:
            yield _port(options.uplink, options.bridge, shared, OvsInterface(name="", type=""))
        if options.outgoing is not None:
            yield from self._outgoing(network, node)
        for endpoint in network.local:
            yield from self._endpoint(network, endpoint)

    def _outgoing(self, network: NetworkView, node: NodeFacts) -> Iterable[Resource]:
        """The host's interface on the network: it has the gateway's addresses, knows who is here, and asks nobody."""
        options: ContivOptions = network.options
        origin = replace(network.at("spec", "options", "outgoing"), driver=self.name)
        dev = exit_name(network)
        yield _port(dev, options.bridge, origin, OvsInterface(name="", type="internal", mtu=network.mtu))
        yield internal_link("", dev, dev, origin, mtu=network.mtu, mac=gateway_mac(options.bridge))
        setting, value = ("accept_ra", "0") if network.ipv6 else ("disable_ipv6", "1")
        yield Sysctl(key=sysctl_key("", f"net/ipv6/conf/{dev}/{setting}"), origin=origin, value=value, dev=dev)
        for subnet in network.subnets:
            if subnet.gateway is not None:
                yield plug_address("", dev, f"{subnet.gateway}/{subnet.cidr.prefixlen}", origin)
        for endpoint in network.local:
            at = replace(endpoint.origin, driver=self.name)
            for address in endpoint.addresses:
                hop = str(address.ip)
                yield Neighbour(key=neighbour_key("", dev, hop), origin=at, dev=dev, address=hop, mac=endpoint.mac)
        yield from render_forwarding(node, origin, ipv4=network.ipv4, ipv6=network.ipv6)
        nat = options.outgoing == "nat"
        zone = Zone(
            network=network.name,
            interface=dev,
            origin=origin,
            inter_container=False,  # they meet on the switch
            allow_from=(),
            trusted=(),
            internal=False,
            outside=dict.fromkeys((4, 6), "drop" if nat else "accept"),
            nat=tuple((subnet.cidr.version, str(subnet.cidr), None) for subnet in network.subnets if nat),
        )
        yield from Firewall(node.owner, origin).render(zone)

    def _endpoint(self, network: NetworkView, endpoint: EndpointView) -> Iterable[Resource]:
        options: ContivOptions = network.options
        origin = replace(endpoint.origin, driver=self.name)
        port = cable_name(network, endpoint)
        ids = Entries((("cnm-endpoint", f"{network.name}/{endpoint.name}"),))
        interface = OvsInterface(name="", type="", policing_rate=0, policing_burst=0)
        yield replace(_port(port, options.bridge, origin, interface), external_ids=ids)
        yield from render_cable(endpoint, origin, name=port, ipv6=network.ipv6)
        yield from _gateways(network, endpoint, origin)
        if options.datapath == "netdev":
            # ovs-vswitchd reads the other end by AF_PACKET: a checksum that is left to the hardware would never be made.
            netns, dev = endpoint.sandbox.netns, endpoint.interface
            yield Offload(key=offload_key(netns, dev), origin=origin, dev=dev, tx_checksum=False)


def gateway_mac(bridge: str) -> str:
    """Under which every node routes for the endpoints of a bridge."""
    return mac_of("gateway", bridge)


def exit_name(network: NetworkView) -> str:
    """The port by which a network's packets leave the switch for the host."""
    return short_name("gw-", "gateway", network.options.bridge, network.name)


def _gateways(network: NetworkView, endpoint: EndpointView, origin: Origin) -> Iterable[Neighbour]:
    """Who the IPv6 gateways are is known beforehand, so nobody asks: flows answer ARP, but cannot say that they are a router
    (RFC 4861, 4.4)."""
    netns, dev = endpoint.sandbox.netns, endpoint.interface
    options: ContivOptions = network.options
    for subnet in network.subnets if options.forwarding == "routing" else ():
        if subnet.gateway is not None and subnet.gateway.version == 6:
            hop = str(subnet.gateway)
            mac = gateway_mac(options.bridge)
            yield Neighbour(key=neighbour_key(netns, dev, hop), origin=origin, dev=dev, address=hop, mac=mac)


def tunnel_name(bridge: str) -> str:
    """The one port through which VXLAN leads to all other nodes: flows say to which."""
    return short_name("vx-", "tunnel", bridge)


def _port(name: str, bridge: str, origin: Origin, interface: OvsInterface) -> OvsPort:
    """VLANs are the flows' business, so the port itself has none."""
    return OvsPort(
        key=ovs_port_key(name),
        origin=origin,
        bridge=bridge,
        tag=-1,
        trunks=(),
        vlan_mode="",
        protected=False,
        qos="",
        interfaces=(replace(interface, name=name, fault=""),),
    )


DRIVER = ContivDriver()
