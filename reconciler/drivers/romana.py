"""Driver romana: routed addresses that follow the data centre's shape, so that a host needs few routes.

::

    10.1.0.0/16 ---- rack1 10.1.0.0/17 ---- node a ---- 10.1.0.0/29  tenant shop
                 |                     |            `-- 10.1.0.8/29  tenant bank
                 |                     `--- node b ---- 10.1.64.0/29 tenant shop
                 `-- rack2 10.1.128.0/17 -- node c ...

    on node a:  10.1.64.0/18 via b        the part of the rack in which b has all blocks
                10.1.128.0/17 via router  the other rack, by the router of this one
                unreachable 10.1.0.0/16   what nobody has

As in Romana's core (its IPAM, agent and route publisher), without what fails there: padding is no group and gets no hosts, a
block never leaves its group, a block is free when nobody has an address of it, routes are changed one by one.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_interface, ip_network
from typing import Annotated, ClassVar, Literal

from msgspec import Struct
from msgspec.structs import replace
from pydantic import Field

from reconciler.drivers.driver import Announcing, Place
from reconciler.drivers.forwarding import render_forwarding
from reconciler.drivers.routed import RoutedOptions, check_gateways, check_routed, render_routed
from reconciler.errors import Problem
from reconciler.manifest.model import Model
from reconciler.manifest.types import Cidr
from reconciler.resources.resource import Resource
from reconciler.resources.route import Route, route_key
from reconciler.topology.allocate import Asker, Pool
from reconciler.topology.groups import Fault, Group, GroupSpec, Layout, Room, assign, cover, faults, inside, lay_out
from reconciler.topology.options import EndpointOptions, NetworkOptions
from reconciler.topology.placement import Owners, PlacedPool, choose_by_place
from reconciler.topology.view import Address, BlockView, NetworkView, NodeFacts, NodeView, Subnet, SubnetView, Topology

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_LABEL = Annotated[str, Field(min_length=1, max_length=253)]


class SubnetOptions(Model):
    """What holds for one of the network's subnets only."""

    cidr: Cidr = Field(description="The subnet.")
    block_length: Annotated[int, Field(ge=1, le=128)] | None = Field(
        default=None, description="Prefix length of its blocks. Default: that of its family."
    )
    tenants: list[str] = Field(default=[], description="The tenants that it is for. Default: all.")


class RomanaOptions(RoutedOptions):
    """Options of driver romana."""

    groups: list[GroupSpec] = Field(
        default=[],
        description="The data centre's shape: groups within groups, down to those that have nodes. Each gets its part of every "
        "subnet, in this order. A node is in the group whose labels it has, of several in that with the fewest nodes. Default: all "
        "nodes are beside each other.",
    )
    room: Room | None = Field(
        default=None, description="For how many groups at the top the subnets are cut; see groups[].room."
    )
    block_length4: Annotated[int, Field(ge=8, le=32)] = Field(
        default=29, description="Prefix length of an IPv4 block; one block is one tenant's and segment's on one node."
    )
    block_length6: Annotated[int, Field(ge=16, le=128)] = Field(
        default=122, description="Prefix length of an IPv6 block."
    )
    subnets: list[SubnetOptions] = Field(default=[], description="What differs for single subnets.")
    blackouts: list[Cidr] = Field(default=[], description="Parts of the subnets of which nobody gets an address.")
    tenant_label: _LABEL = Field(
        default="tenant",
        description="The label of endpoints, or of their sandboxes, that names the tenant. Without it the tenant is the "
        "sandbox's namespace.",
    )
    segment_label: _LABEL = Field(
        default="segment", description="The label of endpoints, or of their sandboxes, that names the tenant's segment."
    )
    routing: Literal["static", "bgp"] = Field(
        default="static",
        description="static: routes to the nodes of the same group, and by the group's router to all others; the routers are "
        "their owner's business (`cnm graph --addresses` prints what belongs into them). bgp: every node announces its parts of "
        "its group's prefix, by a BIRD on each that has spec.bgp; the groups' routers are BGPPeers.",
    )

    def faults(self, subnets: Sequence[Subnet]) -> Iterable[Fault]:
        lengths = [self.block_length(cidr) for cidr in subnets]
        listed = ", ".join(map(str, subnets))
        for number, own in enumerate(self.subnets):
            if own.cidr not in subnets:
                yield ("subnets", number, "cidr"), f"{own.cidr} is none of its subnets", f"write one of {listed}"
            elif own.block_length is not None and own.block_length > own.cidr.max_prefixlen:
                text = f"an IPv4 block cannot be as small as /{own.block_length}"
                yield ("subnets", number, "blockLength"), text, "write at most 32"
        for number, cidr in enumerate(self.blackouts):
            if not any(inside(cidr, subnet) for subnet in subnets):
                yield ("blackouts", number), f"{cidr} is in none of its subnets", f"write a part of {listed}"
        yield from faults(self.groups, self.room, subnets, lengths)

    def block_length(self, cidr: Subnet) -> int:
        """The prefix length of blocks of a subnet."""
        own = next((own.block_length for own in self.subnets if own.cidr == cidr), None)
        return own or (self.block_length4 if cidr.version == 4 else self.block_length6)

    def layout(
        self, subnets: Sequence[SubnetView], nodes: Sequence[NodeView], blocks: Iterable[tuple[Subnet, str]]
    ) -> Layout:
        return assign(lay_out(self.groups, self.room, [subnet.cidr for subnet in subnets]), nodes, blocks)

    def pools(
        self, subnets: Sequence[SubnetView], nodes: Sequence[NodeView], locked: Mapping[str, tuple[str, ...]]
    ) -> list[Pool]:
        known = ((ip_network(cidr), words[0]) for cidr, words in locked.items() if words)
        layout = self.layout(subnets, nodes, known)
        tenants = {own.cidr: frozenset(own.tenants) for own in self.subnets}
        return [
            PlacedPool(
                subnet,
                layout=layout,
                number=number,
                block_length=self.block_length(subnet.cidr),
                owners=Owners(self.tenant_label, self.segment_label),
                tenants=tenants.get(subnet.cidr, frozenset()),
                blackouts=tuple(self.blackouts),
                locked=locked,
            )
            for number, subnet in enumerate(subnets)
        ]

    def choose(self, pools: Sequence[Pool], asker: Asker) -> int | None:
        return choose_by_place(pools, asker)


