"""What a driver is. A driver is one file in this package that defines a class and ``DRIVER = ThatClass()``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Protocol

from reconciler.errors import Problem
from reconciler.resources.resource import Resource
from reconciler.topology.options import EndpointOptions, NetworkOptions
from reconciler.topology.view import NetworkView, NodeFacts, Topology


class Driver(Protocol):
    """Pure: a topology in, resources out. No socket, no file, no clock, no randomness."""

    name: ClassVar[str]
    summary: ClassVar[str]  # one line for tables and `cnm doctor`
    capabilities: ClassVar[frozenset[str]]  # what the host must have in any case: link:bridge, nft, link:ipvlan, ovsdb
    Options: ClassVar[type[NetworkOptions]]  # what Network.spec.options may hold, strict, every field described
    EndpointOptions: ClassVar[type[EndpointOptions]]  # the same for Endpoint.spec.options

    def check(self, network: NetworkView, topology: Topology) -> Iterable[Problem]:
        """What is wrong with this network for this driver, beyond types and references. All of it at once."""

    def render(self, network: NetworkView, node: NodeFacts) -> Iterable[Resource]:
        """Everything that this network needs on this node, its local endpoints included; order does not matter."""

    def requires(self, network: NetworkView) -> frozenset[str]:
        """What the host must have for this very network: ``capabilities`` and what its options ask for."""

    def host_interface(self, network: NetworkView) -> str | None:
        """The host-side interface that this network's traffic passes, if there is one (for ``allowFrom``)."""
