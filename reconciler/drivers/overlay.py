"""Driver overlay: one network over many hosts, by VXLAN (RFC 7348).

On each node that has endpoints of the network, for each of its segments (the n-th IPv4 and the n-th IPv6 subnet)::

    sandbox --veth-- bridge (gateway address, one MAC address on all nodes) --- vxlan (VNI) === the other nodes

Every node reads the same manifests and so knows of every endpoint where it is: no frame is flooded between nodes, no
address is learned, ARP and neighbour solicitations are answered on the spot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_interface
from typing import Annotated, ClassVar, Literal

from msgspec import Struct
from msgspec.structs import replace
from pydantic import Field

from reconciler.drivers import frr
from reconciler.drivers.bridge import IPV6_LINK_LOCAL, MAX_PORTS, GatewayMode
from reconciler.drivers.cable import cable_name, render_cable
from reconciler.drivers.driver import Publishing
from reconciler.drivers.encryption import PORT as ENCRYPTED_PORT
from reconciler.drivers.encryption import Encryption, policies, render_guard, render_pair
from reconciler.drivers.encryption import room as encrypted_room
from reconciler.drivers.firewall import Firewall, Zone, let_in, published_chains
from reconciler.drivers.forwarding import render_forwarding
from reconciler.drivers.plug import plug_address
from reconciler.errors import Origin, Problem
from reconciler.manifest.model import once
from reconciler.netlink.fdb import EVERY
from reconciler.resources.fdb import Fdb, fdb_key
from reconciler.resources.file import ConfigFile, file_key
from reconciler.resources.link import BridgePort, Link, link_key
from reconciler.resources.linkinfo.bridge import Bridge
from reconciler.resources.linkinfo.vxlan import Vxlan
from reconciler.resources.neighbour import Neighbour, neighbour_key
from reconciler.resources.resource import Resource
from reconciler.resources.route import Route, route_key
from reconciler.resources.sysctl import Sysctl, sysctl_key
from reconciler.resources.xfrm import secret_key
from reconciler.topology.derive import mac_of, short_name
from reconciler.topology.options import DEFAULT_MTU, EndpointOptions, Gateway, NetworkOptions
from reconciler.topology.view import EndpointView, NetworkView, NodeFacts, NodeView, Subnet, SubnetView, Topology

PORT = 4789  # IANA, VXLAN
OUTER = {4: 20, 6: 40}  # the underlay's IP header
INNER = 8 + 8 + 14  # RFC 7348, 5: UDP and VXLAN header, inner Ethernet header
FAMILIES = {"ipv4": 4, "ipv6": 6}

Vni = Annotated[int, Field(ge=1, le=(1 << 24) - 1)]


class OverlayOptions(NetworkOptions):
    """Options of driver overlay."""

    vnis: list[Vni] = Field(
        default=[],
        description="VXLAN network identifiers: the n-th is that of the n-th IPv4 and the n-th IPv6 subnet, which share "
        "a link layer. Default: chosen from 4096 and kept in the lock file.",
    )
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        default=None,
        description="UDP port of the tunnels, the same on all nodes. Default: 4789, of encrypted networks 14789.",
    )
    encryption: Encryption | None = Field(
        default=None, description="Encrypt all that goes between nodes (IPsec ESP, AES-GCM). Default: not encrypted."
    )
    underlay: Literal["ipv4", "ipv6"] | None = Field(
        default=None,
        description="IP version between the nodes. Default: IPv4 where every node has an address of it, else IPv6.",
    )
    gateway_mode: GatewayMode = Field(
        default_factory=once(GatewayMode),
        description="How each family leaves the network at the node that an endpoint is on, and who may come in.",
    )
    control: Literal["manifests", "evpn"] = Field(
        default="manifests",
        description="Who tells a node where the others' endpoints are: manifests: every node has them and knows; evpn: "
        "BGP (RFC 8365), spoken by FRR with the nodes that have spec.bgp; this node tells of its own endpoints only.",
    )
    flood: bool = Field(
        default=False,
        description="True: broadcasts, multicasts and frames to unknown addresses go to every node of the network.",
    )

    def gateway(self, version: int) -> Gateway:
        mode = self.gateway_mode.ipv4 if version == 4 else self.gateway_mode.ipv6
        return "never" if mode == "isolated" else "first"

    def segment(self, cidr: Subnet, number: int) -> int:
        return number

    def vni(self, segment: int) -> int | None:
        return self.vnis[segment] if segment < len(self.vnis) else 0

    def default_mtu(self, facts: NodeFacts, node: NodeView | None, subnets: Sequence[SubnetView]) -> int:
        """What a packet on the underlay has room for: nodes whose underlay takes more than 1,500 bytes do not know
        that of each other, so more must be said."""
        version = self.version((node,) if node is not None else ())
        address = vtep(node, version) if node is not None else None
        return self.room(min(DEFAULT_MTU, underlay_mtu(facts, address)), version)

    def room(self, mtu: int, version: int) -> int:
        """The largest packet in a tunnel over an underlay of this MTU."""
        space = mtu - OUTER[version]
        return (encrypted_room(space) if self.encryption is not None else space) - INNER

    @property
    def udp_port(self) -> int:
        return self.port or (ENCRYPTED_PORT if self.encryption is not None else PORT)

    def version(self, nodes: Iterable[NodeView]) -> int:
        """The IP version between these nodes."""
        if self.underlay is not None:
            return FAMILIES[self.underlay]
        known = tuple(nodes)
        return 6 if all(vtep(node, 6) for node in known) and not all(vtep(node, 4) for node in known) else 4


def vtep(node: NodeView, version: int) -> str | None:
    """The address at which a node takes tunnelled packets: its first one of the IP version."""
    return next((str(address) for address in node.addresses if address.version == version), None)


def underlay_mtu(facts: NodeFacts, address: str | None) -> int:
    """The MTU of the interface that has the address; of the uplink when none has it (loopback, none looked at)."""
    for link in facts.links:
        if address is not None and any(str(ip_interface(text).ip) == address for text in link.addresses):
            return link.mtu
    return facts.uplink_mtu


class Segment(Struct, frozen=True):
    """One link layer of a network on this node."""

    number: int
    vni: int
    subnets: tuple[SubnetView, ...]
    bridge: str
    tunnel: str


def segments(network: NetworkView) -> tuple[Segment, ...]:
    """The link layers of a network, by number."""
    found: dict[int, list[SubnetView]] = {}
    for subnet in network.subnets:
        found.setdefault(subnet.segment, []).append(subnet)
    return tuple(
        Segment(number, network.vnis[number], tuple(found[number]), bridge_name(network, number), f"vx-{vni}")
        for number, vni in zip(sorted(found), network.vnis, strict=True)
    )


def bridge_name(network: NetworkView, number: int) -> str:
    """The bridge of a segment."""
    name = f"br-{network.name}"
    return name if number == 0 and len(name) <= 15 else short_name("br-", "overlay", network.name, str(number))


def _segment_of(endpoint: EndpointView, subnets: Iterable[SubnetView]) -> set[int]:
    return {s.segment for s in subnets for address in endpoint.addresses if address.ip in s.cidr}


class OverlayDriver:
    """One bridge and one VXLAN interface a segment."""

    name: ClassVar[str] = "overlay"
    summary: ClassVar[str] = "one network over many hosts: VXLAN between them, every endpoint's place known to all"
    capabilities: ClassVar[frozenset[str]] = frozenset({"link:bridge", "link:veth", "link:vxlan", "nft"})
    Options: ClassVar[type[NetworkOptions]] = OverlayOptions
    EndpointOptions: ClassVar[type[EndpointOptions]] = EndpointOptions

    def requires(self, network: NetworkView) -> frozenset[str]:
        options: OverlayOptions = network.options
        more = {"esp": options.encryption is not None, "frr": options.control == "evpn"}
        return self.capabilities | {capability for capability, needed in more.items() if needed}

    def host_interface(self, network: NetworkView) -> str | None:
        return bridge_name(network, 0)

    def host_port(self, network: NetworkView, endpoint: EndpointView) -> str:
        return cable_name(network, endpoint)

    def publishing(self, network: NetworkView) -> Publishing:
        """On the node on which an endpoint is: its answers leave by the gateway that is there."""
        modes = {4: network.options.gateway_mode.ipv4, 6: network.options.gateway_mode.ipv6}
        behind = {
            endpoint.name: bridge_name(network, min(_segment_of(endpoint, network.subnets), default=0))
            for endpoint in network.local
        }
        return Publishing(behind, modes)

    # -- what is wrong -------------------------------------------------------------------------------------

    def check(self, network: NetworkView, topology: Topology) -> Iterable[Problem]:
        options: OverlayOptions = network.options
        members = self._members(network)
        version = options.version(members.values())
        for name in sorted({endpoint.sandbox.node for endpoint in network.endpoints}):
            node = members.get(name)
            if node is None or vtep(node, version) is None:
                yield Problem(
                    network.origin if node is None else node.origin,
                    f"network {network.name} reaches over to node {name}, which has no IPv{version} address",
                    f"add one to spec.addresses of Node {name}",
                )
        yield from self._check_endpoints(network)
        yield from self._check_numbers(network, topology)
        yield from self._check_control(network, topology, members)
        yield from self._check_mtu(network, topology.facts, members, version)
        for family, mode in ((4, options.gateway_mode.ipv4), (6, options.gateway_mode.ipv6)):
            if mode == "isolated" and not network.internal:
                yield Problem(
                    network.at("spec", "options", "gatewayMode", f"ipv{family}"),
                    f"network {network.name}: gateway mode isolated (IPv{family}) is for internal networks",
                    "write spec.internal: true as well",
                )

    @staticmethod
    def _members(network: NetworkView) -> Mapping[str, NodeView]:
        """The nodes that have endpoints of a network, by name."""
        wanted = {endpoint.sandbox.node for endpoint in network.endpoints}
        return {node.name: node for node in network.nodes if node.name in wanted}

    @staticmethod
    def _check_endpoints(network: NetworkView) -> Iterable[Problem]:
        several = any(subnet.segment for subnet in network.subnets)
        for endpoint in network.endpoints if several else ():
            if len(_segment_of(endpoint, network.subnets)) > 1:
                yield Problem(
                    endpoint.origin,
                    f"endpoint {endpoint.name} has addresses of several link layers: the n-th IPv4 and the n-th IPv6 "
                    f"subnet of network {network.name} are one",
                    "give it addresses of two subnets that belong together",
                )
        for endpoint in network.local:
            if any(str(address) == IPV6_LINK_LOCAL for address in endpoint.link_local):
                yield Problem(
                    endpoint.origin,
                    f"endpoint {endpoint.name}: {IPV6_LINK_LOCAL} is the gateway's own link-local address",
                    "choose another one",
                )
        if len(network.local) >= MAX_PORTS and not several:
            yield Problem(
                network.origin,
                f"network {network.name} has {len(network.local):,} endpoints on this node; a Linux bridge has "
                f"{MAX_PORTS:,} ports, one of which is the tunnel's",
                "spread them over several networks or nodes",
            )

    def _check_numbers(self, network: NetworkView, topology: Topology) -> Iterable[Problem]:
        options: OverlayOptions = network.options
        count = len(segments(network))
        if len(options.vnis) > count:
            yield Problem(
                network.at("spec", "options", "vnis", count),
                f"network {network.name} has {len(options.vnis)} VNIs for {count} link layers (the n-th IPv4 and the "
                "n-th IPv6 subnet are one)",
                "leave out those that are too many",
            )
        if len(set(network.vnis)) < len(network.vnis):
            at = network.at("spec", "options", "vnis")
            yield Problem(at, f"network {network.name} has one VNI twice", "give each link layer its own")
        for other in topology.networks:
            if other.driver != self.name or other.name >= network.name:
                continue
            if other.options.udp_port == options.udp_port and other.options.encryption != options.encryption:
                yield Problem(
                    network.at("spec", "options", "encryption"),
                    f"networks {other.name} and {network.name} share UDP port {options.udp_port}, which is encrypted "
                    "with the same keys for all or for none",
                    "give them the same encryption, or write another options.port",
                )
            for vni in sorted(set(network.vnis).intersection(other.vnis)):
                at = network.at("spec", "options", "vnis")
                yield Problem(at, f"networks {other.name} and {network.name} have the same VNI {vni}", "change one")

    def _check_control(
        self, network: NetworkView, topology: Topology, members: Mapping[str, NodeView]
    ) -> Iterable[Problem]:
        options: OverlayOptions = network.options
        at = network.at("spec", "options", "control")
        for other in topology.networks:
            if other.driver != self.name or other.name >= network.name:
                continue
            if other.options.control != options.control:
                yield Problem(
                    at,
                    f"networks {other.name} and {network.name} have different control planes; FRR speaks for all VNIs of a "
                    "node",
                    "write the same options.control in both",
                )
            elif options.control == "evpn" and _spoken(other) != _spoken(network):
                yield Problem(
                    at,
                    f"networks {other.name} and {network.name} share FRR and so their underlay and options.flood",
                    "write the same in both",
                )
        if options.control != "evpn":
            return
        version, asns = _spoken(network)[0], {node.bgp.asn for node in network.nodes if node.bgp is not None}
        for node in members.values():
            if node.bgp is None:
                words = f"network {network.name} is told of by BGP, which node {node.name} does not speak"
                yield Problem(node.origin, words, "add spec.bgp: {}")
            elif node.bgp.asn != min(asns):
                words = f"node {node.name} is in AS {node.bgp.asn}, others in {min(asns)}"
                yield Problem(node.origin, words, "write the same spec.bgp.asn on all nodes")
        for node in network.nodes:
            if node.bgp is not None and vtep(node, version) is None:
                words = f"node {node.name} speaks BGP and has no IPv{version} address"
                yield Problem(node.origin, words, "add one to spec.addresses")

    @staticmethod
    def _check_mtu(
        network: NetworkView, facts: NodeFacts, members: Mapping[str, NodeView], version: int
    ) -> Iterable[Problem]:
        here = members.get(network.local[0].sandbox.node) if network.local else None
        if here is None or not facts.links:
            return
        underlay = underlay_mtu(facts, vtep(here, version))
        fits = network.options.room(underlay, version)
        if network.mtu > fits:
            yield Problem(
                network.at("spec", "mtu"),
                f"network {network.name} has MTU {network.mtu}, which with {underlay - fits} bytes of tunnel headers "
                f"does not fit into the underlay's {underlay}",
                f"write at most {fits}, or raise the underlay's MTU on all nodes",
            )

    # -- what there shall be -------------------------------------------------------------------------------

    def render(self, network: NetworkView, node: NodeFacts) -> Iterable[Resource]:
        if not network.local:  # nobody here to reach anybody
            return
        origin = replace(network.origin, driver=self.name)
        members = self._members(network)
        version = network.options.version(members.values())
        places = {name: vtep(member, version) or "" for name, member in members.items()}
        here = places.pop(network.local[0].sandbox.node)
        parts = segments(network)
        yield from self._encryption(network, here, places.values(), node, origin)
        if network.options.control == "evpn":
            yield _frr(network, node.owner, origin)
        if network.allow_from or not network.internal or len(parts) > 1:
            yield from render_forwarding(node, origin, ipv4=network.ipv4, ipv6=network.ipv6)
        for part in parts:
            yield from self._segment(network, part, here, places.values(), origin)
            yield from Firewall(node.owner, origin).render(self._zone(network, part, parts, origin))
        by_number = {part.number: part for part in parts}
        seen: set[tuple[int, str]] = set()
        for endpoint in network.endpoints:
            number = min(_segment_of(endpoint, network.subnets), default=0) if len(parts) > 1 else parts[0].number
            part = by_number[number]
            if endpoint.local:
                yield from self._endpoint(network, endpoint, part)
                continue
            if network.options.control == "evpn":
                continue  # the other node tells of it
            place = places[endpoint.sandbox.node]
            yield from self._remote(endpoint, part, place)
            if network.options.flood and (number, place) not in seen:
                seen.add((number, place))
                key = fdb_key("", part.tunnel, EVERY, place)
                yield Fdb(key=key, origin=origin, dev=part.tunnel, mac=EVERY, dst=place)

    @staticmethod
    def _encryption(
        network: NetworkView, here: str, peers: Iterable[str], node: NodeFacts, origin: Origin
    ) -> Iterable[Resource]:
        options: OverlayOptions = network.options
        if options.encryption is None:
            return
        at = replace(network.at("spec", "options", "encryption"), driver=origin.driver)
        yield from render_guard(node.owner, here, options.udp_port, options.encryption, at)
        for peer in sorted(peers):
            yield from render_pair(here, peer, options.udp_port, options.encryption, at)

    def _segment(
        self, network: NetworkView, part: Segment, here: str, peers: Iterable[str], origin: Origin
    ) -> Iterable[Resource]:
        options: OverlayOptions = network.options
        keys, port = options.encryption, options.udp_port
        ipv6 = any(subnet.cidr.version == 6 for subnet in part.subnets)
        yield Link(
            key=link_key("", part.bridge),
            origin=origin,
            type="bridge",
            up=True,
            mtu=network.mtu,
            mac=mac_of("overlay-gateway", network.name, str(part.number)),
            addr_gen="none",
            first=(secret_key(keys.key_file, keys.primary),) if keys is not None else None,
            info=Bridge(nf_call_iptables=True, nf_call_ip6tables=True) if network.filtered else None,
        )
        yield Link(
            key=link_key("", part.tunnel),
            origin=origin,
            type="vxlan",
            up=True,
            mtu=network.mtu,
            master=part.bridge,
            addr_gen="none",
            info=Vxlan(vni=part.vni, local=here, port=port, learning=False),
            port=BridgePort(learning=False, neigh_suppress=True),
            first=policies(here, peers, port) if keys is not None else None,
        )
        item, value = ("accept_ra", "0") if ipv6 else ("disable_ipv6", "1")
        key = sysctl_key("", f"net/ipv6/conf/{part.bridge}/{item}")
        yield Sysctl(key=key, origin=origin, value=value, dev=part.bridge)
        if any(subnet.gateway is not None for subnet in part.subnets if subnet.cidr.version == 6):
            yield plug_address("", part.bridge, IPV6_LINK_LOCAL, origin)
        for subnet in part.subnets:
            if subnet.gateway is not None:
                at = replace(subnet.origin, driver=self.name)
                yield plug_address("", part.bridge, f"{subnet.gateway}/{subnet.cidr.prefixlen}", at)

    def _zone(self, network: NetworkView, part: Segment, parts: Iterable[Segment], origin: Origin) -> Zone:
        options: OverlayOptions = network.options
        modes: dict[int, str] = {4: options.gateway_mode.ipv4, 6: options.gateway_mode.ipv6}
        siblings = tuple(other.bridge for other in parts if other is not part)
        return Zone(
            network=network.name if part.number == 0 else f"{network.name}.{part.number}",
            interface=part.bridge,
            origin=origin,
            inter_container=True,
            allow_from=siblings + let_in(network),
            trusted=(),
            internal=network.internal,
            outside={v: "accept" if mode == "nat-unprotected" else "drop" for v, mode in modes.items()},
            nat=tuple(
                (subnet.cidr.version, str(subnet.cidr), None)
                for subnet in part.subnets
                if modes[subnet.cidr.version] in ("nat", "nat-unprotected") and not network.internal
            ),
            published=published_chains(network, self.publishing(network)),
        )

    def _endpoint(self, network: NetworkView, endpoint: EndpointView, part: Segment) -> Iterable[Resource]:
        """Nothing is learned at its port either: a MAC address that somebody else has cannot be taken over."""
        origin = replace(endpoint.origin, driver=self.name)
        name = self.host_port(network, endpoint)
        yield from render_cable(
            endpoint,
            origin,
            name=name,
            master=part.bridge,
            port=BridgePort(isolated=False, hairpin=bool(endpoint.publish), learning=False),
            ipv6=any(subnet.cidr.version == 6 for subnet in part.subnets),
        )
        key = fdb_key("", name, endpoint.mac)
        yield Fdb(key=key, origin=origin, dev=name, mac=endpoint.mac, bridge=part.bridge)
        if network.options.control == "evpn":
            yield from self._neighbours(endpoint, part, origin)
        yield from self._siblings(network, endpoint, part, origin)

    @staticmethod
    def _siblings(network: NetworkView, endpoint: EndpointView, part: Segment, origin: Origin) -> Iterable[Resource]:
        """The network's other segments are behind the gateway, wherever the sandbox's default route goes."""
        hops = {subnet.cidr.version: subnet.gateway for subnet in part.subnets}
        written = {(route.to, route.metric) for route in endpoint.routes}
        for subnet in network.subnets:
            hop = hops.get(subnet.cidr.version)
            if subnet.segment != part.number and hop is not None and (subnet.cidr, 0) not in written:
                to = str(subnet.cidr)
                key = route_key(endpoint.sandbox.netns, to)
                yield Route(key=key, origin=origin, to=to, dev=endpoint.interface, via=str(hop))

    def _remote(self, endpoint: EndpointView, part: Segment, place: str) -> Iterable[Resource]:
        """Where an endpoint of another node is, and what answers for it here."""
        origin = replace(endpoint.origin, driver=self.name)
        mac = endpoint.mac
        key = fdb_key("", part.tunnel, mac)
        yield Fdb(key=key, origin=origin, dev=part.tunnel, mac=mac, dst=place, bridge=part.bridge)
        yield from self._neighbours(endpoint, part, origin)

    @staticmethod
    def _neighbours(endpoint: EndpointView, part: Segment, origin: Origin) -> Iterable[Resource]:
        """What the bridge answers with when it is asked for an endpoint, and what FRR tells others of."""
        for address in (*endpoint.addresses, *endpoint.link_local):
            ip = str(address.ip)
            key = neighbour_key("", part.bridge, ip)
            yield Neighbour(key=key, origin=origin, dev=part.bridge, address=ip, mac=endpoint.mac)


def _spoken(network: NetworkView) -> tuple[int, bool]:
    """What FRR has to know of a network: the IP version between the speakers, and whether frames are flooded."""
    options: OverlayOptions = network.options
    return options.version([node for node in network.nodes if node.bgp is not None]), options.flood


def _frr(network: NetworkView, owner: str, origin: Origin) -> Resource:
    """The configuration of this node's speaker: the same for every network that asks for it."""
    version, flood = _spoken(network)
    name = network.local[0].sandbox.node
    speakers = [node for node in network.nodes if node.bgp is not None]
    here = next(node for node in speakers if node.name == name)
    text = frr.evpn(owner, here, [node for node in speakers if node is not here], version, flood=flood)
    speaker = frr.speaker_of(here)
    key = file_key(speaker.config_file)
    return ConfigFile(key=key, origin=origin, content=text, daemon="frr", sockets=speaker.sockets, loaded=True)


DRIVER = OverlayDriver()
