"""What routed endpoints may send: packets under the addresses of their own sandbox, and nothing else.

::

    prerouting (raw)   from a routed endpoint's interface, and not under one of its sandbox's addresses: drop
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from reconciler.drivers.firewall import FAMILY, RAW, table_name
from reconciler.drivers.nftexpr import ACCEPT, COUNTER, DROP, concat, match, meta, one_of, payload, rule
from reconciler.drivers.nfttable import Hook, Table
from reconciler.drivers.routed import port_of
from reconciler.errors import Origin, Problem
from reconciler.resources.nft import Rule
from reconciler.resources.resource import Resource
from reconciler.topology.view import EndpointView, NodeFacts, Topology

_FEATURE = Origin(document="sources")
_KINDS = {4: "ipv4_addr", 6: "ipv6_addr"}
_PORT = {"meta": {"key": "iifname"}}


class SourcesFeature:
    """``spec.guard`` of endpoints that are routed."""

    name: ClassVar[str] = "sources"
    summary: ClassVar[str] = "routed endpoints send under the addresses of their own sandbox only"

    def check(self, topology: Topology) -> Iterable[Problem]:
        return ()

    def requires(self, topology: Topology) -> frozenset[str]:
        return frozenset({"nft"}) if any(endpoint.guard for _port, endpoint in _routed(topology)) else frozenset()

    def render(self, topology: Topology, facts: NodeFacts) -> Iterable[Resource]:
        ports = [(port, endpoint) for port, endpoint in _routed(topology) if endpoint.guard]
        if not ports:
            return
        table = Table(FAMILY, table_name(facts.owner), _FEATURE)
        yield table.itself()
        yield table.set("routed", "ifname")
        for version, kind in _KINDS.items():
            yield table.set(f"sources{version}", f"ifname . {kind}")
        yield table.chain("sources", tuple(_rules()), Hook("filter", "prerouting", RAW))
        own: dict[str, list[EndpointView]] = {}
        for network in topology.networks:
            for endpoint in network.local:
                own.setdefault(endpoint.sandbox.netns, []).append(endpoint)
        for port, endpoint in ports:
            at = endpoint.origin
            yield table.element("routed", port, at)
            addresses = {a.ip for other in own[endpoint.sandbox.netns] for a in other.addresses}
            for address in sorted(addresses | {a.ip for a in endpoint.link_local}, key=str):
                yield table.element(f"sources{address.version}", f"{port} . {address}", at)


def _routed(topology: Topology) -> Iterator[tuple[str, EndpointView]]:
    for network in topology.networks:
        for endpoint in network.local:
            port = port_of(network, endpoint)
            if port is not None:
                yield port, endpoint


def _rules() -> Iterator[Rule]:
    yield rule("not from a routed endpoint", meta("iifname", "@routed", "!="), ACCEPT)
    asking = match(payload("icmpv6", "type"), one_of([131, 132, 135, 143]))
    yield rule("no address yet", match(payload("ip6", "saddr"), "::"), asking, ACCEPT)
    for version, family in ((4, "ip"), (6, "ip6")):
        foreign = match(concat(_PORT, payload(family, "saddr")), f"@sources{version}", "!=")
        yield rule(f"somebody else's IPv{version} address", foreign, COUNTER, DROP)


FEATURE = SourcesFeature()
