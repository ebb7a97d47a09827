"""From manifests to what is wanted of a host: loaded, resolved and rendered, without a look at any host."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import IO

from msgspec import Struct

from reconciler.drivers import registry as drivers
from reconciler.engine import render as rendering
from reconciler.engine.result import PlanOptions, Validated
from reconciler.errors import ManifestError, Origin, PlanError, Problem
from reconciler.manifest.load import Manifests, Memory, UnsoundError, load
from reconciler.manifest.lockfile import LOCK_NAME, Lock, read_lock, write_lock
from reconciler.manifest.source import STDIN
from reconciler.topology.resolve import resolve
from reconciler.topology.view import NodeFacts


class Asked(Struct, frozen=True, dict=True):
    """Which manifests, read as which node (one of the manifests' Nodes; "": as none) in which environment (of Patches).

    ``lock_file`` is where automatic addresses are kept (default: beside the manifests); ``memory`` holds what was
    loaded before.
    """

    sources: Sequence[str]
    stdin: IO[bytes] | None
    node: str
    environment: str | None = None
    lock_file: Path | None = None
    memory: Memory | None = None

    def lock_path(self, manifests: Manifests) -> Path | None:
        """None where manifests came from standard input, and nothing names a lock file."""
        if self.lock_file is not None:
            return self.lock_file
        return manifests.root / LOCK_NAME if manifests.root is not None else None


def read(asked: Asked, facts: NodeFacts, *, allow_empty: bool = False) -> Manifests:
    """The documents. Raises ManifestError with what is wrong in them, and between those that are right by themselves.

    ``allow_empty``: a folder that is gone is an empty one, since Git keeps no other.
    """
    sources = asked.sources
    if allow_empty:
        sources = [source for source in sources if source == STDIN or os.path.lexists(source)]
    try:
        return load(
            sources,
            options=drivers.options(),
            node=asked.node,
            environment=asked.environment,
            stdin=asked.stdin,
            memory=asked.memory,
        )
    except UnsoundError as error:
        problems = list(error.problems)
        try:
            resolved = resolve(error.sound, node=asked.node, lock=Lock(), facts=facts, allow_empty=True)
            problems += rendering.check(resolved.topology)
        except (ManifestError, PlanError) as between:
            problems += between.problems
        raise ManifestError(problems) from None


def validate(asked: Asked, options: PlanOptions, facts: NodeFacts, seconds: dict[str, float]) -> Validated:
    """What the manifests want of one host, of which ``facts`` were seen before. ``seconds`` is told what each stage took.

    Raises ManifestError, PlanError, UsageError.
    """
    clock = perf_counter()
    manifests = read(asked, facts, allow_empty=options.allow_empty)
    if not manifests.documents and not options.allow_empty:
        raise ManifestError(
            [
                Problem(
                    Origin(document=", ".join(asked.sources) or "manifests"),
                    "no documents were found",
                    "name a file or folder with manifests, or say --allow-empty to mean 'nothing at all'",
                )
            ]
        )
    lock_path = asked.lock_path(manifests)
    lock = read_lock(lock_path) if lock_path is not None else Lock()
    seconds["load"] = perf_counter() - clock
    clock = perf_counter()
    resolved = resolve(
        manifests.documents,
        node=asked.node,
        lock=lock,
        facts=facts,
        locked=options.locked,
        allow_empty=options.allow_empty,
    )
    problems = tuple(rendering.check(resolved.topology))
    if problems:
        raise ManifestError(problems)
    seconds["resolve"] = perf_counter() - clock
    clock = perf_counter()
    desired = rendering.render(resolved.topology, facts)
    seconds["render"] = perf_counter() - clock
    return Validated(
        topology=resolved.topology,
        desired=desired,
        lock=resolved.lock,
        lock_path=lock_path,
        lock_changed=resolved.lock != lock,
        conflicts=tuple(resolved.conflicts),
        root=manifests.root,
    )


def check_lock(validated: Validated) -> None:
    """Raise UsageError when the lock file cannot be written: now rather than when all is done."""
    if validated.lock_path is not None:
        write_lock(validated.lock_path, validated.lock, keep=False)


def store_lock(validated: Validated) -> None:
    """Write the lock file where it changed. Raises UsageError."""
    if validated.lock_changed and validated.lock_path is not None:
        write_lock(validated.lock_path, validated.lock)
