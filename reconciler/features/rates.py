"""Rates: how much an endpoint receives and sends, held where its packets leave an interface.

What a sandbox receives is sent by the host's end of its link, so that is where it is held. What it sends, by its own end: root
in there could take that away, which is drift, and is put back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from reconciler.drivers.driver import host_port
from reconciler.drivers.registry import drivers
from reconciler.errors import Origin, Problem
from reconciler.resources.qdisc import Qdisc, qdisc_key
from reconciler.resources.resource import Resource
from reconciler.topology.view import NodeFacts, RateView, Topology

_MOMENT = 100  # bursts of a hundredth of a second
_LEAST = 16  # KiB; less than what a sender hands over at once would slow it below its rate
_WAIT = 20  # what may wait: a twentieth of a second


class RatesFeature:
    """``spec.rates`` of endpoints."""

    name: ClassVar[str] = "rates"
    summary: ClassVar[str] = "bandwidth of endpoints, in both directions"

    def requires(self, topology: Topology) -> frozenset[str]:
        return frozenset()

    def check(self, topology: Topology) -> Iterable[Problem]:
        for network in topology.networks:
            for endpoint in network.local:
                if endpoint.receive is not None and host_port(drivers()[network.driver], network, endpoint) is None:
                    yield Problem(
                        endpoint.at("spec", "rates", "receive"),
                        f"endpoint {endpoint.name}: networks of driver {network.driver} have no host side that could hold back "
                        "what it receives",
                        "leave rates.receive out, or set rates.send of those who send to it",
                    )

    def render(self, topology: Topology, facts: NodeFacts) -> Iterable[Resource]:
        for network in topology.networks:
            for endpoint in network.local:
                origin = replace(endpoint.origin, driver=network.driver)
                port = host_port(drivers()[network.driver], network, endpoint)
                if endpoint.receive is not None and port is not None:
                    yield _bucket("", port, endpoint.receive, origin)
                if endpoint.send is not None:
                    yield _bucket(endpoint.sandbox.netns, endpoint.interface, endpoint.send, origin)


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


FEATURE = RatesFeature()
