"""All drivers: every module of this package that has ``DRIVER`` is one. And rendering with all of them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from functools import cache

from pydantic import BaseModel

import reconciler.drivers as package
from reconciler.drivers.driver import Driver
from reconciler.drivers.stack import render_stack
from reconciler.errors import PlanError, Problem
from reconciler.resources.resource import Key, Resource
from reconciler.topology.view import NodeFacts, Topology


@cache
def drivers() -> Mapping[str, Driver]:
    """Driver name to driver."""
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.name != "registry")
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    found = [module.DRIVER for module in modules if hasattr(module, "DRIVER")]
    return {driver.name: driver for driver in found}


def options() -> Mapping[str, type[BaseModel]]:
    """Driver name to its Options model, for loading manifests and for schemas."""
    return {name: driver.Options for name, driver in drivers().items()}


def check(topology: Topology) -> Iterable[Problem]:
    """What the drivers find wrong with their networks."""
    for network in topology.networks:
        yield from drivers()[network.driver].check(network, topology)


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
    for sandbox in topology.sandboxes:
        yield from render_stack(sandbox)
    for network in topology.networks:
        yield from drivers()[network.driver].render(network, facts)
