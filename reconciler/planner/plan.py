"""The plan as data: what has to change on a host, in which order, and what it costs. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

from reconciler.errors import Origin, Problem
from reconciler.resources.resource import Impact, Key, Observed, Resource
from reconciler.sourced import Sourced
from reconciler.topology.view import NodeFacts

FORMAT_VERSION = 1


class Action(StrEnum):
    """What an op does. A recreation is a DELETE and a CREATE of one key, both with ``recreate`` set. RELEASE gives
    back what was adopted: only plans that undo a run have it."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    ADOPT = "adopt"
    RELEASE = "release"


class Op(Sourced, frozen=True):
    """One step. ``id`` is ``action:key``, unique in a plan.

    ``before`` is what was observed, cut to the fields that are managed (DELETE: all that was seen);
    ``after`` is what is wanted (DELETE of a setting: the value to put back; else None).
    ``also_removes`` are the keys that the kernel drops
    along with this step. ``after_ids`` are the ops that must have succeeded first. ``origin`` is the place in
    the manifests; empty for what no manifest names any more. ``unmarked``: it is somebody else's thing that is
    made or changed, to undo what a run of ours did to it.
    """

    id: str
    action: Action
    key: Key
    before: Resource | None = None
    after: Resource | None = None
    reason: str = ""
    impact: Impact = Impact.NONE
    also_removes: tuple[Key, ...] = ()
    after_ids: tuple[str, ...] = ()
    origin: Origin = Origin()
    recreate: bool = False
    unmarked: bool = False

    @property
    def resource(self) -> Resource:
        """The spec that this op is about: what is wanted, or what is to go."""
        resource = self.after or self.before
        assert resource is not None
        return resource

    def patch(self) -> list[dict[str, Any]]:
        """RFC 6902, from ``before``'s data to ``after``'s."""
        if self.before is None or self.action is Action.CREATE:
            return [{"op": "add", "path": "", "value": self.resource.data()}]
        if self.after is None:
            return [{"op": "remove", "path": ""}]
        from jsonpatch import make_patch  # only updates need it, and it is slow to load

        return list(make_patch(self.before.data(), self.after.data()).patch)


class Batch(Struct, frozen=True):
    """Ops of one actuator that go down together."""

    actuator: str  # Resource.batch of all its ops
    ops: tuple[Op, ...]


class Pending(Sourced, frozen=True):
    """Something wanted that waits for something that is not there."""

    key: Key
    reason: str
    origin: Origin = Origin()


class Plan(Struct, frozen=True):
    """``stages`` run one after the other; the batches of one stage wait for nothing in it.

    ``drift`` are keys of ours that exist but are otherwise than wanted (as opposed to never made).
    ``conflicts`` are problems that forbid execution; ``warnings`` do not.
    """

    owner: str
    node: str
    stages: tuple[tuple[Batch, ...], ...] = ()
    drift: tuple[Key, ...] = ()
    conflicts: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    pending: tuple[Pending, ...] = ()
    desired_fingerprint: str = ""
    observed_fingerprint: str = ""
    format_version: int = FORMAT_VERSION

    def ops(self) -> Iterator[Op]:
        """All ops in execution order."""
        for stage in self.stages:
            for batch in stage:
                yield from batch.ops

    @property
    def empty(self) -> bool:
        """True when nothing is to be done (something may still be pending)."""
        return not self.stages

    def counts(self) -> dict[str, int]:
        """How many steps of each sort: create, update, recreate, delete, adopt, and release where there are any.
        A recreation counts once."""
        counts = dict.fromkeys(("create", "update", "recreate", "delete", "adopt"), 0)
        for op in self.ops():
            if not op.recreate:
                counts[op.action] = counts.get(op.action, 0) + 1
            elif op.action is Action.CREATE:
                counts["recreate"] += 1
        return counts


class Observation(Struct, frozen=True):
    """What was read of a host, whole. ``partial`` names what could not be read: then nothing may be pruned. ``unread``
    are sandboxes that could not be read, each with the reason: what is in them, and what needs that, stays as it is."""

    items: Mapping[Key, Observed]
    facts: NodeFacts = NodeFacts()
    partial: tuple[str, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)
