"""Rates: how much an endpoint receives and sends, held where its packets leave an interface.

What a sandbox receives is sent by the host's end of its link, so that is where it is held. What it sends, by its own end: root
in there could take that away, which is drift, and is put back.

Connections are counted, and DSCP is set, where packets pass the host: on their way to other networks and to the outside, and
inside a bridge where its frames pass the IP hooks.

::

    forward     new connections: by source, by destination -> connections-out-NETWORK.ENDPOINT, -in-: as many as may be
                by source: dscp
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from msgspec.structs import replace

from reconciler.drivers.driver import Place, holds_rates, host_port, place_of
from reconciler.drivers.firewall import FAMILY, FILTER, table_name
from reconciler.drivers.nftexpr import DROP, Expr, address, match, payload, rule, vmap
from reconciler.drivers.nfttable import Hook, Table
from reconciler.drivers.registry import drivers
from reconciler.drivers.routed import port_of
from reconciler.errors import Origin, Problem
from reconciler.resources.qdisc import Qdisc, qdisc_key
from reconciler.resources.resource import Resource
from reconciler.topology.view import EndpointView, NetworkView, NodeFacts, RateView, Topology

MANGLE = -150  # nft(8), table of standard priority names
_KINDS = {4: "ipv4_addr", 6: "ipv6_addr"}
_NEW: Expr = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "new"}}
_FEATURE = Origin(document="rates")
_MOMENT = 100  # bursts of a hundredth of a second
_LEAST = 16  # KiB; less than what a sender hands over at once would slow it below its rate
_WAIT = 20  # what may wait: a twentieth of a second


class RatesFeature:
    """``spec.rates`` of endpoints."""

    name: ClassVar[str] = "rates"
    summary: ClassVar[str] = "bandwidth, connections and DSCP of endpoints"

    def requires(self, topology: Topology) -> frozenset[str]:
        return frozenset()

    def check(self, topology: Topology) -> Iterable[Problem]:
        for network in topology.networks:
            for endpoint in network.local:
                driver = drivers()[network.driver]
                own = holds_rates(driver)
                counted = (endpoint.connections_in, endpoint.connections_out, None if own else endpoint.dscp)
                if any(each is not None for each in counted) and place_of(driver, network) is not Place.HOST:
                    yield Problem(
                        endpoint.at("spec", "rates"),
                        f"endpoint {endpoint.name}: packets of driver {network.driver} do not pass the host, which would count "
                        "its connections or set its DSCP",
                        "leave connectionsIn, connectionsOut and dscp out"
                        if not own
                        else "leave connectionsIn and connectionsOut out",
                    )
                if endpoint.receive is not None and not own and _port(network, endpoint) is None:
                    yield Problem(
                        endpoint.at("spec", "rates", "receive"),
                        f"endpoint {endpoint.name}: networks of driver {network.driver} have no host side that could hold back "
                        "what it receives",
                        "leave rates.receive out, or set rates.send of those who send to it",
                    )

    def render(self, topology: Topology, facts: NodeFacts) -> Iterable[Resource]:
        yield from _Table(facts.owner).render(topology)
        for network in topology.networks:
            for endpoint in network.local if not holds_rates(drivers()[network.driver]) else ():
                origin = replace(endpoint.origin, driver=network.driver)
                port = _port(network, endpoint)
                if endpoint.receive is not None and port is not None:
                    yield _bucket("", port, endpoint.receive, origin)
                if endpoint.send is not None:
                    yield _bucket(endpoint.sandbox.netns, endpoint.interface, endpoint.send, origin)


def _port(network: NetworkView, endpoint: EndpointView) -> str | None:
    """The interface of the host that sends what the endpoint receives."""
    driver = drivers()[network.driver]
    return host_port(driver, network, endpoint) or port_of(network, endpoint)


def _bucket(netns: str, dev: str, rate: RateView, origin: Origin) -> Qdisc:
    a_second = rate.rate // 8
    burst = rate.burst or max(_LEAST, -(-a_second // _MOMENT // 1024))
    return Qdisc(
        key=qdisc_key(netns, dev),
        origin=origin,
        dev=dev,
        rate=rate.rate,
        burst=burst,
        limit=min(burst * 1024 + max(a_second // _WAIT, 32768), 0xFFFFFFFF),
    )


class _Table:
    """The part of an owner's table that counts connections and sets DSCP: nothing where nobody asks for it."""

    def __init__(self, owner: str) -> None:
        self._table = Table(FAMILY, table_name(owner), _FEATURE)

    def render(self, topology: Topology) -> Iterable[Resource]:
        local = [
            endpoint
            for network in topology.networks
            for endpoint in network.local
            if not holds_rates(drivers()[network.driver])
        ]
        counted = [endpoint for endpoint in local if endpoint.connections_in or endpoint.connections_out]
        marked = [endpoint for endpoint in local if endpoint.dscp is not None]
        if counted or marked:
            yield self._table.itself()
        if counted:
            yield from self._connections(counted)
        if marked:
            yield from self._dscp(marked)

    def _connections(self, endpoints: Iterable[EndpointView]) -> Iterable[Resource]:
        for way, most in (("in", "connections_in"), ("out", "connections_out")):
            for version, kind in _KINDS.items():
                yield self._table.set(f"connections-{way}{version}", kind, "verdict")
            for endpoint in endpoints:
                number = getattr(endpoint, most)
                if number is not None:
                    name = f"connections-{way}-{endpoint.network}.{endpoint.name}"
                    over: Expr = {"ct count": {"val": number, "inv": True}}
                    yield self._table.chain(name, [rule(f"{number} at once", over, DROP)], origin=endpoint.origin)
                    yield from self._elements(f"connections-{way}", endpoint, f"jump {name}")
        rules = [
            rule("connections", _NEW, vmap(address(version, side), f"connections-{way}{version}"))
            for version in _KINDS
            for way, side in (("out", "source"), ("in", "destination"))
        ]
        yield self._table.chain("connections", rules, Hook("filter", "forward", FILTER - 10))

    def _dscp(self, endpoints: Iterable[EndpointView]) -> Iterable[Resource]:
        rules = []
        for value in sorted({endpoint.dscp for endpoint in endpoints if endpoint.dscp is not None}):
            for version, kind in _KINDS.items():
                name = f"dscp-{value}-{version}"
                yield self._table.set(name, kind)
                field: Expr = payload("ip" if version == 4 else "ip6", "dscp")
                change: Expr = {"mangle": {"key": field, "value": value}}
                rules.append(rule(f"DSCP {value}", match(address(version, "source"), f"@{name}"), change))
        for endpoint in endpoints:
            yield from self._elements(f"dscp-{endpoint.dscp}-", endpoint, None)
        yield self._table.chain("dscp", rules, Hook("filter", "forward", MANGLE))

    def _elements(self, name: str, endpoint: EndpointView, value: str | None) -> Iterable[Resource]:
        for own in endpoint.addresses:
            yield self._table.element(f"{name}{own.version}", str(own.ip), endpoint.origin, value)


FEATURE = RatesFeature()
