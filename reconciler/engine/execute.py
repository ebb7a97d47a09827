"""Carrying out a plan: stage by stage, batch by batch; what depends on a failure is not tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from errno import EEXIST, EIO, ENOMEM

from reconciler.errors import ActuationError, CnmError
from reconciler.host.host import Host
from reconciler.planner.plan import Action, Batch, Op, Plan
from reconciler.resources.actuator import Outcome
from reconciler.resources.registry import actuators

Progress = Callable[[Op, Outcome], None]
Announce = Callable[[Batch], None]
"""Called with what is about to be done; when it raises OSError it is not done."""


def never() -> str:
    return ""


class Execution:
    """The state of one run: :meth:`run` does all but what cannot be undone, :meth:`finish` that.

    ``stop`` is asked before each batch: a reason to go no further, or "". ``carry_on`` True: what does not depend
    on a failure is still done. ``tolerant`` True, for the way back: an inventory that cannot be written does not
    stop it.
    """

    def __init__(
        self,
        host: Host,
        plan: Plan,
        progress: Progress | None = None,
        *,
        announce: Announce | None = None,
        stop: Callable[[], str] = never,
        carry_on: bool = False,
        tolerant: bool = False,
    ) -> None:
        self._host = host
        self._plan = plan
        self._progress = progress
        self._announce = announce
        self._stop = stop
        self._carry_on = carry_on or tolerant
        self._tolerant = tolerant
        self._broken: set[str] = set()
        self._final = _final(plan)
        self.done: list[Op] = []
        self.failed: list[ActuationError] = []
        self.skipped: list[Op] = []
        self.stopped = ""

    def run(self) -> None:
        """Never raises for what a step meets; see ``failed``, ``skipped`` and ``stopped``."""
        self._go(final=False)

    def finish(self) -> None:
        """The deletions that cannot be undone. Only after a run that was whole."""
        if self._final:
            self._go(final=True)

    @property
    def whole(self) -> bool:
        return not (self.failed or self.skipped or self.stopped)

    @property
    def final(self) -> tuple[Op, ...]:
        """What :meth:`finish` does."""
        return tuple(op for op in self._plan.ops() if op.id in self._final)

    def _go(self, *, final: bool) -> None:
        self._host.inventory.lenient = self._tolerant
        try:
            self._stages(final=final)
        finally:
            self._host.inventory.lenient = False

    def _stages(self, *, final: bool) -> None:
        for stage in self._plan.stages:
            for batch in stage:
                ops = [op for op in batch.ops if (op.id in self._final) is final] if self._final else list(batch.ops)
                if ops:
                    self._batch(Batch(batch.actuator, tuple(ops)))

    def _batch(self, batch: Batch) -> None:
        if not self.stopped and not self._tolerant:
            self.stopped = self._stop()
        halted = self.stopped or (self.failed and not self._carry_on)
        ready = []
        for op in batch.ops:
            if halted or not self._broken.isdisjoint(op.after_ids):
                self._broken.add(op.id)
                self.skipped.append(op)
            else:
                ready.append(op)
        if not ready:
            return
        try:
            if self._announce is not None:
                self._announce(Batch(batch.actuator, tuple(ready)))
            self._intend(ready)
        except OSError as error:
            words = f"not noted, so not done: {error.strerror or error}"
            for op in ready:
                self._settle(op, Outcome(op.id, error.errno or EIO, words))
            return
        for op, outcome in self._outcomes(batch.actuator, ready):
            self._settle(op, outcome)
        try:
            self._host.inventory.save()
        except OSError as error:
            words = f"what was done could not be noted: {error.strerror or error}"
            self.failed.append(ActuationError(str(ready[0].key), "note", error.errno or EIO, words))

    def _outcomes(self, actuator: str, ops: Sequence[Op]) -> list[tuple[Op, Outcome]]:
        """What became of each op. An actuator that breaks down leaves it unknown, and that counts as a failure."""
        outcomes: dict[str, Outcome] = {}
        unknown = (EIO, "its actuator did not say what became of it")
        try:
            for outcome in actuators()[actuator].apply(self._host, ops, self._plan.owner):
                outcomes[outcome.id] = outcome
        except OSError as error:
            unknown = (error.errno or EIO, error.strerror or str(error))
        except MemoryError:
            unknown = (ENOMEM, "out of memory")
        except CnmError as error:
            unknown = (EIO, str(error))
        return [(op, outcomes.get(op.id) or Outcome(op.id, *unknown)) for op in ops]

    def _intend(self, ops: Sequence[Op]) -> None:
        """Where marks prove nothing, the inventory must know of a thing before it exists."""
        made = self._host.inventory.made
        for op in ops:
            if op.action in (Action.CREATE, Action.ADOPT) and not op.unmarked and self._unproven(op):
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
            if outcome.errno == EEXIST:  # somebody else's; after any other failure it may be there, half-made
                inventory.made.discard(str(op.key))
            self._broken.add(op.id)
            self.failed.append(ActuationError(str(op.key), op.action, outcome.errno, outcome.text))
        else:
            self.done.append(op)
            for key in op.also_removes:
                inventory.made.discard(str(key))
                inventory.settings.pop(str(key), None)
            if op.action in (Action.DELETE, Action.RELEASE):
                inventory.made.discard(str(op.key))
        if self._progress is not None:
            with suppress(OSError):  # a terminal that is gone must not stop what is under way
                self._progress(op, outcome)


def _final(plan: Plan) -> frozenset[str]:
    """Ids of the deletions that cannot be undone and that nothing else waits for."""
    found = {op.id for op in plan.ops() if op.action is Action.DELETE and type(op.resource).final}
    if found:
        for op in plan.ops():
            if op.id not in found:
                found.difference_update(op.after_ids)
    return frozenset(found)
