"""Carrying out a plan: stage by stage, batch by batch; what depends on a failure is not tried."""

from __future__ import annotations

from collections.abc import Callable

from reconciler.errors import ActuationError
from reconciler.host.host import Host
from reconciler.planner.plan import Action, Op, Plan
from reconciler.resources.actuator import Outcome
from reconciler.resources.registry import actuators

Progress = Callable[[Op, Outcome], None]


class Execution:
    """The state of one run. :meth:`run` may be called once."""

    def __init__(self, host: Host, plan: Plan, progress: Progress | None) -> None:
        self._host = host
        self._plan = plan
        self._progress = progress
        self.done: list[Op] = []
        self.failed: list[ActuationError] = []
        self.skipped: list[Op] = []

    def run(self) -> None:
        """Never raises for what a single op meets; see ``failed`` and ``skipped``."""
        broken: set[str] = set()
        hands = actuators()
        for stage in self._plan.stages:
            for batch in stage:
                ready = []
                for op in batch.ops:
                    if broken.isdisjoint(op.after_ids):
                        ready.append(op)
                    else:
                        broken.add(op.id)
                        self.skipped.append(op)
                if not ready:
                    continue
                self._intend(ready)
                outcomes = {
                    outcome.id: outcome for outcome in hands[batch.actuator].apply(self._host, ready, self._plan.owner)
                }
                for op in ready:
                    outcome = outcomes.get(op.id, Outcome(op.id, 5, "its actuator did not say what became of it"))
                    self._settle(op, outcome)
                    if outcome.errno:
                        broken.add(op.id)
                self._host.inventory.save()

    def _intend(self, ops: list[Op]) -> None:
        """Where marks prove nothing, the inventory must know of a thing before it exists."""
        made = self._host.inventory.made
        for op in ops:
            if op.action in (Action.CREATE, Action.ADOPT) and self._unproven(op):
                made.add(str(op.key))
        self._host.inventory.save()

    def _unproven(self, op: Op) -> bool:
        """A mark proves something in our own namespaces only, and on an address only together with its interface's."""
        marked, netns = type(op.resource).marked, op.key.netns
        if not marked:
            return False
        if marked == "inventory" or (netns and netns not in self._host.inventory.netns):
            return True
        if marked == "itself":
            return False
        namespace = self._host.netns(netns) if netns in self._host.open_namespaces() else None
        dev = getattr(op.resource, "dev", None)
        index = namespace.index.get(dev) if namespace is not None and dev else None
        return namespace is None or index is None or namespace.owners.get(index) != self._plan.owner

    def _settle(self, op: Op, outcome: Outcome) -> None:
        inventory = self._host.inventory
        if outcome.errno:
            if op.action is Action.CREATE:
                inventory.made.discard(str(op.key))
            self.failed.append(ActuationError(str(op.key), op.action, outcome.errno, outcome.text))
        else:
            self.done.append(op)
            for key in op.also_removes:
                inventory.made.discard(str(key))
                inventory.settings.pop(str(key), None)
            if op.action is Action.DELETE:
                inventory.made.discard(str(op.key))
        if self._progress is not None:
            self._progress(op, outcome)
