"""Outgoing NAT of address pools: what leaves them for an address in no pool does so under the node's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from reconciler.drivers.firewall import FAMILY, SRCNAT, table_name
from reconciler.drivers.nftexpr import MASQUERADE, address, match, rule, source_in
from reconciler.drivers.nfttable import Hook, Table
from reconciler.errors import Origin, Problem
from reconciler.resources.resource import Resource
from reconciler.topology.view import NodeFacts, SubnetView, Topology

_KINDS = {4: "ipv4_addr", 6: "ipv6_addr"}
_FEATURE = Origin(document="outgoing")


class OutgoingFeature:
    """``natOutgoing`` of IPPools."""

    name: ClassVar[str] = "outgoing"
    summary: ClassVar[str] = "what leaves an address pool does so under the node's address, where the pool says so"

    def check(self, topology: Topology) -> Iterable[Problem]:
        return ()

    def requires(self, topology: Topology) -> frozenset[str]:
        return frozenset({"nft"}) if _translates(topology) else frozenset()

    def render(self, topology: Topology, facts: NodeFacts) -> Iterable[Resource]:
        if not _translates(topology):
            return
        table = Table(FAMILY, table_name(facts.owner), _FEATURE)
        yield table.itself()
        rules = []
        for version, kind in _KINDS.items():
            for name in ("pools", "pools-nat"):
                yield table.set(f"{name}{version}", kind, interval=True)
            leaving = match(address(version, "destination"), f"@pools{version}", "!=")
            rules.append(rule("out of the pools", source_in(version, f"pools-nat{version}"), leaving, MASQUERADE))
        yield table.chain("pools-postrouting", rules, Hook("nat", "postrouting", SRCNAT))
        for subnet in _pooled(topology):
            for name in ("pools", "pools-nat") if subnet.pool is not None and subnet.pool.nat else ("pools",):
                yield table.element(f"{name}{subnet.cidr.version}", str(subnet.cidr), subnet.origin)


def _pooled(topology: Topology) -> Iterable[SubnetView]:
    for network in topology.networks:
        yield from (subnet for subnet in network.subnets if subnet.pool is not None)


def _translates(topology: Topology) -> bool:
    """Whether somebody on this node can leave a pool that wants it."""
    return any(
        subnet.pool is not None and subnet.pool.nat
        for network in topology.networks
        if network.local
        for subnet in network.subnets
    )


FEATURE = OutgoingFeature()
