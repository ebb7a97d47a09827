"""What the drivers host, none and container have in common: they join no networks, they are kinds of stacks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from reconciler.errors import Problem
from reconciler.resources.resource import Resource
from reconciler.topology.options import EndpointOptions, NetworkOptions
from reconciler.topology.view import NetworkView, NodeFacts, Topology


class NoOptions(NetworkOptions):
    """None: a Network document cannot name this driver. `spec.stack` of a Sandbox asks for what it does."""


class StackDriver:
    """A driver whose network exists by itself, where a sandbox's ``spec.stack`` says so."""

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    stack: ClassVar[str] = ""  # what to write in Sandbox.spec.stack
    capabilities: ClassVar[frozenset[str]] = frozenset()
    Options: ClassVar[type[NetworkOptions]] = NoOptions
    EndpointOptions: ClassVar[type[EndpointOptions]] = EndpointOptions

    def check(self, network: NetworkView, topology: Topology) -> Iterable[Problem]:
        if not network.sandboxes:  # none but the networks that exist by themselves have any
            yield Problem(
                network.at("spec", "driver"),
                f"no Network document can have driver {self.name}",
                f"write 'stack: {self.stack}' in the Sandbox instead",
            )

    def render(self, network: NetworkView, node: NodeFacts) -> Iterable[Resource]:
        return ()  # the stack itself is the sandbox's (drivers/stack.py); nothing is plugged into it

    def requires(self, network: NetworkView) -> frozenset[str]:
        return self.capabilities

    def host_interface(self, network: NetworkView) -> str | None:
        return None