class Way(Struct, frozen=True):
    """How a node sends to a prefix: to a node or router ``via`` that is its neighbour. ``place`` is the group, below
    ``spec.options``."""

    to: Subnet
    via: Address
    place: tuple[str | int, ...]


def ways(network: NetworkView, layout: Layout, here: str) -> Iterable[Way]:
    """The routes of a node to the endpoints on all others: one a group that a router leads to; where the nodes
    themselves are the next hops, one a part of a group in which a node has all blocks."""
    leaf = layout.leaf(here)
    if leaf is None:
        return
    nodes = {node.name: node for node in network.nodes}
    trail = [layout.top]  # from the top to this node's own group
    while trail[-1].groups:
        trail.append(next(group for group in trail[-1].groups if group.path == leaf.path[: len(trail)]))
    for number, subnet in enumerate(network.subnets):
        version = subnet.cidr.version
        router: Address | None = None
        yield from _direct(leaf, number, subnet.blocks, layout, nodes, here)
        for depth in range(len(trail) - 1, 0, -1):
            router = router or next((r for r in trail[depth].routers if r.version == version), None)
            for group in trail[depth - 1].groups:
                part = group.cidrs[number]
                if group is trail[depth] or part is None or not layout.hosts(group):
                    continue
                if router is not None:
                    yield Way(part, router, group.place)
                else:
                    for inner in group.leaves():
                        yield from _direct(inner, number, subnet.blocks, layout, nodes, here)


def _direct(
    leaf: Group, number: int, blocks: Sequence[BlockView], layout: Layout, nodes: Mapping[str, NodeView], here: str
) -> Iterable[Way]:
    """Within a group, to its nodes."""
    part = leaf.cidrs[number]
    if part is None:
        return
    for to, node in cover(part, _blocks_in(part, blocks)):
        hop = hop_to(nodes.get(node), part.version)
        if node != here and hop is not None:
            yield Way(to, hop, leaf.place)


def _blocks_in(part: Subnet, blocks: Sequence[BlockView]) -> Sequence[BlockView]:
    """``blocks`` are all of the subnet's, by address."""
    first, last = int(part.network_address), int(part.broadcast_address)
    low = bisect_left(blocks, first, key=lambda block: int(block.cidr.network_address))
    return blocks[low : bisect_left(blocks, last + 1, key=lambda block: int(block.cidr.network_address))]


def hop_to(node: NodeView | None, version: int) -> Address | None:
    """A node's first underlay address of a family."""
    return next((a for a in node.addresses if a.version == version), None) if node is not None else None


def layout_of(network: NetworkView) -> Layout:
    """The network's tree and where its nodes are, by the blocks that they have."""
    layout: Layout = network.options.layout(
        network.subnets, network.nodes, ((block.cidr, block.node) for s in network.subnets for block in s.blocks)
    )
    return layout


def parts_of(network: NetworkView, layout: Layout, node: str) -> Iterable[Subnet]:
    """The parts of its group's prefixes in which a node has all blocks: what leads to it, and to nobody else."""
    leaf = layout.leaf(node)
    for number, subnet in enumerate(network.subnets):
        part = leaf.cidrs[number] if leaf is not None else None
        if part is not None:
            yield from (cidr for cidr, holder in cover(part, _blocks_in(part, subnet.blocks)) if holder == node)


