"""The loop: whatever happened, look at what may have changed, and bring it to what is wanted.

Level-triggered: events say where to look, never what to do. One thread does all of it.
"""

from __future__ import annotations

import random
import select
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.engine.controller import NetworkController
from reconciler.engine.doctor import require_capabilities, require_kernel
from reconciler.engine.following import Following
from reconciler.engine.garbage import look_through, seldom_collected
from reconciler.engine.guard import check_mass
from reconciler.engine.observe import observe, usual_settings
from reconciler.engine.result import Planned, PlanOptions, Report
from reconciler.engine.watch.culprit import Culprits
from reconciler.engine.watch.folder import Folder
from reconciler.engine.watch.life import Life
from reconciler.engine.watch.metrics import Metrics
from reconciler.engine.watch.pace import Limits, Pace
from reconciler.engine.watch.picture import Dirty, Picture
from reconciler.engine.watch.publish import revision
from reconciler.engine.watch.situation import Mode, Situation
from reconciler.engine.watch.switch import RETRY, Switch
from reconciler.errors import CnmError, GuardError, LockError, ManifestError, ObservationError, PlanError, Problem
from reconciler.host.monitor import Monitor
from reconciler.manifest.source import Found
from reconciler.planner.diff import make_plan
from reconciler.planner.plan import Observation, Op, Plan
from reconciler.resources.resource import Key, Resource

_QUIET, _BURST = 0.002, 0.02  # seconds: without an event; in all
_SOON = 0.2  # seconds until a file that is being written, or a host that is held, is looked at again
_LONGEST = 30.0  # seconds that the loop ever sleeps


class Source(Protocol):
    """Something else that is served by the loop: an API's socket."""

    def fileno(self) -> int: ...
    def serve(self) -> None: ...


class Settings(Struct, frozen=True):
    """``interval``: seconds between two looks at everything, a fifth more or less at random. ``applied`` gives the
    manifests that were last applied, ``remember`` stores these texts as such."""

    mode: Mode = Mode.APPLY
    interval: float = 60.0
    limits: Limits = field(default=Limits())
    allow_empty: bool = False
    allow_mass_delete: bool = False
    applied: Callable[[], Sequence[str]] = tuple
    remember: Callable[[Found], str] = lambda _found: ""


class Tell(Protocol):
    """What happens, as it happens: a word, and what belongs to it."""

    def __call__(self, event: str, **about: Any) -> None: ...


