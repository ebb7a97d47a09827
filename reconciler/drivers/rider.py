"""What macvlan, macvtap, ipvlan and ipvtap have in common: every endpoint is an interface that rides on one of the host."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, ClassVar

from msgspec.structs import replace
from pydantic import Field

from reconciler.drivers.parent import MAX_VLAN, Parent, VlanProtocol, host_link, parent_of
from reconciler.drivers.plug import render_plug
from reconciler.drivers.shim import Shim, check_shim, render_shim
from reconciler.errors import Origin, Problem
from reconciler.manifest.types import InterfaceName
from reconciler.resources.link import Link, link_key
from reconciler.resources.linkinfo.info import LinkInfo
from reconciler.resources.resource import Resource
from reconciler.topology.options import DEFAULT_MTU, EndpointOptions, Gateway, NetworkOptions
from reconciler.topology.view import EndpointView, HostLink, NetworkView, NodeFacts, NodeView, SubnetView, Topology

FAMILIES = {"macvlan": "macvlan", "macvtap": "macvlan", "ipvlan": "ipvlan", "ipvtap": "ipvlan"}


class RiderOptions(NetworkOptions):
    """Options of every driver whose endpoints ride on an interface of the host."""

    parent: InterfaceName | None = Field(
        default=None,
        description="The host's interface that endpoints ride on. eth0.10 is made as a VLAN sub-interface of eth0 where "
        "the host has none of that name, and removed with its last user. Default: a dummy interface, so that "
        "endpoints on one node reach each other and nothing else.",
    )
    vlan: Annotated[int, Field(ge=1, le=MAX_VLAN)] | None = Field(
        default=None, description="VLAN ID of a sub-interface of the parent to ride on; the same as PARENT.ID."
    )
    vlan_protocol: VlanProtocol = Field(
        default="802.1Q",
        description="Protocol of the outermost tag of a sub-interface that is made; tags inside it are 802.1Q.",
    )

    shim: Shim | None = Field(
        default=None,
        description="An interface of ours on the host beside the endpoints: without it the host cannot reach those that "
        "ride on its own interface, nor they the host.",
    )
    family: ClassVar[str] = ""  # those of one family can share a parent

    def shared(self) -> dict[str, Any]:
        """Options that all networks on one parent must agree on, by name; None agrees with everything."""
        return {}

    def exclusive(self) -> str:
        """Not empty: the option by which an endpoint wants its parent for itself."""
        return ""

    def on(self, network: str, facts: NodeFacts) -> Parent:
        """What endpoints ride on, on this host."""
        return parent_of(self.parent, network, self.vlan, self.vlan_protocol, facts)

    def gateway(self, version: int) -> Gateway:
        return "written"

    def default_mtu(self, facts: NodeFacts, node: NodeView | None, subnets: Sequence[SubnetView]) -> int:
        """The parent's."""
        found = host_link(facts, self.on("", facts).base)
        return found.mtu if found is not None else DEFAULT_MTU

    def apart(self) -> str:
        """Not empty: the option by which endpoints on one parent do not reach each other, nor a shim."""
        return ""

    def reserved(self) -> Iterable[IPv4Address | IPv6Address]:
        return self.shim.addresses if self.shim is not None else ()

    def leases(self) -> bool:
        return self.parent is not None

    def shares(self) -> frozenset[str]:
        on = self.on("", NodeFacts())
        return frozenset({on.base, *(sub.name for sub in on.subs)})


