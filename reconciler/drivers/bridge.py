"""Driver bridge: a Linux bridge a network, a veth pair an endpoint, NAT to the outside."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Annotated, ClassVar, Literal

from msgspec.structs import replace
from pydantic import Field

from reconciler.drivers.cable import cable_name, render_cable
from reconciler.drivers.driver import Publishing, SwitchPort
from reconciler.drivers.firewall import Firewall, Zone, let_in, published_chains
from reconciler.drivers.forwarding import render_forwarding
from reconciler.drivers.plug import plug_address
from reconciler.errors import Origin, Problem
from reconciler.manifest.model import Model, once
from reconciler.manifest.types import InterfaceName, IPAddress, Mac
from reconciler.resources.link import BridgePort, Link, link_key
from reconciler.resources.linkinfo.bridge import Bridge
from reconciler.resources.resource import Resource
from reconciler.resources.sysctl import Sysctl, sysctl_key
from reconciler.topology.derive import mac_of, short_name
from reconciler.topology.options import EndpointOptions, Gateway, NetworkOptions
from reconciler.topology.view import EndpointView, NetworkView, NodeFacts, Topology

MAX_PORTS = 1023  # net/bridge/br_private.h: BR_PORT_BITS 10, port 0 is not used
IPV6_LINK_LOCAL = "fe80::1/64"  # the bridge's own, as Docker gives it

# What is a property of the bridge itself, and so not ours to set on somebody else's.
_OWN = frozenset(
    (
        *("mac", "stp", "priority", "forward_delay", "hello_time", "max_age", "ageing_time", "group_fwd_mask"),
        *("multicast_snooping", "multicast_querier", "tx_queue_length"),
    )
)

Mode = Literal["nat", "nat-unprotected", "routed", "isolated"]


class GatewayMode(Model):
    """How each family leaves the network, and who may come in."""

    ipv4: Mode = Field(
        default="nat",
        description="nat: out under the host's address, nobody in; nat-unprotected: anybody in; "
        "routed: no NAT, nobody in; isolated: the host itself has no address here (internal networks only).",
    )
    ipv6: Mode = Field(default="nat", description="The same for IPv6.")


class Snat(Model):
    """Fixed source addresses."""

    ipv4: IPAddress | None = Field(
        default=None, description="IPv4 source address of what leaves, one that the host has."
    )
    ipv6: IPAddress | None = Field(
        default=None, description="IPv6 source address of what leaves, one that the host has."
    )


class HostAddresses(Model):
    """Where ports are published."""

    ipv4: IPAddress | None = Field(default=None, description="An IPv4 address of the host.")
    ipv6: IPAddress | None = Field(default=None, description="An IPv6 address of the host.")


class BridgeOptions(NetworkOptions):
    """Options of driver bridge."""

    bridge: InterfaceName | None = Field(
        default=None, description="Name of the bridge. Default: br-NETWORK, shortened where needed."
    )
    existing: bool = Field(
        default=False,
        description="True: use a bridge that somebody else made, as it is; it is never changed "
        "or removed, and its addresses are its owner's business.",
    )
    masquerade: bool = Field(
        default=True, description="Gateway mode nat: traffic that leaves takes the host's address."
    )
    snat: Snat = Field(default_factory=once(Snat), description="Fixed source addresses instead of masquerading.")
    gateway_mode: GatewayMode = Field(
        default_factory=once(GatewayMode), description="How each family leaves the network, and who may come in."
    )
    host_addresses: HostAddresses = Field(
        default_factory=once(HostAddresses),
        description="Addresses of the host for published ports that name none. Default: all.",
    )
    inter_container: bool = Field(default=True, description="False: endpoints of this network cannot reach each other.")
    trusted_interfaces: list[InterfaceName] = Field(
        default=[],
        description="Interfaces of the host from which connections to endpoints are let in, whatever the gateway mode.",
    )
    hairpin: bool = Field(default=False, description="Frames may leave through the port that they came in by.")
    mac: Mac | None = Field(default=None, description="MAC address of the bridge. Default: derived from its name.")
    stp: bool | None = Field(default=None, description="Spanning tree protocol. Default: the kernel's (off).")
    priority: Annotated[int, Field(ge=0, le=65535)] | None = Field(default=None, description="Spanning tree priority.")
    forward_delay: Annotated[int, Field(ge=2, le=30)] | None = Field(
        default=None, description="Spanning tree forward delay in seconds."
    )
    hello_time: Annotated[int, Field(ge=1, le=10)] | None = Field(
        default=None, description="Spanning tree hello time in seconds."
    )
    max_age: Annotated[int, Field(ge=6, le=40)] | None = Field(
        default=None, description="Spanning tree maximum message age in seconds."
    )
    ageing_time: Annotated[int, Field(ge=0, le=1000000)] | None = Field(
        default=None, description="Seconds after which a learned MAC address is forgotten; 0 never learns."
    )
    group_fwd_mask: Annotated[int, Field(ge=0, le=65535)] | None = Field(
        default=None, description="Bit mask of link-local multicast groups to forward (bits 0 to 2 cannot be set)."
    )
    multicast_snooping: bool | None = Field(
        default=None, description="IGMP and MLD snooping. Default: the kernel's (on)."
    )
    multicast_querier: bool | None = Field(default=None, description="The bridge itself asks for group memberships.")
    tx_queue_length: Annotated[int, Field(ge=0, le=1000000)] | None = Field(
        default=None, description="Transmit queue length in packets."
    )

    def gateway(self, version: int) -> Gateway:
        mode = self.gateway_mode.ipv4 if version == 4 else self.gateway_mode.ipv6
        return "never" if mode == "isolated" else "first"

    def shares(self) -> frozenset[str]:
        return frozenset({self.bridge}) if self.existing and self.bridge is not None else frozenset()


def bridge_name(network: NetworkView) -> str:
    """The interface of a network."""
    options: BridgeOptions = network.options
    if options.bridge is not None:
        return options.bridge
    name = f"br-{network.name}"
    return name if len(name) <= 15 else short_name("br-", "bridge", network.name)


class BridgeDriver:
    """One bridge a network."""

    name: ClassVar[str] = "bridge"
    summary: ClassVar[str] = "a Linux bridge a network, a veth pair an endpoint, NAT to the outside"
    capabilities: ClassVar[frozenset[str]] = frozenset({"link:bridge", "link:veth", "nft"})
    Options: ClassVar[type[NetworkOptions]] = BridgeOptions
    EndpointOptions: ClassVar[type[EndpointOptions]] = EndpointOptions

    def requires(self, network: NetworkView) -> frozenset[str]:
        return self.capabilities

    def host_interface(self, network: NetworkView) -> str | None:
        return bridge_name(network)

    def host_port(self, network: NetworkView, endpoint: EndpointView) -> str:
        return cable_name(network, endpoint)

    def switch_port(
        self, network: NetworkView, interface: str, node: NodeFacts, origin: Origin, trunk: tuple[int, ...]
    ) -> SwitchPort:
        options: BridgeOptions = network.options
        port = BridgePort(isolated=not options.inter_container, hairpin=options.hairpin)
        return SwitchPort(bridge_name(network), port)

    def publishing(self, network: NetworkView) -> Publishing:
        options: BridgeOptions = network.options
        modes = {4: options.gateway_mode.ipv4, 6: options.gateway_mode.ipv6}
        own = (options.host_addresses.ipv4, options.host_addresses.ipv6)
        behind = {endpoint.name: bridge_name(network) for endpoint in network.local}
        return Publishing(behind, modes, tuple(address for address in own if address is not None))

    def check(self, network: NetworkView, topology: Topology) -> Iterable[Problem]:
        options: BridgeOptions = network.options
        at = partial(network.at, "spec", "options")
        if options.existing and options.bridge is None:
            yield Problem(
                at("existing"), f"network {network.name}: which existing bridge?", "write options.bridge: NAME"
            )
        if options.existing and network.filtered and network.local:
            yield Problem(
                network.origin,
                f"network {network.name}: policies are about its endpoints, and an existing bridge is used as it is: "
                "frames between its ports would not pass them",
                "let cnm make the bridge, or select other endpoints",
            )
        if options.existing:
            for name in sorted(options.model_fields_set & _OWN):
                alias = BridgeOptions.model_fields[name].alias or name
                yield Problem(
                    at(alias),
                    f"network {network.name}: an existing bridge is used as it is, {alias} cannot be set on it",
                    f"leave options.{alias} out",
                )
        local = network.local
        for endpoint in local:
            if endpoint.link_local and any(str(address) == IPV6_LINK_LOCAL for address in endpoint.link_local):
                yield Problem(
                    endpoint.at("spec", "linkLocal"),
                    f"endpoint {endpoint.name}: {IPV6_LINK_LOCAL} is the bridge's own link-local address",
                    "choose another one",
                )
        if len(local) > MAX_PORTS:
            yield Problem(
                network.origin,
                f"network {network.name} has {len(local):,} endpoints on this node; a Linux bridge has {MAX_PORTS:,} ports",
                "spread them over several networks or nodes",
            )
        for version, mode in ((4, options.gateway_mode.ipv4), (6, options.gateway_mode.ipv6)):
            if mode == "isolated" and not network.internal:
                yield Problem(
                    at("gatewayMode", f"ipv{version}"),
                    f"network {network.name}: gateway mode isolated (IPv{version}) is for internal networks",
                    "write spec.internal: true as well",
                )
        pairs = (("snat", options.snat), ("hostAddresses", options.host_addresses))
        for name, version, address in (
            (name, version, address) for name, pair in pairs for version, address in ((4, pair.ipv4), (6, pair.ipv6))
        ):
            if address is not None and address.version != version:
                yield Problem(
                    at(name, f"ipv{version}"),
                    f"network {network.name}: {name}.ipv{version} is {address}",
                    f"write an IPv{version} address",
                )
        if options.group_fwd_mask is not None and options.group_fwd_mask & 7:
            yield Problem(
                at("groupFwdMask"),
                f"network {network.name}: groupFwdMask {options.group_fwd_mask} has one of bits 0 to 2",
                "the kernel refuses those (IEEE 802.1D keeps them): clear them",
            )
        name = bridge_name(network)
        for other in topology.networks:
            if other.driver == self.name and other.name < network.name and bridge_name(other) == name:
                yield Problem(
                    at("bridge"),
                    f"networks {other.name} and {network.name} have the same bridge, {name}",
                    "write options.bridge with another name in one of them",
                )

    def render(self, network: NetworkView, node: NodeFacts) -> Iterable[Resource]:
        origin = replace(network.origin, driver=self.name)
        yield from self._bridge(network, origin)
        if network.allow_from or not network.internal:
            yield from render_forwarding(node, origin, ipv4=network.ipv4, ipv6=network.ipv6)
        yield from Firewall(node.owner, origin).render(self._zone(network, origin))
        for endpoint in network.local:
            yield from self._endpoint(network, endpoint)

    # -- the network ---------------------------------------------------------------------------------------

    def _bridge(self, network: NetworkView, origin: Origin) -> Iterable[Resource]:
        options: BridgeOptions = network.options
        name = bridge_name(network)
        if options.existing:
            yield Link(key=link_key("", name), origin=origin, type="bridge", existing=True)
        else:
            yield Link(
                key=link_key("", name),
                origin=origin,
                type="bridge",
                up=True,
                mtu=network.mtu,
                mac=options.mac or mac_of("bridge", name),
                addr_gen="none",
                txqlen=options.tx_queue_length,
                info=_bridge_spec(options, filtered=network.filtered),
            )
            for path, value in self._interface_sysctls(network):
                key = sysctl_key("", path.replace("IFNAME", name))
                yield Sysctl(key=key, origin=origin, value=value, dev=name)
            if network.ipv6 and any(s.gateway is not None for s in network.subnets if s.cidr.version == 6):
                yield plug_address("", name, IPV6_LINK_LOCAL, origin)
            for subnet in network.subnets:
                if subnet.gateway is not None:
                    at = replace(subnet.origin, driver=self.name)
                    yield plug_address("", name, f"{subnet.gateway}/{subnet.cidr.prefixlen}", at)

    @staticmethod
    def _interface_sysctls(network: NetworkView) -> Iterable[tuple[str, str]]:
        if network.ipv6:
            yield "net/ipv6/conf/IFNAME/accept_ra", "0"
        else:
            yield "net/ipv6/conf/IFNAME/disable_ipv6", "1"

    def _zone(self, network: NetworkView, origin: Origin) -> Zone:
        options: BridgeOptions = network.options
        modes: dict[int, str] = {4: options.gateway_mode.ipv4, 6: options.gateway_mode.ipv6}
        fixed = {4: options.snat.ipv4, 6: options.snat.ipv6}
        nat = tuple(
            (version, str(subnet.cidr), str(fixed[version]) if fixed[version] is not None else None)
            for subnet in network.subnets
            if modes[version := subnet.cidr.version] in ("nat", "nat-unprotected")
            and (options.masquerade or fixed[version] is not None)
            and not network.internal
        )
        return Zone(
            network=network.name,
            interface=bridge_name(network),
            origin=origin,
            inter_container=options.inter_container,
            allow_from=let_in(network),
            trusted=tuple(options.trusted_interfaces),
            internal=network.internal,
            outside={v: "accept" if mode == "nat-unprotected" else "drop" for v, mode in modes.items()},
            nat=nat,
            published=published_chains(network, self.publishing(network)),
        )

    # -- its endpoints -------------------------------------------------------------------------------------

    def _endpoint(self, network: NetworkView, endpoint: EndpointView) -> Iterable[Resource]:
        options: BridgeOptions = network.options
        port = BridgePort(
            isolated=not options.inter_container,
            # Where bridged frames pass the IP hooks, what a sandbox sends to its own published port is translated
            # in the bridge, and leaves by the port that it came in by.
            hairpin=options.hairpin or bool(endpoint.publish),
        )
        yield from render_cable(
            endpoint,
            replace(endpoint.origin, driver=self.name),
            name=self.host_port(network, endpoint),
            master=bridge_name(network),
            port=port,
            ipv6=network.ipv6,
        )


def _bridge_spec(options: BridgeOptions, *, filtered: bool) -> Bridge | None:
    """What the manifest names; times in centiseconds as the kernel keeps them. Where policies are about its endpoints,
    frames between two ports pass the IP hooks as well, whatever the host's net.bridge.bridge-nf-call-* say."""
    spec = Bridge(
        stp=options.stp,
        priority=options.priority,
        forward_delay=_centiseconds(options.forward_delay),
        hello_time=_centiseconds(options.hello_time),
        max_age=_centiseconds(options.max_age),
        ageing_time=_centiseconds(options.ageing_time),
        group_fwd_mask=options.group_fwd_mask,
        mcast_snooping=options.multicast_snooping,
        mcast_querier=options.multicast_querier,
        nf_call_iptables=filtered or None,
        nf_call_ip6tables=filtered or None,
    )
    return spec if spec != Bridge() else None


def _centiseconds(seconds: int | None) -> int | None:
    return None if seconds is None else seconds * 100


DRIVER = BridgeDriver()
