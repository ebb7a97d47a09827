"""Driver calico: every endpoint has a routed address; no overlay, no translation.

Addresses come from IPPools in blocks, a block is a node's, and nodes tell each other of their blocks by BGP (features/bgp.py).
Where a pool says so, packets between nodes go through a tunnel instead::

    block of another node --via its tunnel end--> vx-POOL (VNI) === the other node    VXLAN
    block of another node --via its address-----> ip-NODE       === the other node    IPIP, one interface for all pools

and then each node knows the others' blocks from the manifests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_interface, ip_network
from typing import ClassVar, Literal

from msgspec.structs import replace
from pydantic import Field

from reconciler.drivers import routed
from reconciler.drivers.driver import Announcing, Place
from reconciler.drivers.forwarding import render_forwarding
from reconciler.errors import Origin, Problem
from reconciler.resources.fdb import Fdb, fdb_key
from reconciler.resources.link import Link, link_key
from reconciler.resources.linkinfo.ipip import Ipip
from reconciler.resources.linkinfo.vxlan import Vxlan
from reconciler.resources.neighbour import Neighbour, neighbour_key
from reconciler.resources.resource import Resource
from reconciler.resources.route import Route, route_key
from reconciler.topology.allocate import Asker, Pool
from reconciler.topology.derive import link_local_of, mac_of, short_name
from reconciler.topology.options import DEFAULT_MTU, EndpointOptions, NetworkOptions
from reconciler.topology.pools import BlockPool, choose_by_blocks
from reconciler.topology.view import (
    Address,
    NetworkView,
    NodeFacts,
    NodeView,
    PoolView,
    Subnet,
    SubnetView,
    Topology,
)

_TUNNEL = {4: 50, 6: 70}  # RFC 7348, 5: outer IP, UDP, VXLAN and inner Ethernet header
_IPIP = 20  # RFC 2003, 3.1: outer IP header


class CalicoOptions(routed.RoutedOptions):
    """Options of driver calico. What is said of addresses is in IPPool documents."""

    control: Literal["bgp", "manifests"] = Field(
        default="bgp",
        description="Who tells a node of the others' blocks: bgp: a BIRD on every node that has spec.bgp; manifests: every node "
        "has them and knows, for nodes that are on one subnet.",
    )

    announce: Literal["blocks", "endpoints"] = Field(
        default="blocks",
        description="What BGP tells of: blocks: one route a block, addresses one by one only where they are borrowed; endpoints: "
        "every address as /32 or /128, as Contiv does towards its leaf switches.",
    )

    def pooled(self) -> bool:
        return True

    def pools(
        self, subnets: Sequence[SubnetView], nodes: Sequence[NodeView], locked: Mapping[str, tuple[str, ...]]
    ) -> list[Pool]:
        return [BlockPool(subnet, locked=locked) for subnet in subnets]

    def choose(self, pools: Sequence[Pool], asker: Asker) -> int | None:
        return choose_by_blocks(pools, asker)

    def default_mtu(self, facts: NodeFacts, node: NodeView | None, subnets: Sequence[SubnetView]) -> int:
        tunnels = {s.pool.tunnel for s in subnets if s.pool is not None and s.pool.encapsulation != "never"}
        room = min(DEFAULT_MTU, facts.uplink_mtu)
        if "vxlan" in tunnels:
            six = node is not None and not any(address.version == 4 for address in node.addresses)
            return room - _TUNNEL[6 if six else 4]
        return room - (_IPIP if tunnels else 0)


class CalicoDriver:
    """Routed endpoints, blocks, and tunnels where a pool wants them."""

    name: ClassVar[str] = "calico"
    summary: ClassVar[str] = (
        "routed endpoints over many hosts: address pools in blocks, BGP, VXLAN or IPIP between nodes"
    )
    capabilities: ClassVar[frozenset[str]] = frozenset({"link:veth"})
    Options: ClassVar[type[NetworkOptions]] = CalicoOptions
    EndpointOptions: ClassVar[type[EndpointOptions]] = EndpointOptions
    place: ClassVar[Place] = Place.HOST

    def requires(self, network: NetworkView) -> frozenset[str]:
        pools = [subnet.pool for subnet in network.subnets if subnet.pool is not None]
        return self.capabilities | {f"link:{pool.tunnel}" for pool in pools if pool.encapsulation != "never"}

    def host_interface(self, network: NetworkView) -> str | None:
        return None

    def announcing(self, network: NetworkView, node: str) -> Announcing | None:
        if network.options.control != "bgp":
            return None
        tunnelled = tuple(s.cidr for s in network.subnets if s.pool is not None and s.pool.encapsulation != "never")
        found = routed.announced(network, node, blocks=network.options.announce == "blocks")
        return replace(found, tunnelled=tunnelled)

    # -- what is wrong -------------------------------------------------------------------------------------

    def check(self, network: NetworkView, topology: Topology) -> Iterable[Problem]:
        yield from routed.check_routed(network)
        yield from routed.check_gateways(network)
        yield from self._check_nodes(network, topology)
        yield from self._check_ipip(network, topology)
        if network.options.control == "manifests":
            yield from self._check_near(network, topology)

    @staticmethod
    def _check_near(network: NetworkView, topology: Topology) -> Iterable[Problem]:
        """A router between two nodes would have to know where the blocks are."""
        here = next((node for node in topology.nodes if node.name == topology.node), None)
        if here is None or not topology.facts.links:
            return
        members = {endpoint.sandbox.node for endpoint in network.endpoints}
        versions = {s.cidr.version for s in network.subnets if s.pool is not None and s.pool.encapsulation == "never"}
        for node in topology.nodes:
            far = not all(_near(node, topology.facts, version) for version in versions)
            if far and node is not here and node.name in members:
                yield Problem(
                    network.at("spec", "options", "control"),
                    f"network {network.name}: node {node.name} is on no subnet of this host, and routers between them do not "
                    "know its blocks",
                    "write control: bgp, or encapsulation: cross-subnet in the IPPool",
                )

    @staticmethod
    def _check_nodes(network: NetworkView, topology: Topology) -> Iterable[Problem]:
        if len(topology.nodes) < 2:
            return
        wanted = {endpoint.sandbox.node for endpoint in network.endpoints}
        members = [node for node in topology.nodes if node.name in wanted]
        by_bgp = network.options.control == "bgp"
        for subnet in network.subnets:
            pool = subnet.pool
            if pool is None:
                continue
            for node in members:
                if pool.encapsulation == "never" and by_bgp and node.bgp is None:
                    yield Problem(
                        node.origin,
                        f"addresses of network {network.name} are told of by BGP, which node {node.name} does not speak",
                        "add spec.bgp: {}, or write options.control: manifests or an encapsulation in the IPPool",
                    )
                    break
                if (pool.encapsulation != "never" or not by_bgp) and not node.addresses:
                    yield Problem(
                        node.origin,
                        f"network {network.name} reaches over to node {node.name}, which has no address",
                        f"add one to spec.addresses of Node {node.name}",
                    )
                    break

    @staticmethod
    def _check_ipip(network: NetworkView, topology: Topology) -> Iterable[Problem]:
        """It goes from IPv4 address to IPv4 address, from this node's in any case."""
        reached = {endpoint.sandbox.node for endpoint in network.endpoints}
        pools = [subnet.pool for subnet in network.subnets if subnet.pool is not None]
        pool = next((pool for pool in pools if pool.encapsulation != "never" and pool.tunnel == "ipip"), None)
        if pool is None or not reached - {topology.node}:
            return
        for node in topology.nodes:
            if (node.name in reached or node.name == topology.node) and node.addresses and _first(node, 4) is None:
                yield Problem(
                    node.origin,
                    f"network {network.name} reaches over to other nodes through IPIP, and node {node.name} has no IPv4 address",
                    f"add one to its spec.addresses, or write tunnel: vxlan in IPPool {pool.name}",
                )

    # -- what there shall be -------------------------------------------------------------------------------

    def render(self, network: NetworkView, node: NodeFacts) -> Iterable[Resource]:
        origin = replace(network.origin, driver=self.name)
        here = next((each for each in network.nodes if each.name == node.name), None)
        name = here.name if here is not None else node.name
        if network.local or any(True for _ in self._remote(network, here)):
            yield from render_forwarding(node, origin, ipv4=network.ipv4, ipv6=network.ipv6)
        if network.options.announce == "blocks":  # else nobody sends here what is for no endpoint
            yield from routed.render_blocks(network, name, self.name)
        for endpoint in network.local:
            yield from routed.render_routed(network, endpoint, replace(endpoint.origin, driver=self.name))
        yield from self._peers(network, here, node, origin)

    @staticmethod
    def _remote(network: NetworkView, here: NodeView | None) -> Iterable[tuple[PoolView, Subnet, NodeView]]:
        """(pool, prefix, node) of what is on other nodes: their blocks, and addresses that they borrowed."""
        others = {node.name: node for node in network.nodes if here is not None and node.name != here.name}
        for subnet in network.subnets:
            if subnet.pool is None:
                continue
            blocks: Mapping[str, list[Subnet]] = {name: [] for name in others}
            for block in subnet.blocks:
                if block.node in others:
                    blocks[block.node].append(block.cidr)
                    yield subnet.pool, block.cidr, others[block.node]
            for endpoint in network.endpoints:
                place = endpoint.sandbox.node
                for own in endpoint.addresses if place in others else ():
                    if own.ip in subnet.cidr and not any(own.ip in cidr for cidr in blocks[place]):
                        yield subnet.pool, ip_network(own.ip), others[place]

    def _peers(
        self, network: NetworkView, here: NodeView | None, facts: NodeFacts, origin: Origin
    ) -> Iterable[Resource]:
        if here is None:
            return
        tunnels: dict[tuple[str, str], tuple[PoolView, NodeView]] = {}
        by_bgp = network.options.control == "bgp"
        for pool, prefix, node in self._remote(network, here):
            near = _near(node, facts, prefix.version)
            if pool.encapsulation == "always" or (pool.encapsulation == "cross-subnet" and not near):
                tunnels[pool.name, node.name] = (pool, node)
                yield self._tunnelled(pool, prefix, here, node, origin)
            elif pool.encapsulation == "cross-subnet" or not by_bgp:
                via = _first(node, prefix.version)
                if via is not None:
                    to = str(prefix)
                    yield Route(key=route_key("", to), origin=origin, to=to, via=str(via))
        if any(pool.tunnel == "ipip" for pool, _node in tunnels.values()):
            yield self._ipip(here, facts, origin)
        for pool, node in tunnels.values():
            if pool.tunnel == "vxlan":
                yield from self._vxlan(network, pool, here, node, origin)

    @staticmethod
    def _tunnelled(pool: PoolView, prefix: Subnet, here: NodeView, node: NodeView, origin: Origin) -> Resource:
        to, dev = str(prefix), tunnel_name(pool, here)
        end = _first(node, 4) if pool.tunnel == "ipip" else _end(pool, node, prefix.version)
        return Route(key=route_key("", to), origin=origin, to=to, dev=dev, via=str(end), onlink=True)

    @staticmethod
    def _ipip(here: NodeView, facts: NodeFacts, origin: Origin) -> Resource:
        """The same for all pools and networks: the kernel has one such interface an address. Where a packet goes, the next
        hop of its route says."""
        return Link(
            key=link_key("", _ipip_name(here)),
            origin=origin,
            type="ipip",
            up=True,
            mtu=facts.uplink_mtu - _IPIP,
            addr_gen="none",
            info=Ipip(local=str(_first(here, 4))),
        )

    @staticmethod
    def _vxlan(
        network: NetworkView, pool: PoolView, here: NodeView, node: NodeView, origin: Origin
    ) -> Iterable[Resource]:
        dev = tunnel_name(pool, here)
        local, far = _underlay(here, node)
        yield Link(
            key=link_key("", dev),
            origin=origin,
            type="vxlan",
            up=True,
            mtu=network.mtu,
            mac=_tunnel_mac(pool, here),
            addr_gen="none",
            info=Vxlan(vni=pool.vni, local=str(local), port=pool.port, learning=False),
        )
        mac, end = _tunnel_mac(pool, node), str(_end(pool, node, pool.cidr.version))
        yield Neighbour(key=neighbour_key("", dev, end), origin=origin, dev=dev, address=end, mac=mac)
        yield Fdb(key=fdb_key("", dev, mac), origin=origin, dev=dev, mac=mac, dst=str(far))