class Rider(ABC):
    """Base of the drivers: subclasses say what only their kind of link has."""

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    capabilities: ClassVar[frozenset[str]] = frozenset()
    Options: ClassVar[type[NetworkOptions]] = RiderOptions
    EndpointOptions: ClassVar[type[EndpointOptions]] = EndpointOptions

    @abstractmethod
    def link_info(self, network: NetworkView, endpoint: EndpointView | None) -> LinkInfo:
        """What only this kind has; ``endpoint`` None: for the host's own."""

    def mac(self, network: NetworkView, endpoint: EndpointView) -> str | None:
        """The MAC address of an endpoint; None: its parent's."""
        return endpoint.mac

    # -- what the engine calls -----------------------------------------------------------------------------

    def requires(self, network: NetworkView) -> frozenset[str]:
        on = network.options.on(network.name, NodeFacts())
        more = {"link:vlan"} if on.subs else set()
        return self.capabilities | more | ({"link:dummy"} if on.dummy else set())

    def host_interface(self, network: NetworkView) -> str | None:
        return None

    def check(self, network: NetworkView, topology: Topology) -> Iterable[Problem]:
        on: Parent = network.options.on(network.name, topology.facts)
        yield from _tags(network, on)
        if network.internal and not on.dummy:
            yield Problem(
                network.at("spec", "internal"),
                f"network {network.name}: {on.name} leads out of an internal network",
                "leave options.parent out: its endpoints then ride on a dummy interface",
            )
        if network.allow_from:
            yield Problem(
                network.at("spec", "allowFrom"),
                f"network {network.name}: driver {self.name} has no filter on the host that could let others in",
                "leave allowFrom out",
            )
        if network.options.shim is not None:
            yield from check_shim(network, network.options.shim)
            if network.options.apart():
                yield Problem(
                    network.at("spec", "options", "shim"),
                    f"network {network.name}: with {network.options.apart()} a shim reaches nobody",
                    "leave shim out, or choose another mode",
                )
        if network.local:
            found = host_link(topology.facts, on.base)
            yield from _base(network, on, found)
            yield from _own_addresses(network, topology.facts)
            yield from _beside(network, on, topology)

    def render(self, network: NetworkView, node: NodeFacts) -> Iterable[Resource]:
        if not network.local:
            return
        origin = replace(network.origin, driver=self.name)
        on: Parent = network.options.on(network.name, node)
        yield from on.render(node, origin)
        if network.options.shim is not None:
            yield from render_shim(network, network.options.shim, on, self.link_info(network, None), self.name)
        for endpoint in network.local:
            yield from self.endpoint(network, endpoint, on)

    def endpoint(self, network: NetworkView, endpoint: EndpointView, on: Parent) -> Iterable[Resource]:
        """One endpoint's interface, made straight in its sandbox."""
        origin = replace(endpoint.origin, driver=self.name)
        yield Link(
            key=link_key(endpoint.sandbox.netns, endpoint.interface),
            origin=origin,
            type=self.name,
            up=True,
            mtu=endpoint.mtu,
            mac=self.mac(network, endpoint),
            addr_gen="none",
            parent=link_key("", on.name),
            info=self.link_info(network, endpoint),
        )
        yield from render_plug(endpoint, origin, ipv6=network.ipv6)


def _own_addresses(network: NetworkView, facts: NodeFacts) -> Iterable[Problem]:
    """The host is on the same wire: what it has is taken."""
    holders = {address.partition("/")[0]: link.name for link in facts.links for address in link.addresses}
    for endpoint in network.endpoints:
        for address in endpoint.addresses:
            if str(address.ip) in holders:
                yield Problem(
                    endpoint.at("spec", "addresses"),
                    f"endpoint {endpoint.name}: {address.ip} is this host's own address, on {holders[str(address.ip)]}",
                    "write another address, or keep it out of allocation (subnets[].auxiliary or range)",
                )


