"""Plans and snapshots on disk. Both are input from strangers."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from reconciler.errors import Origin, PlanError, Problem, UsageError
from reconciler.planner.file import plan_from_data, snapshot_from_data
from reconciler.planner.plan import Observation, Plan
from reconciler.resources.netns import Netns
from reconciler.resources.resource import Resource
from reconciler.resources.sysctl import Sysctl

_LARGEST = 256 << 20


def _read(path: Path, *, guarded: bool) -> Any:
    """JSON of a regular file. ``guarded``: nobody but its owner may be able to write it, and the owner is us or root."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    with os.fdopen(fd, "rb") as file:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise UsageError(f"{path}: not a regular file")
        if about.st_size > _LARGEST:
            raise UsageError(f"{path}: {about.st_size:,} bytes are too much")
        if guarded and (about.st_mode & 0o022 or about.st_uid not in (0, os.geteuid())):
            raise UsageError(
                f"{path}: others can write this plan, so it proves nothing; keep it with mode 0600, owned by you"
            )
        try:
            return json.loads(file.read())
        except (ValueError, RecursionError) as error:
            raise PlanError([Problem(Origin(file=str(path)), f"not JSON: {error}")]) from None


def read_plan_file(path: Path) -> Plan:
    """Raises UsageError, PlanError."""
    try:
        return plan_from_data(_read(path, guarded=True))
    except ValueError as error:
        raise PlanError([Problem(Origin(file=str(path)), f"not a plan: {error}")]) from None


def read_snapshot(path: Path) -> Observation:
    """Raises UsageError, PlanError."""
    try:
        return snapshot_from_data(_read(path, guarded=False))
    except ValueError as error:
        raise PlanError([Problem(Origin(file=str(path)), f"not a snapshot: {error}")]) from None


def as_looked_for(observation: Observation, desired: Iterable[Resource]) -> Observation:
    """A snapshot as a look at the host for ``desired`` would have been: of sysctls a look takes those that somebody
    wants, with what is wanted of their place, so that both give the same plan."""
    items = dict(observation.items)
    for wanted in desired:
        seen = items.get(wanted.key)
        if seen is None:
            continue
        if isinstance(wanted, Sysctl) and isinstance(seen.resource, Sysctl):
            items[wanted.key] = seen._replace(resource=replace(seen.resource, dev=wanted.dev, first=wanted.first))
        elif isinstance(wanted, Netns) and isinstance(seen.resource, Netns):
            values = dict(seen.resource.sysctls or ())
            sysctls = tuple((path, values[path]) for path, _ in wanted.sysctls or () if path in values)
            items[wanted.key] = seen._replace(resource=replace(seen.resource, sysctls=sysctls))
    return replace(observation, items=items)
