"""Rendering with all drivers and features."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from reconciler.drivers.registry import drivers
from reconciler.drivers.stack import render_stack
from reconciler.errors import PlanError, Problem
from reconciler.features.registry import features
from reconciler.resources.resource import Key, Resource
from reconciler.topology.view import NodeFacts, Topology


def check(topology: Topology) -> Iterable[Problem]:
    """What drivers find wrong with their networks, and features with their documents."""
    for network in topology.networks:
        yield from drivers()[network.driver].check(network, topology)
    for feature in features().values():
        yield from feature.check(topology)


def render(topology: Topology, facts: NodeFacts) -> tuple[Resource, ...]:
    """Everything that this node shall have, sorted by key. Several networks may ask for the very same thing
    (a sysctl, a set); what two documents want differently is a PlanError that names both."""
    found: dict[Key, Resource] = {}
    problems: list[Problem] = []
    for resource in _all(topology, facts):
        other = found.setdefault(resource.key, resource)
        if other is resource:
            continue
        if other != resource:
            problems.append(
                Problem(
                    max(resource.origin, other.origin),
                    f"{resource.key} is asked for in two ways",
                    f"the other one is at {min(resource.origin, other.origin)}",
                )
            )
        elif resource.origin < other.origin:
            found[resource.key] = resource
    if problems:
        raise PlanError(problems)
    return tuple(found[key] for key in sorted(found))


def _all(topology: Topology, facts: NodeFacts) -> Iterable[Resource]:
    facts = replace(facts, name=topology.node)  # what was looked at may be another host, which is planned for this one
    for sandbox in topology.sandboxes:
        yield from render_stack(sandbox)
    for network in topology.networks:
        yield from drivers()[network.driver].render(network, facts)
    for feature in features().values():
        yield from feature.render(topology, facts)
