"""What a feature is: something that is asked for in documents of its own, or holds across networks of any driver
(policies, names, routing). One file in this package that defines a class and ``FEATURE = ThatClass()``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Protocol

from reconciler.errors import Problem
from reconciler.resources.resource import Resource
from reconciler.topology.view import NodeFacts, Topology


class Feature(Protocol):
    """Pure: a topology in, resources out. No socket, no file, no clock, no randomness."""

    name: ClassVar[str]
    summary: ClassVar[str]  # one line for tables and `cnm doctor`

    def check(self, topology: Topology) -> Iterable[Problem]:
        """What is wrong with its documents (``topology.documents(kind)``), all of it at once, each at its place."""

    def render(self, topology: Topology, facts: NodeFacts) -> Iterable[Resource]:
        """Everything that it needs on this node. What equals another's resource of the same key is merged with it."""

    def requires(self, topology: Topology) -> frozenset[str]:
        """What the host must have for what the documents ask: nothing when they ask for nothing."""
