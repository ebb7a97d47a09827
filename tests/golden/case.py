"""A golden case: a folder with what a user wrote, what the host looked like, and what must come out.

::

    DRIVER/CASE/manifest*.yaml   what is wanted
                cnm.lock         the lock file, where the case has one
                options.json     fields of PlanOptions, like {"adopt": true}, and "node"
                observed.json    the host, as `cnm show --observed -o` wrote it; absent: a host with nothing on it
                before.yaml      what was applied before that snapshot was taken (tests/golden/observe.py)
                before.sh        what was then done to the host by hand
           host.sh               what every host of this driver's cases has running before anything else
           bare.json             such a host with nothing more on it, for cases without a snapshot of their own
                expected.txt     resources and plan; written by pytest --snapshot-update, to be read before it is kept
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from reconciler.drivers.registry import drivers
from reconciler.engine.controller import NetworkController
from reconciler.engine.result import Planned, PlanOptions
from reconciler.errors import Problem
from reconciler.planner.plan import Action, Op, Plan
from reconciler.resources.resource import Resource
from reconciler.review.outline import summary

FOLDER = Path(__file__).parent
NODE = "here"


@dataclass(frozen=True)
class Case:
    """One folder."""

    folder: Path

    def __str__(self) -> str:
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def manifests(self) -> list[Path]:
        return sorted(self.folder.glob("manifest*.yaml"))

    @property
    def observed(self) -> Path:
        own, drivers = self.folder / "observed.json", self.folder.parent / "bare.json"
        return next((path for path in (own, drivers) if path.exists()), FOLDER / "bare.json")

    @cached_property
    def options(self) -> dict[str, Any]:
        path = self.folder / "options.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def plan(self, manifests: Iterable[Path] | None = None) -> Planned:
        """Without this host: manifests, lock file and snapshot are all that is read."""
        options = dict(self.options)
        with NetworkController(node=options.pop("node", NODE), lock_file=self.folder / "cnm.lock") as controller:
            sources = [str(path) for path in (self.manifests if manifests is None else manifests)]
            return controller.plan(sources, options=PlanOptions(snapshot=self.observed, **options))


def cases(driver: str = "*") -> list[Case]:
    """All cases: every folder with a manifest two levels down."""
    return [Case(folder) for folder in sorted(FOLDER.glob(f"{driver}/*")) if (folder / "manifest.yaml").exists()]


def registered() -> list[str]:
    """The names of all drivers."""
    return sorted(drivers())


def render(planned: Planned) -> str:
    """Resources and plan as text for people: one line a resource, one a step, differences by field."""
    lines = ["# resources", *(line for resource in planned.desired for line in _resource(resource))]
    return "\n".join([*lines, "", "# plan", *_plan(planned.plan)]) + "\n"


def _resource(resource: Resource) -> Iterator[str]:
    yield f"{resource.key}  ({resource.origin}, {resource.origin.driver})"
    for name, value in resource.data().items():
        if name == "rules":
            yield from (f"    rule {rule['comment']!r}: {rule['expr']}" for rule in value)
        elif name == "sysctls":
            yield from (f"    {path} = {setting}" for path, setting in value)
        else:
            yield f"    {name}: {_json(value)}"


def _plan(plan: Plan) -> Iterator[str]:
    for number, stage in enumerate(plan.stages, start=1):
        yield f"stage {number}"
        for batch in stage:
            for op in batch.ops:
                yield from (f"    {line}" for line in _op(op))
    yield from (f"drift: {key}" for key in plan.drift)
    yield from (f"pending: {pending.key}: {pending.reason} ({pending.origin})" for pending in plan.pending)
    yield from (f"conflict: {_problem(problem)}" for problem in plan.conflicts)
    yield from (f"warning: {_problem(problem)}" for problem in plan.warnings)
    yield summary(plan)


def _op(op: Op) -> Iterator[str]:
    reason = "" if op.reason in ("", "not there yet") else f"  because: {op.reason}"
    impact = f"  [{op.impact}]" if op.impact != "none" else ""
    yield f"{op.action} {op.key}{impact}{reason}"
    if op.action in (Action.UPDATE, Action.ADOPT):
        yield from (f"    patch {_json(change)}" for change in op.patch())
    elif op.action is Action.DELETE and op.after is not None:
        yield f"    put back {_json(op.after.data())}"
    yield from (f"    takes along {key}" for key in op.also_removes)


def _problem(problem: Problem) -> str:
    return f"{problem.origin}: {problem.message}" + (f" ({problem.hint})" if problem.hint else "")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