def tunnel_name(pool: PoolView, here: NodeView) -> str:
    """The interface that leads to what other nodes have of a pool."""
    return _ipip_name(here) if pool.tunnel == "ipip" else short_name("vx-", "pool", pool.name)


def _ipip_name(here: NodeView) -> str:
    return short_name("ip-", "node", here.name)


def _tunnel_mac(pool: PoolView, node: NodeView) -> str:
    return mac_of("tunnel", pool.name, node.name)


def _end(pool: PoolView, node: NodeView, version: int) -> Address:
    """What names a node as a next hop in a tunnel: in IPv4 its own address, in IPv6 the link-local one of its MAC
    address there."""
    first = _first(node, 4)
    if version == 4 and first is not None:
        return first
    return link_local_of(_tunnel_mac(pool, node)).ip


def _first(node: NodeView, version: int) -> Address | None:
    return next((address for address in node.addresses if address.version == version), None)


def _underlay(here: NodeView, there: NodeView) -> tuple[Address, Address]:
    """The addresses between which a tunnel goes: IPv4 where both have it."""
    for version in (4, 6):
        local, far = _first(here, version), _first(there, version)
        if local is not None and far is not None:
            return local, far
    return here.addresses[0], there.addresses[0]


def _near(node: NodeView, facts: NodeFacts, version: int) -> bool:
    """Whether this host is on a subnet with a node's address of this IP version; else there is a router between."""
    address = _first(node, version)
    return address is not None and any(
        address in ip_interface(text).network for link in facts.links for text in link.addresses
    )


DRIVER = CalicoDriver()