class Watch:
    """Made in the host's namespace; :meth:`run` until ``stop`` gives a reason."""

    def __init__(
        self,
        controller: NetworkController,
        sources: Sequence[str],
        settings: Settings,
        tell: Tell,
    ) -> None:
        self._controller = controller
        self._sources = list(sources)
        self._settings = settings
        self._tell = tell
        require_kernel()
        host = controller.host
        self._epoll = select.epoll()
        self._monitor = Monitor(host.root)
        self._picture = Picture(host, self._monitor, controller.node)
        self._life = Life(host, self._register, self._unregister)
        self._switch = Switch(host, self._register, self._unregister)
        self._following = Following(controller, PlanOptions(locked=True, allow_empty=settings.allow_empty))
        self._folder = Folder(self._sources, self._following.memory.texts)
        self._pace = Pace(settings.limits)
        self._culprits = Culprits()
        self._dirty = Dirty(everything=True)
        self._open: set[Key] = set()  # what does not hold yet, for whatever reason
        self._desired: Mapping[Key, Resource] = self._following.desired
        self._load_due = True
        self._fresh: set[Key] = set()  # wanted otherwise since the last plan
        self._stamp = b""
        self._look_at = 0.0
        self._again_at = 0.0
        self._began = 0.0
        self._meanwhile: set[Key] = set()  # what changed while something else was repaired
        self._others: dict[int, Source] = {}
        self._told: set[str] = set()
        self._dirty_facts = False
        self._under_way: tuple[Op, ...] = ()
        self._failing: dict[Key, str] = {}
        self._commit = ""
        self.situation = Situation(settings.mode)
        self.metrics = Metrics()
        for fd in (*self._monitor.filenos(), self._folder.fileno()):
            self._register(fd, select.EPOLLIN)

    def close(self) -> None:
        self._folder.close()
        self._life.close()
        self._switch.close()
        self._monitor.close()
        self._epoll.close()

    def serve(self, source: Source) -> None:
        """Let the loop serve another descriptor."""
        self._others[source.fileno()] = source
        self._register(source.fileno(), select.EPOLLIN)

    def _register(self, fd: int, mask: int) -> None:
        self._epoll.register(fd, mask)

    def _unregister(self, fd: int) -> None:
        with suppress(OSError, ValueError):
            self._epoll.unregister(fd)

    def snapshot(self) -> Observation:
        """All that is on the host, for planning elsewhere. Looks at everything."""
        host, desired = self._controller.host, tuple(self._desired.values())
        return observe(host, (*desired, *usual_settings(host, desired)), self._picture.facts)

    # -- the loop ---------------------------------------------------------------------------------------------

    def run(self, stop: Callable[[], str], beat: Callable[[], None] = lambda: None) -> None:
        """``beat`` is called at least every half minute while all is well with the loop itself."""
        while not stop():
            self._turn()
            beat()
            if stop():
                break
            self._listen(self._patience())

    def _patience(self) -> float:
        now = time.monotonic()
        waits = [_LONGEST, max(0.0, self._look_at - now)]
        if self._folder.due and not self._load_due:
            waits.append(0.0)
        if self._again_at:
            waits.append(max(0.0, self._again_at - now))
        held = self._pace.next(self._open, now)
        if held is not None:
            waits.append(held)
        docker = self._life.due(now)
        if docker is not None:
            waits.append(docker)
        if self._meanwhile:
            waits.append(0.0)
        if self._switch.waiting:
            waits.append(RETRY)
        if self._dirty or self._fresh:
            waits.append(_SOON)
        return min(waits)

    def _listen(self, patience: float) -> None:
        """Wait for something to happen, and until it has come to rest for a moment."""
        until, longest = 0.0, time.monotonic() + patience
        while True:
            ready = self._epoll.poll(patience)
            fds = [fd for fd, _mask in ready]
            if self._folder.fileno() in fds:
                self._folder.hear()
            for fd in fds:
                if fd in self._others:
                    self._others[fd].serve()
            if fds or not until:  # else there was nothing for a moment
                self._hear(fds)
            now = time.monotonic()
            if fds == [self._folder.fileno()] and not (self._folder.due or self._dirty):  # no manifest
                patience = min(self._patience(), max(0.0, longest - now))
                continue
            until = until or now + _BURST
            if not fds or now >= until or not self._dirty:
                return
            patience = _QUIET

    def _hear(self, ready: Iterable[int] = ()) -> None:
        heard = self._monitor.heard()
        if heard is None:
            self.metrics.overflows.inc()
            self._tell("overflow", message="the kernel dropped events; all is looked at again")
        else:
            self._culprits.note(heard)
        self._picture.note(heard, self._dirty)
        self._dirty.spaces |= self._life.changed(ready)
        self._dirty.parts |= self._switch.changed(ready)
        if self._switch.wanted and self._dirty.links:  # a port is as good as the interface that it stands on
            self._dirty.parts.add(("", "ovsdb"))

    @seldom_collected
    def _turn(self) -> None:
        """One pass. Whatever goes wrong in it is told, and tried again later."""
        now = self._began = time.monotonic()
        self._again_at = 0.0
        if now >= self._look_at:
            self._dirty.everything = True
            if self._settings.mode is not Mode.HEAL:
                self._folder.doubt()
        if self._folder.due:
            self._load_due = True
        try:
            changed: set[Key] = set()
            known = self._following.topology is not None
            if known:
                changed = self._look()
            else:
                self._picture.glance()
            if self._load_due or (self._dirty_facts and known):
                self._load()
                changed |= self._look()  # what newly wanted things look like
            elif not known:
                changed = self._look()
            self._reconcile(changed)
        except LockError as error:
            self._trouble("locked", str(error), _SOON)
        except (CnmError, OSError) as error:
            self._dirty.everything = self._dirty.everything or isinstance(error, (ObservationError, OSError))
            self._trouble("trouble", str(error), 1.0)

    def _trouble(self, event: str, words: str, patience: float) -> None:
        self._again_at = time.monotonic() + patience
        self._once(event, words)
        self.situation = replace(self.situation, ready=True, trouble=words)

    def _once(self, event: str, words: str, **about: Any) -> None:
        """Tell what goes on for long only when it begins."""
        if words not in self._told:
            self._told.add(words)
            self._tell(event, message=words, **about)

    def _look(self) -> set[Key]:
        """Bring the picture up to date; what changed in it."""
        stamp = self._controller.stamp()
        if stamp != self._stamp:  # another cnm was here: its inventory tells what is ours now
            self._stamp = stamp
            self._dirty.everything = True
        if not self._dirty:
            return set()
        dirty, self._dirty = self._dirty, Dirty()
        facts = self._picture.facts
        try:
            changed = self._picture.refresh(dirty)
        except BaseException:
            self._dirty.everything = True
            raise
        if dirty.everything:  # once in a while nothing is taken to be right because it was so before
            changed = self._picture.items.keys() | self._desired.keys()
            self.metrics.looks.inc()
            spread = self._settings.interval * random.uniform(0.8, 1.2)  # noqa: S311 - hosts are not to beat in time
            self._look_at = time.monotonic() + spread
            self._pace.tidy(time.monotonic())
            look_through()
        if dirty.everything or dirty.spaces:
            self._life.follow()
        self._switch.follow()
        self._dirty_facts = self._dirty_facts or self._picture.facts != facts
        return changed

    # -- what is wanted ---------------------------------------------------------------------------------------

    def _load(self) -> None:
        """Take over the files, or keep the last good state of them and say why."""
        mode, first = self._settings.mode, self._following.topology is None
        found: Found | None = None
        settled = self._folder.settled() if self._load_due else True
        if self._load_due and mode is not Mode.HEAL:
            if settled is None:
                self._again_at = time.monotonic() + _SOON
                return
            if not settled and not self._dirty_facts and not first:
                self._load_due = False
                return
            found = self._folder.found
        self._load_due = self._dirty_facts = False
        sources: Sequence[str] = self._sources
        if mode is Mode.HEAL:
            sources = self._settings.applied() or self._sources
        try:
            self._take(sources, found)
        except (ManifestError, PlanError) as error:
            self._refuse(error)
            copy = self._settings.applied()
            if first and copy and list(copy) != list(sources):
                self._tell("applied", message="the last applied manifests are kept up instead")
                with suppress(ManifestError, PlanError):
                    self._take(copy)
            return
        if self.situation.invalid:
            self._tell("valid", message="the manifests are valid again")
        self._told.clear()
        self.situation = replace(self.situation, invalid=(), trouble="")

    def _refuse(self, error: ManifestError | PlanError) -> None:
        """Nothing is pruned, nothing is changed because of files that make no sense; what is kept up stays so."""
        self.situation = replace(self.situation, invalid=error.problems)
        self.metrics.invalid.inc()
        kept = "the last good state is kept" if self._following.topology is not None else "nothing is changed"
        self._once("invalid", f"{error}", problems=[str(problem) for problem in error.problems], kept=kept)

    def _take(self, sources: Sequence[str], found: Found | None = None) -> None:
        fresh = self._following.take(sources, self._picture.facts, found)
        self._picture.want(fresh, self._desired)
        self._life.want(fresh, self._desired)
        self._switch.want(fresh, self._desired)
        self._fresh |= fresh
        self._pace.forgive(fresh)
        self._dirty_for(fresh)

    def _dirty_for(self, keys: Iterable[Key]) -> None:
        """Look at what is newly wanted: some things are read only because somebody wants them."""
        kinds = self._picture.batch_of
        root = self._controller.host.root
        for key in keys:
            if key.kind == "netns":
                self._dirty.spaces.add(key.name)
            elif key.kind == "link" and not key.netns:
                if key.name in root.index:
                    self._dirty.links.add(root.index[key.name])
            else:
                self._dirty.parts.add((key.netns, kinds(key.kind)))

    # -- what is done -----------------------------------------------------------------------------------------

    def _reconcile(self, changed: set[Key]) -> None:
        if self._following.topology is None:
            return
        now = time.monotonic()
        keys = changed | self._open | self._fresh | self._meanwhile
        self._meanwhile = set()
        if not keys:
            self._settle(self._plan(()), {}, now)
            return
        waiting = {key for key in keys if not self._pace.ready(key, now)}
        plan, blocked = self._sorted_out(keys - waiting)
        self.metrics.plan_seconds.observe(time.monotonic() - self._began)
        following = bool(self._fresh)
        self._fresh = set()
        touched = {op.key for op in plan.ops()}
        self._open = waiting | blocked.keys() | {pending.key for pending in plan.pending} | touched
        if plan.empty or self._settings.mode is Mode.OBSERVE:
            self._drifted(plan)
            self._settle(plan, blocked, now)
            if following and plan.empty:
                self._applied()
            return
        self._carry_out(plan, following)
        self._settle(self._plan(self._open), blocked, time.monotonic())

    def _plan(self, keys: Collection[Key]) -> Plan:
        controller = self._controller
        if not keys:
            return Plan(controller.owner, controller.node)
        return make_plan(
            self._desired,
            self._picture.observation(),
            owner=controller.owner,
            node=controller.node,
            only=frozenset(keys),
            index=self._picture.index,
        )

    def _sorted_out(self, keys: set[Key]) -> tuple[Plan, dict[Key, Problem]]:
        """A plan without what stands in somebody else's way: one conflict must not keep all else from being repaired."""
        blocked: dict[Key, Problem] = {}
        while True:
            plan = self._plan(keys)
            if not plan.conflicts:
                return plan, blocked
            for problem in plan.conflicts:
                named = [
                    key for key in keys if str(key) in problem.message.split() or str(key) + "," in problem.message
                ]
                about = [key for key in keys if (wanted := self._desired.get(key)) and wanted.origin == problem.origin]
                for key in named or about or keys:
                    blocked.setdefault(key, problem)
            keys = keys - blocked.keys()

    def _carry_out(self, plan: Plan, following: bool) -> None:
        controller = self._controller
        after = tuple(op.after for op in plan.ops() if op.after is not None)
        planned = Planned(plan, self._picture.observation(), after, stamp=self._stamp)
        topology = self._following.topology
        assert topology is not None
        if following and not self._settings.allow_mass_delete:
            try:
                check_mass(replace(planned, desired=tuple(islice(self._desired.values(), 1))), 0.5)
            except GuardError as error:
                self._trouble("refused", str(error), _LONGEST)
                return
        if following:
            require_capabilities(controller.host, topology, plan)
        self._drifted(plan)
        with controller.changing("watch"):
            if not controller.undisturbed(self._stamp):
                self._dirty.everything = True
                self._again_at = time.monotonic()
                return
            report = controller.execute(planned, purpose="watch", look=self._look_after)
        self._stamp = controller.stamp()
        self._account(report, following)

    def _look_after(self, _without: frozenset[str]) -> Any:
        self._hear()
        self._dirty_for(op.key for op in self._under_way)
        dirty, self._dirty = self._dirty, Dirty()  # after many changes events may be lost: then all is looked at
        self._meanwhile |= self._picture.refresh(dirty)
        return self._picture.observation()

    def _drifted(self, plan: Plan) -> None:
        self._under_way = tuple(plan.ops())
        known = set(self.situation.drift)
        for op in self._under_way:
            if op.key not in known:
                self.metrics.drift.inc(op.key in plan.drift)
                kind = type(op.resource)
                who = self._culprits.of(op.key, kind.batch)
                self._tell("drift" if op.key in plan.drift else "change", key=str(op.key), action=str(op.action),
                           reason=op.reason, by=who)  # fmt: skip

    def _account(self, report: Report, following: bool) -> None:
        now = time.monotonic()
        done = {op.key for op in report.done}
        self.metrics.ran(report)
        if report.ok:
            fights = self._pace.repaired(done if not following else (), now)
            self._open -= done
            self._meanwhile -= done  # as was just verified
            self._tell("repaired", keys=sorted(map(str, done)), seconds=dict(report.seconds))
            self.metrics.fights.inc(len(fights))
            for key in fights:
                who = self._culprits.of(key, self._picture.batch_of(key.kind)) or "somebody unknown"
                limits = self._settings.limits
                self._tell(
                    "fight",
                    key=str(key),
                    by=who,
                    message=f"{key} was undone {limits.fight} times within {limits.window:g} s by {who}; "
                    f"it is left alone for {limits.truce:g} s, or until the manifests want it otherwise",
                )
            if following:
                self._applied()
            return
        self._dirty.everything = True
        keys = {op.key for op in report.plan.ops()}
        failed = {key for key in keys if any(str(key) == failure.key for failure in report.failed)}
        self._pace.failed(failed or keys, now)
        if following:
            self._fresh |= keys
        words = [*map(str, report.failed), *report.left, report.reason]
        left = report.rollback.left if report.rollback is not None else ()
        self._tell("failed", keys=sorted(map(str, failed or keys)), errors=[w for w in words if w], left=list(left))
        self._failing.update(dict.fromkeys(failed or keys, "; ".join(word for word in words if word)))

    def _applied(self) -> None:
        """The files hold on this host: they are what is to come back after a reboot."""
        if self._settings.mode is Mode.APPLY and not self.situation.invalid:
            try:
                copy = self._settings.remember(self._following.memory.found())
                self._commit = revision(Path(self._sources[0])) or copy
            except OSError as error:
                self._once("trouble", f"what was applied could not be kept for after a reboot: {error}")

    def _settle(self, plan: Plan, blocked: Mapping[Key, Problem], now: float) -> None:
        """Say what holds now."""
        drift = tuple(dict.fromkeys(op.key for op in plan.ops()))
        self._failing = failing = {key: words for key, words in self._failing.items() if key in drift}
        situation = Situation(
            mode=self._settings.mode,
            ready=True,
            wanted=len(self._desired),
            drift=drift,
            pending=plan.pending,
            conflicts=tuple(sorted(set(blocked.values()))),
            fights=tuple(self._pace.fights(now)),
            failing=failing,
            invalid=self.situation.invalid,
            commit=self._commit,
        )
        for problem in situation.conflicts:
            self._once("conflict", str(problem))
        for pending in plan.pending:
            self._once("pending", f"{pending.key} waits: {pending.reason}")
        if situation != self.situation:
            before, self.situation = self.situation, situation
            self.metrics.stands(situation)
            if before.state != situation.state or not before.ready:
                self._tell("state", state=situation.state, before=before.state if before.ready else "")