def _beside(network: NetworkView, on: Parent, topology: Topology) -> Iterable[Problem]:
    """Who else is on the parent, of the host's own and of our networks."""
    options: RiderOptions = network.options
    at = network.at("spec", "options", "parent")
    for link in topology.facts.links:
        if link.parent == on.name and link.type in FAMILIES:
            yield from _foreign(network, on, link, at)
    alone = options.exclusive()
    if alone and len(network.local) > 1:
        yield Problem(
            at,
            f"network {network.name} has {len(network.local)} endpoints on this node, but {alone} gives {on.name} to one",
            "give each endpoint a network and parent of its own, or choose another mode",
        )
    for other in topology.networks:
        theirs = other.options
        if other.name >= network.name or not isinstance(theirs, RiderOptions) or not other.local:
            continue
        if theirs.on(other.name, topology.facts).name != on.name:
            continue
        who = f"networks {other.name} and {network.name} are both on {on.name}"
        if theirs.family != options.family:
            text = f"{who}, but {theirs.family} and {options.family} cannot share a parent"
            yield Problem(at, text, "give one another parent, or both the same driver")
        elif alone or theirs.exclusive():
            text = f"{who}, but {alone or theirs.exclusive()} wants it for itself"
            yield Problem(at, text, "give one another parent, or choose another mode")
        else:
            yield from _disagreements(network, theirs, who)


def _disagreements(network: NetworkView, theirs: RiderOptions, who: str) -> Iterable[Problem]:
    mine, others = network.options.shared(), theirs.shared()
    for name in sorted(mine.keys() & others.keys()):
        if mine[name] != others[name] and None not in (mine[name], others[name]):
            yield Problem(
                network.at("spec", "options", name),
                f"{who}, which has one {name} for all, but they say {_word(others[name])} and {_word(mine[name])}",
                "let both say the same, or give one another parent",
            )


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _foreign(network: NetworkView, on: Parent, link: HostLink, at: Origin) -> Iterable[Problem]:
    """Something of the host's rides there: nothing of it may change by our doing."""
    options: RiderOptions = network.options
    who = f"network {network.name}: {link.name} on this host, which is not ours, rides on {on.name} already"
    if FAMILIES[link.type] != options.family:
        yield Problem(at, f"{who}, and {link.type} and {network.driver} cannot share a parent", "choose another parent")
    elif link.mode == "passthru" or options.exclusive():
        yield Problem(at, f"{who}, and mode passthru wants it for itself", "choose another parent")
    elif link.mode and options.shared().get("mode", link.mode) != link.mode:
        yield Problem(
            network.at("spec", "options", "mode"),
            f"{who} in mode {link.mode}, and all on one parent have the same",
            f"write mode: {link.mode}, or choose another parent",
        )


def _tags(network: NetworkView, on: Parent) -> Iterable[Problem]:
    for sub in on.subs:
        if not 1 <= sub.id <= MAX_VLAN:
            yield Problem(
                network.at("spec", "options", "parent"),
                f"network {network.name}: {sub.name} would be VLAN {sub.id}, and there is no interface of that name",
                f"write a VLAN ID from 1 to {MAX_VLAN}",
            )
    if on.dummy and network.options.vlan is not None:
        yield Problem(
            network.at("spec", "options", "vlan"),
            f"network {network.name}: VLAN {network.options.vlan} of what?",
            "write options.parent as well",
        )


def _base(network: NetworkView, on: Parent, found: HostLink | None) -> Iterable[Problem]:
    """What the host's own interface does not allow."""
    at = network.at("spec", "options", "parent")
    if on.base == "lo":
        yield Problem(at, f"network {network.name}: nothing can ride on loopback", "leave options.parent out")
    if found is None:
        return
    if found.type in FAMILIES:
        below = f": name its parent, {found.parent}, instead" if found.parent else ""
        yield Problem(
            at, f"network {network.name}: {on.base} is a {found.type} itself", f"choose another parent{below}"
        )
    elif found.master and not on.subs:
        yield Problem(
            at,
            f"network {network.name}: {on.base} is a port of {found.master}, which takes all that it receives",
            f"write parent: {found.master}",
        )
    if network.mtu > found.mtu:
        yield Problem(
            network.at("spec", "mtu"),
            f"network {network.name}: MTU {network.mtu} is above that of its parent {on.base}, {found.mtu}",
            f"write at most {found.mtu}, or leave mtu out",
        )