class RomanaDriver:
    """Routes a group, not an endpoint."""

    name: ClassVar[str] = "romana"
    summary: ClassVar[str] = "routed addresses laid out by the data centre's racks, with few routes a host"
    capabilities: ClassVar[frozenset[str]] = frozenset({"link:veth"})
    Options: ClassVar[type[NetworkOptions]] = RomanaOptions
    EndpointOptions: ClassVar[type[EndpointOptions]] = EndpointOptions
    place: ClassVar[Place] = Place.HOST

    def requires(self, network: NetworkView) -> frozenset[str]:
        return self.capabilities

    def host_interface(self, network: NetworkView) -> str | None:
        return None

    def announcing(self, network: NetworkView, node: str) -> Announcing | None:
        if network.options.routing != "bgp":
            return None
        whole = tuple(parts_of(network, layout_of(network), node))
        return Announcing(whole=whole, parts=tuple(subnet.cidr for subnet in network.subnets))

    def check(self, network: NetworkView, topology: Topology) -> Iterable[Problem]:
        options: RomanaOptions = network.options
        yield from check_routed(network)
        yield from check_gateways(network)
        for endpoint in network.endpoints:
            labels = {**endpoint.sandbox.labels, **endpoint.labels}
            for label in (options.tenant_label, options.segment_label):
                if not _WORD.match(labels.get(label) or "default"):
                    yield Problem(
                        endpoint.origin,
                        f"endpoint {endpoint.name}: {label} {labels[label]!r} cannot own blocks",
                        "write a label of letters, digits, '.', '_' and '-', at most 63",
                    )
        layout = layout_of(network)
        if options.routing == "bgp":
            yield from _speechless(network, layout)
            return
        for version in sorted({subnet.cidr.version for subnet in network.subnets}):
            for node in network.nodes:
                if layout.leaf(node.name) is not None and hop_to(node, version) is None and len(network.nodes) > 1:
                    yield Problem(
                        node.origin,
                        f"node {node.name} has no IPv{version} address, and network {network.name} has routes to it",
                        "write one into its spec.addresses",
                    )
        yield from _unreachable(network, layout, topology)

    def render(self, network: NetworkView, node: NodeFacts) -> Iterable[Resource]:
        origin = replace(network.origin, driver=self.name)
        layout = layout_of(network)
        if layout.leaf(node.name) is None:
            return
        yield from render_forwarding(node, origin, ipv4=network.ipv4, ipv6=network.ipv6)
        if network.options.routing == "bgp":
            yield from self._announced(network, layout, node.name)
        else:
            yield from self._static(network, layout, node.name)
        for endpoint in network.local:
            yield from render_routed(network, endpoint, replace(endpoint.origin, driver=self.name))

    def _announced(self, network: NetworkView, layout: Layout, node: str) -> Iterable[Resource]:
        """What is announced, and has to stand for that; what of it nobody has must not go round."""
        for cidr in parts_of(network, layout, node):
            if cidr.prefixlen == cidr.max_prefixlen:
                continue  # its endpoint's own route
            subnet = next(subnet for subnet in network.subnets if inside(cidr, subnet.cidr))
            origin = replace(subnet.origin, driver=self.name)
            yield Route(key=route_key("", str(cidr)), origin=origin, to=str(cidr), type="unreachable")

    def _static(self, network: NetworkView, layout: Layout, node: str) -> Iterable[Resource]:
        found = {str(way.to): way for way in ways(network, layout, node)}
        for to, way in found.items():
            at = replace(network.at("spec", "options", *way.place), driver=self.name)
            yield Route(key=route_key("", to), origin=at, to=to, via=str(way.via))
        for subnet in network.subnets:  # what nobody has must not go round between routers
            to, at = str(subnet.cidr), replace(subnet.origin, driver=self.name)
            if to not in found and subnet.cidr.prefixlen < subnet.cidr.max_prefixlen:
                yield Route(key=route_key("", to), origin=at, to=to, type="unreachable")


def _speechless(network: NetworkView, layout: Layout) -> Iterable[Problem]:
    """Nodes that would have to announce what they have, and cannot."""
    for node in network.nodes:
        if layout.leaf(node.name) is not None and node.bgp is None and len(network.nodes) > 1:
            yield Problem(
                node.origin,
                f"addresses of network {network.name} are told of by BGP, which node {node.name} does not speak",
                "add spec.bgp: {}, or write options.routing: static",
            )


def _unreachable(network: NetworkView, layout: Layout, topology: Topology) -> Iterable[Problem]:
    """Next hops that are on no link of this host, as far as it was looked at."""
    links = [ip_interface(text) for link in topology.facts.links for text in link.addresses]
    told: set[Address] = set()
    for way in ways(network, layout, topology.node):
        if way.via in told or not links or way.via.is_link_local or any(way.via in link.network for link in links):
            continue
        told.add(way.via)
        yield Problem(
            network.at("spec", "options", *way.place),
            f"network {network.name}: {way.via}, the next hop to {way.to}, is on no link of node {topology.node}",
            "write a router of the group that the node is in, or put the nodes into groups that say who is beside whom",
        )


DRIVER = RomanaDriver()
