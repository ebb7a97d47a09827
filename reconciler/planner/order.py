"""The order of a plan: stages of batches, as few as the dependencies allow.

Creations go as early as they can, deletions that nobody waits for go last (make before break).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from reconciler.errors import CycleError, Problem
from reconciler.planner.plan import Action, Batch, Op
from reconciler.resources.resource import Claim, Key

Edges = dict[str, set[str]]  # op id -> ids that must come first


def arrange(ops: Sequence[Op]) -> tuple[tuple[Batch, ...], ...]:
    """Stages for ``ops``, each op with its ``after_ids`` filled in. Raises CycleError."""
    before = _edges(ops)
    unit_of, levels = _levels(ops, before)
    stages: dict[int, dict[str, list[Op]]] = {}
    for op in ops:
        level = levels[unit_of[op.id]]
        settled = _with_after(op, before.get(op.id, ()))
        stages.setdefault(level, {}).setdefault(type(op.resource).batch, []).append(settled)
    return tuple(
        tuple(Batch(name, tuple(batch)) for name, batch in sorted(stage.items()))
        for _level, stage in sorted(stages.items())
    )


def _with_after(op: Op, ids: Iterable[str]) -> Op:
    after = tuple(sorted(ids))
    if not after:
        return op
    return Op(
        op.id,
        op.action,
        op.key,
        op.before,
        op.after,
        op.reason,
        op.impact,
        op.also_removes,
        after,
        op.origin,
        op.recreate,
        op.unmarked,
    )


class _Index:
    """Where each key, claim and group is made and unmade."""

    def __init__(self, ops: Sequence[Op]) -> None:
        self.makes: dict[Key, str] = {}
        self.unmakes: dict[Key, str] = {}
        self.releases: dict[Claim, list[str]] = {}
        self.groups: dict[tuple[str, Key], list[str]] = {}
        self.guards_up: list[Op] = []
        self.guarded_down: list[str] = []
        self._first_down: dict[tuple[str, str], str] = {}
        for op in ops:
            resource = op.resource
            if op.action is Action.DELETE:
                self.unmakes[op.key] = op.id
            if op.action is Action.DELETE and not resource.setting:
                for key in op.also_removes:
                    self.unmakes.setdefault(key, op.id)
                for claim in resource.claims():
                    self.releases.setdefault(claim, []).append(op.id)
                if resource.guard and type(resource).transaction:
                    self._first_down.setdefault((type(resource).batch, op.key.netns), op.id)
                if resource.guarded():
                    self.guarded_down.append(op.id)
                continue
            if op.action is not Action.DELETE:
                self.makes[op.key] = op.id
            if resource.guard:
                self.guards_up.append(op)
            group = resource.group()
            if group is not None:
                self.groups.setdefault((resource.kind, group), []).append(op.id)

    def behind_guard(self, op: Op) -> Collection[str]:
        """What must be gone before this guard goes. The first of a transaction waits for all that is guarded, the
        others, which come after it in the same step, for that one: n edges and not n squared."""
        first = self._first_down.get((type(op.resource).batch, op.key.netns), op.id)
        return self.guarded_down if first == op.id else (first,)


def _edges(ops: Sequence[Op]) -> Edges:
    index = _Index(ops)
    makes = index.makes
    before: Edges = {}
    guarded: list[str] = []
    for op in ops:
        first: set[str] = set()
        resource = op.resource
        if op.action is Action.DELETE:
            for need in resource.needs():  # what stands on something goes, or is put back, before it
                for key in need.keys:
                    parent = index.unmakes.get(key)
                    if parent is not None and parent != op.id:
                        before.setdefault(parent, set()).add(op.id)
        if op.action is Action.DELETE and not resource.setting:
            if resource.guard:
                first.update(index.behind_guard(op))
        else:
            for need in resource.needs():
                for key in need.keys:
                    if key in makes:
                        first.add(makes[key])
            for claim in resource.claims():
                first.update(index.releases.get(claim, ()))
            if op.key in index.unmakes:
                first.add(index.unmakes[op.key])
            group = resource.group()
            if group is not None:
                for kind in resource.follows:
                    first.update(index.groups.get((kind, group), ()))
            if resource.guarded() and op.action is Action.CREATE:
                guarded.append(op.id)
        first.discard(op.id)
        if first:
            before.setdefault(op.id, set()).update(first)
    if guarded:
        guards = _spokesmen(index.guards_up, before)
        for op_id in guarded:
            before.setdefault(op_id, set()).update(guards - {op_id})
    return before


def _spokesmen(guards: Sequence[Op], before: Edges) -> set[str]:
    """Ids to wait for so that all ``guards`` are waited for.

    In one transaction of one namespace all succeed or none does, so one op speaks for all, unless some of them wait
    for something outside, and might be left out of the transaction. With a few filters an endpoint this is n edges
    and not n squared: a plan of 1,000 endpoints takes 0.5 s, and took 5.
    """
    together: dict[tuple[str, str], list[Op]] = {}
    found: set[str] = set()
    for op in guards:
        if type(op.resource).transaction:
            together.setdefault((type(op.resource).batch, op.key.netns), []).append(op)
        else:
            found.add(op.id)
    for members in together.values():
        inside = {op.id for op in members}
        alone = all(before.get(op.id, inside) <= inside for op in members)
        found.update([members[0].id] if alone else inside)
    return found


def _levels(ops: Sequence[Op], before: Edges) -> tuple[dict[str, str], dict[str, int]]:
    """Ops in units (a transaction, a veth with its other end) and the stage of each unit."""
    by_key = {op.key: op.id for op in ops if op.action is not Action.DELETE}
    for split in (False, True):
        unit_of = {op.id: _unit(op, by_key, split) for op in ops}
        ahead: dict[str, set[str]] = {unit: set() for unit in unit_of.values()}
        for op_id, firsts in before.items():
            unit = unit_of[op_id]
            ahead[unit].update(unit_of[first] for first in firsts)
            ahead[unit].discard(unit)
        levels = _longest_paths(ahead)
        if levels is not None:
            return unit_of, _late(ops, unit_of, ahead, levels)
    raise CycleError(_cycle(ops, before))


def _unit(op: Op, by_key: dict[Key, str], split: bool) -> str:
    resource = op.resource
    if type(resource).transaction:
        # One transaction for all, unless that would have to come both before and after something else.
        part = ("/-" if op.action is Action.DELETE else "/+") if split else ""
        return f"transaction:{type(resource).batch}{part}"
    maker = resource.made_by() if op.action is Action.CREATE else None
    return by_key.get(maker, op.id) if maker is not None else op.id


def _longest_paths(ahead: dict[str, set[str]]) -> dict[str, int] | None:
    """Each unit's distance from the start; None when they wait for each other."""
    waiting = {unit: len(firsts) for unit, firsts in ahead.items()}
    behind: dict[str, list[str]] = {}
    for unit, firsts in ahead.items():
        for first in firsts:
            behind.setdefault(first, []).append(unit)
    levels = dict.fromkeys(ahead, 0)
    ready = [unit for unit, count in waiting.items() if not count]
    done = 0
    while ready:
        unit = ready.pop()
        done += 1
        for later in behind.get(unit, ()):
            levels[later] = max(levels[later], levels[unit] + 1)
            waiting[later] -= 1
            if not waiting[later]:
                ready.append(later)
    return levels if done == len(ahead) else None


