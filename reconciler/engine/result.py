"""What the controller answers: plain frozen data, nothing printed."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from msgspec import Struct, field

from reconciler.errors import ActuationError, Origin, Problem
from reconciler.host.bgp import Routes
from reconciler.manifest.lockfile import Lock
from reconciler.planner.plan import Observation, Op, Plan
from reconciler.resources.resource import Key, Resource
from reconciler.topology.view import Topology


class PlanOptions(Struct, frozen=True):
    """How to plan. ``targets`` and ``excludes`` are globs over keys (``link/br-*``) and documents
    (``Endpoint/web-1``). ``adopt`` True takes over unmarked objects; ``keys`` in it only those.
    ``snapshot`` plans against a saved observation instead of this host. ``locked`` refuses to allocate."""

    targets: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    adopt: bool | frozenset[Key] = False
    allow_empty: bool = False
    locked: bool = False
    snapshot: Path | None = None


class Validated(Struct, frozen=True):
    """Manifests that are right: ``topology`` is what they mean on ``node``; ``lock`` is the lock file's content
    as it would be written, ``lock_changed`` whether that differs from what is on disk at ``lock_path``."""

    topology: Topology
    desired: tuple[Resource, ...]
    lock: Lock
    lock_path: Path | None
    lock_changed: bool
    conflicts: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    root: Path | None = None


class Planned(Struct, frozen=True):
    """A plan and what it was made of. ``validated`` is None for destroy and for a plan read from a file
    without manifests beside it. ``seconds`` are wall-clock times per stage (load, resolve, render, observe, diff).
    ``stamp`` tells whether another cnm was here since (``host.lock``)."""

    plan: Plan
    observation: Observation
    desired: tuple[Resource, ...] = ()
    validated: Validated | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    stamp: bytes = b""


class Rollback(Struct, frozen=True):
    """What going back did. ``left`` empty: the host is as it was before the run; else what is not, a line each,
    and in ``failed`` the words of what refused. ``unseen``: nobody could look, so what is left is not known; the journal
    is kept, and the next command that writes tries again."""

    done: tuple[Op, ...] = ()
    failed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    seconds: float = 0.0
    unseen: bool = False

    @property
    def complete(self) -> bool:
        return not self.left


class Recovery(Struct, frozen=True):
    """What became of a run that was interrupted. ``finished`` True: all of it held already, and the rest of it
    was done; False: it was undone. ``about`` says in words which run it was."""

    about: str
    finished: bool
    rollback: Rollback


class Report(Struct, frozen=True):
    """What an execution did. ``failed`` empty and ``left`` empty: everything holds.

    ``done`` are ops that succeeded, ``skipped`` those that never ran because something before them failed;
    ``left`` are the keys (with reasons) that verification still found different. ``reason`` says why all was
    undone although no op failed: a signal, a probe, a deadline. ``rollback`` tells how that went; None when
    nothing was undone.
    """

    plan: Plan
    done: tuple[Op, ...] = ()
    failed: tuple[ActuationError, ...] = ()
    skipped: tuple[Op, ...] = ()
    left: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    rollback: Rollback | None = None

    @property
    def ok(self) -> bool:
        return not (self.failed or self.skipped or self.left or self.reason)


class State(StrEnum):
    """What holds of something that a manifest asks for."""

    OK = "ok"
    MISSING = "missing"
    DRIFTED = "drifted"
    PENDING = "pending"
    CONFLICT = "conflict"
    REMOTE = "remote"  # on another node


class StatusRow(Struct, frozen=True):
    """One network, sandbox or endpoint, or BGP session. ``name`` of an endpoint is ``network/endpoint``. ``facts`` are a few
    short things to show: addresses, interface, driver. ``reasons`` say what does not hold and why. ``routes`` are a
    session's, where they were asked for and its router told of them."""

    kind: str
    name: str
    state: State
    reasons: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    origin: Origin = field(default=Origin())
    routes: Routes | None = None


class Status(Struct, frozen=True):
    """``rows`` sorted by kind (Network, Sandbox, Endpoint, others) and name; ``surplus`` are keys of ours that no
    manifest asks for any more."""

    owner: str
    node: str
    rows: tuple[StatusRow, ...]
    surplus: tuple[Key, ...] = ()
    warnings: tuple[Problem, ...] = ()
    partial: tuple[str, ...] = ()

    @property
    def in_conflict(self) -> bool:
        return any(row.state is State.CONFLICT for row in self.rows)

    @property
    def in_sync(self) -> bool:
        good = (State.OK, State.REMOTE)
        return not (self.surplus or self.partial) and all(row.state in good for row in self.rows)


class Check(Struct, frozen=True):
    """One line of ``cnm doctor``. ``level`` is ``ok``, ``warning`` or ``error``; ``remedy`` says how to get it."""

    subject: str
    level: str
    finding: str
    remedy: str = ""


class Explanation(Struct, frozen=True):
    """Everything known of one key: what asks for it, what the host has, what it needs and what hangs on it."""

    key: Key
    wanted: Resource | None
    seen: Resource | None
    owner: str
    state: State
    differs: tuple[str, ...] = ()
    needs: tuple[Key, ...] = ()
    dependents: tuple[Key, ...] = ()
    origins: tuple[Origin, ...] = ()
