"""Driver contiv's networks and the policies about their endpoints, on Open vSwitch: see :mod:`reconciler.features.openflow.flows`,
which is loaded where there are such networks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from reconciler.errors import Problem
from reconciler.resources.resource import Resource
from reconciler.topology.view import NetworkView, NodeFacts, Topology


class PipelineFeature:
    """What driver contiv's networks and the policies about their endpoints come to on Open vSwitch."""

    name: ClassVar[str] = "pipeline"
    summary: ClassVar[str] = "driver contiv: forwarding, policies, rates and DSCP as OpenFlow"

    def requires(self, topology: Topology) -> frozenset[str]:
        return frozenset()

    def check(self, topology: Topology) -> Iterable[Problem]:
        networks = _networks(topology)
        if networks and topology.policies is not None:
            from reconciler.features.openflow.flows import problems

            yield from problems(networks, topology.policies)

    def render(self, topology: Topology, facts: NodeFacts) -> Iterable[Resource]:
        networks = _networks(topology)
        if networks:
            from reconciler.features.openflow.flows import flows

            yield from flows(networks, topology)


def _networks(topology: Topology) -> list[NetworkView]:
    return [network for network in topology.networks if network.driver == "contiv"]


FEATURE = PipelineFeature()
