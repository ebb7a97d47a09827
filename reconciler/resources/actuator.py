"""The hands of a resource kind: what reads it from a host and what changes it there.

Actuators import no socket and no pyroute2: they are given a :class:`Host` and speak to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from msgspec import Struct, field

from reconciler.resources.resource import Key, Observed, Resource

if TYPE_CHECKING:
    from reconciler.host.host import Host


class OpView(Protocol):
    """What an actuator sees of a plan's op (``planner.plan.Op`` satisfies it)."""

    @property
    def id(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def key(self) -> Key: ...
    @property
    def before(self) -> Resource | None: ...
    @property
    def after(self) -> Resource | None: ...
    @property
    def unmarked(self) -> bool:
        """What is made or changed is not ours, and shall carry no mark of ours; action ``release`` also takes
        our mark away."""
        ...


class Outcome(NamedTuple):
    """What became of one op. ``errno`` 0 is success; ``text`` is the kernel's or the daemon's own wording."""

    id: str
    errno: int = 0
    text: str = ""


class Scope(Struct, frozen=True):
    """What to read: whose marks count (``owner``), which namespaces, and the keys of settings (there are
    thousands of sysctls; only those that someone wants or that the inventory remembers are read). ``only`` narrows the
    interfaces of a namespace down to these indices, for the reader of interfaces."""

    owner: str
    netns: tuple[str, ...] = ("",)
    settings: frozenset[Key] = frozenset()
    wanted: Mapping[Key, Resource] = field(default_factory=dict)
    only: Mapping[str, frozenset[int]] = field(default_factory=dict)


class Actuator(Protocol):
    """Idempotent: creating what already is so, and deleting what is absent, are successes."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        """All resources of this actuator's kinds in ``scope``, ours and foreign. Raises ObservationError."""

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        """Execute a batch, one outcome per op in any order. Raises nothing for what a single op meets."""