def _late(
    ops: Sequence[Op], unit_of: dict[str, str], ahead: dict[str, set[str]], levels: dict[str, int]
) -> dict[str, int]:
    """Push units of nothing but deletions as far back as what waits for them lets them."""
    deletions = {unit_of[op.id] for op in ops if op.action is Action.DELETE}
    deletions -= {unit_of[op.id] for op in ops if op.action is not Action.DELETE}
    last = max(levels.values(), default=0)
    behind: dict[str, list[str]] = {}
    for unit, firsts in ahead.items():
        for first in firsts:
            behind.setdefault(first, []).append(unit)
    for unit in sorted(deletions, key=lambda unit: -levels[unit]):
        levels[unit] = min((levels[later] - 1 for later in behind.get(unit, ())), default=last)
    return levels


def _cycle(ops: Sequence[Op], before: Edges) -> list[Problem]:
    """The ops that are left when all that can be ordered is taken away."""
    left = {op.id: set(before.get(op.id, ())) for op in ops}
    while True:
        free = [op_id for op_id, firsts in left.items() if not firsts & left.keys()]
        if not free:
            break
        for op_id in free:
            del left[op_id]
    stuck = [op for op in ops if op.id in left]
    return [
        Problem(op.origin, f"{op.action} {op.key} waits for {', '.join(sorted(left[op.id] & left.keys()))}")
        for op in stuck
    ]
