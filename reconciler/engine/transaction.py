"""One run against a host, from its journal to its commit, or back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from errno import EEXIST
from time import perf_counter
from typing import Any

from msgspec.structs import replace

from reconciler.engine.before import before, from_record, to_record
from reconciler.engine.execute import Execution, Progress, never
from reconciler.engine.observe import Part, observe, remember_sources
from reconciler.engine.result import Planned, Recovery, Report, Rollback
from reconciler.engine.rollback import roll_back
from reconciler.errors import CnmError, StateError
from reconciler.host.host import Host
from reconciler.host.journal import Journal, forget, read_journal
from reconciler.planner.diff import make_plan
from reconciler.planner.plan import Action, Batch, Observation
from reconciler.planner.seen import SeenIndex
from reconciler.resources.resource import Key
from reconciler.topology.view import NodeFacts

Look = Callable[[frozenset[str]], Observation]


class Transaction:
    """Under the host's lock: :meth:`run`, then :meth:`commit` or :meth:`undo`, once.

    Whenever the process ends in between, the journal is left, and :func:`recover` brings the host back to what
    it was; or, when the commit had begun, through to its end. Deletions that cannot be undone (of namespaces, in
    which others may live) are done by the commit, when everything else was found to hold.
    """

    def __init__(
        self,
        host: Host,
        planned: Planned,
        *,
        purpose: str = "apply",
        progress: Progress | None = None,
        stop: Callable[[], str] = never,
        carry_on: bool = False,
        look: Look | None = None,
    ) -> None:
        """``look`` is how to look at the host after the run, all but some namespaces, instead of reading all of it.
        Raises StateError when no journal can be kept; then nothing was touched."""
        self._host = host
        self._look = look
        self._planned = planned
        self._before = before(planned.plan, planned.observation, host.inventory.settings)
        self.seconds: dict[str, float] = {}
        clock = perf_counter()
        about = {"purpose": purpose, "node": planned.plan.node, "pid": os.getpid(), "since": _now()}
        first = {"record": "begin", **about, **to_record(self._before)}
        self._journal = Journal.begin(host.state_dir, host.identity, first, host.step)
        self._run = Execution(host, planned.plan, progress, announce=self._announce, stop=stop, carry_on=carry_on)
        self._making: set[Key] = set()
        self._committed = False
        self.left: tuple[str, ...] = ()
        self.reason = ""
        self.rollback: Rollback | None = None
        self.seconds["journal"] = perf_counter() - clock

    def _announce(self, batch: Batch) -> None:
        self._journal.record({"record": "batch", "ops": [op.id for op in batch.ops]})
        self._making.update(op.key for op in batch.ops if op.action is Action.CREATE)

    def run(self) -> bool:
        """Do all that can be undone, and look whether it holds. Never raises: a surprise is a failure."""
        clock = perf_counter()
        try:
            remember_sources(self._host, self._planned.desired)
            self._run.run()
            self.seconds["execute"] = perf_counter() - clock
            if self._run.whole:
                clock = perf_counter()
                self.left = self._verify()
                self.seconds["verify"] = perf_counter() - clock
        except (CnmError, OSError, MemoryError) as error:
            self.reason = f"{error}" if isinstance(error, CnmError) else f"{type(error).__name__}: {error}"
        self.reason = self.reason or self._run.stopped
        return self.holds

    @property
    def holds(self) -> bool:
        return self._run.whole and not self.left and not self.reason

    def _verify(self) -> tuple[str, ...]:
        """What a second look at the keys of the plan still finds different."""
        doomed = {op.key for op in self._run.final}
        planned, host = self._planned, self._host
        names = frozenset(key.name for key in doomed if key.kind == "netns")
        if self._look is not None:
            return differences(planned, self._look(names), doomed)
        part = Part.of(planned.plan)
        observation = observe(host, planned.desired, planned.observation.facts, names, part)
        tidy(host, observation, names, part)
        return differences(planned, observation, doomed)

    def commit(self) -> None:
        """What holds, stays. Only now goes what could not be brought back. A commit that cannot be noted is
        undone instead."""
        try:
            if self._run.final:
                clock = perf_counter()
                self._journal.record({"record": "commit"})
                self._committed = True
                self._run.finish()
                self.seconds["finish"] = perf_counter() - clock
                if self._run.whole:
                    with suppress(OSError):  # whoever finds it knows that all is done
                        self._end()
                elif any(op in self._run.final for op in self._run.done):
                    self._journal.close()  # there is no way back: the next run goes on from here
                else:
                    self.undo()
            else:
                self._end()
        except OSError as error:  # whoever finds the journal would undo the run: so we do
            self.undo(f"{self._journal.path}: {error.strerror or error}")

    def undo(self, reason: str = "") -> None:
        """Return the host to what it was."""
        self.reason = self.reason or reason
        if self._committed:
            with suppress(OSError):
                self._journal.record({"record": "undo"})
        taken = {failure.key for failure in self._run.failed if failure.errno == EEXIST}
        making = frozenset(key for key in self._making if str(key) not in taken)
        self.rollback = roll_back(self._host, self._before, making)
        self.seconds["rollback"] = self.rollback.seconds
        if self.rollback.unseen:  # out of memory, say: another process may have more
            self._journal.close()
            return
        with suppress(OSError):  # going back twice does no harm
            self._end()
        self._tidy_after()

    def leave(self, reason: str = "") -> None:
        """Keep what was done, although it is not whole: the user wants to see it."""
        self.reason = self.reason or reason
        self._end()

    def _end(self) -> None:
        self._journal.end(last=self._host.inventory.empty)

    def abandon(self) -> None:
        """Close the journal without ending it: somebody else will undo the run."""
        self._journal.close()

    def _tidy_after(self) -> None:
        """The journal is gone and gave its room back: what is remembered must be right again."""
        assert self.rollback is not None
        with suppress(CnmError, OSError):
            tidy(self._host, observe(self._host, (), self._planned.observation.facts))
        inventory = self._host.inventory
        if inventory.trouble:
            words = f"{inventory.path} could not be written: {inventory.trouble}"
            self.rollback = replace(self.rollback, left=(*self.rollback.left, words))

    def report(self) -> Report:
        run = self._run
        return Report(
            self._planned.plan,
            tuple(run.done),
            tuple(run.failed),
            tuple(run.skipped),
            self.left,
            self.seconds,
            self.reason,
            self.rollback,
        )


def differences(
    planned: Planned, observation: Observation, doomed: frozenset[Key] | set[Key] = frozenset()
) -> tuple[str, ...]:
    """What the keys of a plan still lack; those that are still to be deleted left out."""
    touched = {op.key for op in planned.plan.ops()} - doomed
    rest = make_plan(planned.desired, observation, owner=planned.plan.owner, node=planned.plan.node, only=touched)
    found = [
        f"{op.action} {op.key}: {op.reason}" if op.reason else f"{op.action} {op.key}"
        for op in rest.ops()
        if op.key in touched
    ]
    found += [f"{pending.key} is missing: {pending.reason}" for pending in rest.pending if pending.key in touched]
    if rest.conflicts:
        names = set(map(str, touched))
        found += [problem.message for problem in rest.conflicts if problem.message.split()[0] in names]
    return tuple(found)


def tidy(host: Host, observation: Observation, without: frozenset[str] = frozenset(), part: Part | None = None) -> None:
    """Forget what the inventory remembers of things that are gone; ``without`` was not looked at, nor, with ``part``,
    what is not of it. Raises OSError."""
    inventory = host.inventory
    without |= observation.unread.keys()

    def gone(text: str) -> bool:
        key = Key.parse(text)
        return key not in observation.items and key.netns not in without and (part is None or part.has(key))

    inventory.made -= {text for text in inventory.made if gone(text)}
    for noted in (inventory.settings, inventory.secrets):
        for text in [text for text in noted if gone(text)]:
            del noted[text]
    used = {Key.parse(text).netns for text in (*inventory.made, *inventory.settings)}
    for name in [name for name in inventory.sources if name not in used]:
        del inventory.sources[name]
    for name in [name for name in inventory.netns if name not in without]:
        key = Key("netns", "", name)
        if key in observation.items or (part is not None and not part.has(key)):
            continue
        host.sweep(name)
        del inventory.netns[name]
    used = {key.name.partition("/")[0] for key, seen in observation.items.items() if key.kind == "mo" and seen.owner}
    whole = part is None or part.has(Key("mo", "", ""))
    looked_at = {key.name for key in observation.items if key.kind == "fabric"} if whole else set()
    for name in inventory.remotes.keys() & looked_at - used:
        del inventory.remotes[name]
    inventory.save()


def interrupted(host: Host) -> dict[str, Any] | None:
    """The first record of a run that was interrupted here; None when there is none. Raises StateError."""
    records = read_journal(Journal.path_of(host.state_dir, host.identity))
    return records[0] if records else None


def recover(host: Host) -> Recovery | None:
    """Under the lock: undo a run that was interrupted; finish it when it had come to its commit. None when there
    is none. ``host`` is of the owner whose run it was. Raises StateError for a journal that cannot be read."""
    path = Journal.path_of(host.state_dir, host.identity)
    records = read_journal(path)
    if records is None:
        return None
    if not records:  # killed before the first record was whole: nothing had been touched
        forget(path)
        return None
    first = records[0]
    then = from_record(first)
    if then.owner != host.owner:
        raise StateError(f"{path}: a run of owner {then.owner} was interrupted here; say --owner {then.owner}")
    ends = [record["record"] for record in records if record.get("record") in ("commit", "undo")]
    committed = ends[-1:] == ["commit"]
    made = [op.partition(":") for record in records if record.get("record") == "batch" for op in record["ops"]]
    making = frozenset(Key.parse(key) for action, _, key in made if action == Action.CREATE)
    rollback = _finish(host, then.final) if committed else roll_back(host, then, making)
    if rollback.unseen:
        return Recovery(about(first), committed, rollback)
    with suppress(CnmError, OSError):  # what is remembered of things that are gone does no harm
        tidy(host, observe(host, (), NodeFacts()))
    (host.state_dir / f"try-{host.identity}").unlink(missing_ok=True)  # the door of a guardian that was killed
    forget(path)
    return Recovery(about(first), committed, rollback)


def _finish(host: Host, doomed: Collection[Key]) -> Rollback:
    """Do the deletions of a commit that was interrupted."""
    clock = perf_counter()
    now = observe(host, (), NodeFacts())
    kept = [seen.resource for key, seen in now.items.items() if seen.owner == host.owner and key not in doomed]
    along = SeenIndex(now.items).closure(doomed)
    plan = make_plan([resource for resource in kept if resource.key not in along], now, owner=host.owner)
    run = Execution(host, plan, tolerant=True)
    if not plan.conflicts:
        run.run()
        run.finish()
    left = [f"{key} is still there" for key in doomed if key.kind == "netns" and host.find(key.name, "named")]
    failed = [*(problem.message for problem in plan.conflicts), *map(str, run.failed)]
    return Rollback(tuple(run.done), tuple(failed), tuple(left), perf_counter() - clock)


def about(first: dict[str, Any]) -> str:
    """Which run a journal is of, in words."""
    return f"{first.get('purpose', 'run')} of owner {first.get('owner')} (process {first.get('pid')}, since {first.get('since')})"


def _now() -> str:
    return time.strftime("%FT%TZ", time.gmtime())
