"""Driver vlan: a VLAN of a bridge that filters by VLANs, a veth pair an endpoint, trunks into sandboxes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar

from msgspec.structs import replace
from pydantic import Field

from reconciler.drivers.cable import cable_name, render_cable
from reconciler.drivers.driver import SwitchPort
from reconciler.drivers.parent import MAX_VLAN, VlanProtocol
from reconciler.errors import Origin, Problem
from reconciler.manifest.types import InterfaceName
from reconciler.resources.bridgevlan import BridgeVlan, bridge_vlan_key
from reconciler.resources.link import BridgePort, Link, link_key
from reconciler.resources.linkinfo.bridge import Bridge
from reconciler.resources.resource import Resource
from reconciler.resources.sysctl import Sysctl, sysctl_key
from reconciler.topology.derive import mac_of
from reconciler.topology.options import EndpointOptions, Gateway, NetworkOptions
from reconciler.topology.view import EndpointView, NetworkView, NodeFacts, Topology

VlanId = Annotated[int, Field(ge=1, le=MAX_VLAN)]


class VlanOptions(NetworkOptions):
    """Options of driver vlan."""

    id: VlanId = Field(description="VLAN ID, unique on its bridge.")
    bridge: InterfaceName = Field(
        default="br-vlan", description="The bridge. Networks that name the same one are its VLANs."
    )
    existing: bool = Field(
        default=False,
        description="True: a bridge that somebody else made, with VLAN filtering on, used as it is: its ports carry the "
        "VLANs to the outside.",
    )
    protocol: VlanProtocol = Field(default="802.1Q", description="Protocol of the bridge's tags, one for all of it.")
    isolated: bool = Field(
        default=False, description="True: endpoints of this network reach the bridge's other ports, not each other."
    )

    def gateway(self, version: int) -> Gateway:
        return "written"

    def shares(self) -> frozenset[str]:
        return frozenset({self.bridge}) if self.existing else frozenset()


class VlanEndpointOptions(EndpointOptions):
    """Options of an endpoint on a network of driver vlan."""

    trunk: list[VlanId] = Field(
        default=[],
        description="VLANs of the same bridge that the sandbox gets as well, each with its tag; its network's own VLAN comes without.",
    )


class VlanDriver:
    """One VLAN of a bridge a network."""

    name: ClassVar[str] = "vlan"
    summary: ClassVar[str] = "a VLAN of a bridge that filters by VLANs, and trunks into sandboxes"
    capabilities: ClassVar[frozenset[str]] = frozenset({"link:bridge", "link:veth", "bridge-vlan"})
    Options: ClassVar[type[NetworkOptions]] = VlanOptions
    EndpointOptions: ClassVar[type[EndpointOptions]] = VlanEndpointOptions

    def requires(self, network: NetworkView) -> frozenset[str]:
        return self.capabilities if network.local else frozenset()

    def vlans(self, network: NetworkView) -> frozenset[int]:
        """With which tags its endpoints' frames leave the host."""
        options: VlanOptions = network.options
        return frozenset({options.id})

    def host_interface(self, network: NetworkView) -> str | None:
        return None  # the host has no address in a VLAN of the bridge

    def host_port(self, network: NetworkView, endpoint: EndpointView) -> str | None:
        """Not a trunk's: what comes in there are frames of other networks, whose addresses the bridge cannot know."""
        return None if endpoint.options.trunk else cable_name(network, endpoint)

    def switch_port(
        self, network: NetworkView, interface: str, node: NodeFacts, origin: Origin, trunk: tuple[int, ...]
    ) -> SwitchPort:
        options: VlanOptions = network.options
        vlans = [_vlan(interface, options.id, origin, own=True)]
        vlans += [_vlan(interface, vid, origin, own=False) for vid in trunk]
        return SwitchPort(options.bridge, BridgePort(isolated=options.isolated), (*self._bridge(network), *vlans))

    def check(self, network: NetworkView, topology: Topology) -> Iterable[Problem]:
        options: VlanOptions = network.options
        if network.allow_from and not topology.fabric_of(network.name):
            yield Problem(
                network.at("spec", "allowFrom"),
                f"network {network.name}: driver {self.name} has no filter on the host that could let others in",
                "leave allowFrom out, and let the VLAN's router decide",
            )
        for endpoint in network.endpoints:
            if options.id in endpoint.options.trunk:
                yield Problem(
                    endpoint.at("spec", "options", "trunk"),
                    f"endpoint {endpoint.name}: VLAN {options.id} is its network's own, and comes without a tag",
                    "leave it out of trunk",
                )
        for other in topology.networks:
            theirs = getattr(other.options, "bridge", None)
            if other.name >= network.name or theirs != options.bridge:
                continue
            at = network.at("spec", "options", "bridge")
            who = f"networks {other.name} and {network.name} are both on bridge {options.bridge}"
            if not isinstance(other.options, VlanOptions):
                if options.existing and getattr(other.options, "existing", False):
                    continue  # somebody else's bridge: both only add ports
                yield Problem(at, f"{who}, but driver {other.driver} wants it for itself", "name another bridge")
                continue
            for name in ("existing", "protocol"):
                if getattr(other.options, name) != getattr(options, name):
                    yield Problem(
                        network.at("spec", "options", name),
                        f"{who}, but do not agree on {name}",
                        "let both say the same, or name another bridge",
                    )
            if other.options.id == options.id:
                yield Problem(
                    network.at("spec", "options", "id"),
                    f"{who} and VLAN {options.id}",
                    "give one another id, or make them one network with two subnets",
                )

    def render(self, network: NetworkView, node: NodeFacts) -> Iterable[Resource]:
        if not network.local:
            return
        yield from self._bridge(network)
        for endpoint in network.local:
            yield from self._endpoint(network, endpoint)

    def _bridge(self, network: NetworkView) -> Iterable[Resource]:
        options: VlanOptions = network.options
        origin = replace(network.origin, driver=self.name)
        bridge = link_key("", options.bridge)
        if options.existing:
            yield Link(key=bridge, origin=origin, type="bridge", existing=True)
        else:
            yield Link(
                key=bridge,
                origin=origin,
                type="bridge",
                up=True,
                mac=mac_of("bridge", options.bridge),
                addr_gen="none",
                info=Bridge(vlan_filtering=True, vlan_protocol=options.protocol, vlan_default_pvid=0),
            )
            key = sysctl_key("", f"net/ipv6/conf/{options.bridge}/disable_ipv6")
            yield Sysctl(key=key, origin=origin, value="1", dev=options.bridge)

    def _endpoint(self, network: NetworkView, endpoint: EndpointView) -> Iterable[Resource]:
        options: VlanOptions = network.options
        origin = replace(endpoint.origin, driver=self.name)
        port = cable_name(network, endpoint)
        yield from render_cable(
            endpoint,
            origin,
            name=port,
            master=options.bridge,
            port=BridgePort(isolated=options.isolated),
            ipv6=network.ipv6,
        )
        yield _vlan(port, options.id, origin, own=True)
        for vid in sorted(set(endpoint.options.trunk)):
            yield _vlan(port, vid, origin, own=False)


def _vlan(port: str, vid: int, origin: Origin, *, own: bool) -> BridgeVlan:
    return BridgeVlan(key=bridge_vlan_key("", port, vid), origin=origin, dev=port, vid=vid, pvid=own, untagged=own)


DRIVER = VlanDriver()
