"""NetworkController: the one API that everything (command line, watch mode, Docker plugin) calls.

Nothing here prints, asks or exits: results are data (``engine.result``), failures are the exceptions of
``reconciler.errors``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from itertools import islice
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

from msgspec.structs import replace

from reconciler.engine import guard as guarding
from reconciler.engine.describe import NO_ROUTES, describe, explanation
from reconciler.engine.doctor import examine, require_capabilities, require_kernel
from reconciler.engine.execute import Progress, never
from reconciler.engine.garbage import seldom_collected
from reconciler.engine.guard import Guards
from reconciler.engine.observe import observe, read_facts, usual_settings
from reconciler.engine.result import Check, Explanation, Planned, PlanOptions, Recovery, Report, Status, Validated
from reconciler.engine.saved import as_looked_for, read_plan_file, read_snapshot
from reconciler.engine.sessions import routes_of
from reconciler.engine.transaction import Look, Transaction, about, interrupted, recover
from reconciler.engine.validate import Asked, check_lock, read, store_lock, validate
from reconciler.errors import ConflictError, ManifestError, PlanError, Problem, StaleError, UsageError
from reconciler.host import history, journal
from reconciler.host.host import STATE_FOLDER, Host
from reconciler.host.lock import HostLock
from reconciler.host.step import Step, unhindered
from reconciler.manifest.load import Memory
from reconciler.manifest.source import MAX_FILE
from reconciler.planner.diff import make_plan
from reconciler.planner.file import check_asked, check_stale
from reconciler.planner.fingerprint import fingerprint
from reconciler.planner.plan import Observation, Plan
from reconciler.resources.resource import Key, Resource
from reconciler.topology.view import NodeFacts

if TYPE_CHECKING:  # what single verbs want is imported by them: every command starts anew
    from reconciler.engine.reach import Reach, Service
    from reconciler.engine.shift import Shift
    from reconciler.engine.wayfind import Told

NO_OPTIONS = PlanOptions()
_KEYS_NOTED = 20  # keys of a run that the history names


class NetworkController:
    """One owner's view of one host: the network namespace in which the controller first looks.

    ``node`` is this host's name among the manifests' Nodes (default: its hostname). Nothing is opened before
    it is needed; planning against a snapshot and validating never open the host. Keep one controller for many
    calls: what is open stays open. ``read_only``: it never changes the host, and opens nothing of it for writing. Not for
    use by two threads at once.
    """

    def __init__(
        self,
        *,
        owner: str = "cnm",
        node: str = "",
        environment: str | None = None,
        state_dir: Path | None = None,
        lock_file: Path | None = None,
        step: Step = unhindered,
        read_only: bool = False,
    ) -> None:
        self.owner = owner
        self.node = node or os.uname().nodename.partition(".")[0]
        self._named = bool(node)
        self.environment = environment
        self.state_dir = state_dir or STATE_FOLDER
        self.lock_file = lock_file
        self.lasting_dir = state_dir or history.LASTING_FOLDER
        self._step = step
        self._read_only = read_only
        self._host: Host | None = None
        self._lock: HostLock | None = None
        self._known = b""  # the stamp of the last run that the inventory in memory knows of

    def close(self) -> None:
        if self._host is not None:
            self._host.close()
            self._host = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def host(self) -> Host:
        """The host, opened on first use. Raises ObservationError, PermissionError."""
        if self._host is None:
            self._host = Host(owner=self.owner, state_dir=self.state_dir, step=self._step, read_only=self._read_only)
            self._known = HostLock.stamp(STATE_FOLDER, self._host.identity)
            self._host.reload()  # nobody can have come in between
        return self._host

    # -- from manifests alone ------------------------------------------------------------------------------

    @seldom_collected
    def validate(
        self,
        sources: Sequence[str],
        *,
        stdin: IO[bytes] | None = None,
        options: PlanOptions = NO_OPTIONS,
        facts: NodeFacts | None = None,
        memory: Memory | None = None,
    ) -> Validated:
        """Load, resolve and render, without a look at any host; ``facts`` are what was seen of one before, ``memory``
        is what was loaded before. Raises ManifestError, PlanError."""
        node, facts = self.node, facts or NodeFacts(name=self.node, owner=self.owner)
        if options.snapshot is not None:
            facts = read_snapshot(options.snapshot).facts
            node = self.node if self._named else facts.name
        return self._validate(sources, stdin, options, replace(facts, owner=self.owner), node, memory=memory)

    def validate_nodes(
        self, sources: Sequence[str], *, stdin: IO[bytes] | None = None, options: PlanOptions = NO_OPTIONS
    ) -> tuple[Validated, ...]:
        """The same for each Node of the manifests, by name; without any, for this host. Raises ManifestError with
        what is wrong on any of them, PlanError."""
        text = stdin.read(MAX_FILE + 1) if stdin is not None else None  # it can be read once only

        def again() -> IO[bytes] | None:
            return BytesIO(text) if text is not None else None

        everyone = Asked(sources, again(), node="", environment=self.environment)
        found = read(everyone, NodeFacts(name=self.node, owner=self.owner))
        nodes = [document.name for document in found.documents if document.kind == "Node"] or [self.node]
        results: list[Validated] = []
        problems: list[Problem] = []
        for node in nodes:
            facts = NodeFacts(name=node, owner=self.owner)
            try:
                results.append(self._validate(sources, again(), options, facts, node))
            except ManifestError as error:
                problems += error.problems
        if problems:
            raise ManifestError(problems)
        return tuple(results)

    def lock(self, sources: Sequence[str], *, stdin: IO[bytes] | None = None, write: bool = True) -> Validated:
        """Decide all automatic addresses and store them beside the manifests. Raises ManifestError, UsageError."""
        validated = self.validate(sources, stdin=stdin)
        if write:
            if validated.lock_path is None:
                raise UsageError(
                    "manifests from standard input have no lock file beside them; name one with --lock-file"
                )
            store_lock(validated)
        return validated

    def _validate(
        self,
        sources: Sequence[str],
        stdin: IO[bytes] | None,
        options: PlanOptions,
        facts: NodeFacts,
        node: str,
        seconds: dict[str, float] | None = None,
        memory: Memory | None = None,
    ) -> Validated:
        asked = Asked(sources, stdin, node, self.environment, self.lock_file, memory)
        return validate(asked, options, facts, {} if seconds is None else seconds)

    # -- planning ------------------------------------------------------------------------------------------

    @seldom_collected
    def plan(
        self, sources: Sequence[str], *, stdin: IO[bytes] | None = None, options: PlanOptions = NO_OPTIONS
    ) -> Planned:
        """What has to change on this host, or on the one of ``options.snapshot``. Touches nothing.

        Raises ManifestError, PlanError, ObservationError. Conflicts are in the plan, not raised.
        """
        seconds: dict[str, float] = {}
        stamp = b""
        if options.snapshot is not None:
            observation = read_snapshot(options.snapshot)
            node = self.node if self._named else observation.facts.name
            facts = replace(observation.facts, owner=self.owner)
            validated = self._validate(sources, stdin, options, facts, node, seconds)
            observation = as_looked_for(observation, validated.desired)
        else:
            clock = perf_counter()
            require_kernel()
            stamp = self.stamp()
            facts = read_facts(self.host, self.node)
            seconds["facts"] = perf_counter() - clock
            validated = self._validate(sources, stdin, options, facts, self.node, seconds)
            clock = perf_counter()
            observation = observe(self.host, validated.desired, facts)
            seconds["observe"] = perf_counter() - clock
        clock = perf_counter()
        plan = self._make(validated.desired, observation, options)
        if validated.conflicts:
            plan = replace(plan, conflicts=validated.conflicts + plan.conflicts)
        seconds["diff"] = perf_counter() - clock
        if options.snapshot is None and not plan.empty:
            require_capabilities(self.host, validated.topology, plan)
        return Planned(plan, observation, validated.desired, validated, seconds, stamp)

    @seldom_collected
    def shift(self, planned: Planned) -> Shift:
        """Which pairs of endpoints gain or lose reach by a plan. Costs nothing for an empty one."""
        from reconciler.engine.shift import shift_of

        return shift_of(planned, self.owner)

    @seldom_collected
    def plan_destroy(self, *, options: PlanOptions = NO_OPTIONS) -> Planned:
        """How to remove all that this owner made here, or of it what ``options.targets`` name (keys: without
        manifests there are no documents). Needs no manifests."""
        stamp = b""
        if options.snapshot is not None:
            observation = read_snapshot(options.snapshot)
        else:
            stamp = self.stamp()
            observation = observe(self.host, (), read_facts(self.host, self.node))
        plan = make_plan(
            (),
            observation,
            owner=self.owner,
            node=self._node_of(observation),
            prune=options.targets or True,
            excludes=options.excludes,
            unwanted="to be destroyed",
        )
        return Planned(plan, observation, stamp=stamp)

    def plan_adopt(self, sources: Sequence[str], keys: Sequence[str], *, stdin: IO[bytes] | None = None) -> Planned:
        """A plan that takes over the named objects, which stand where the manifests want ours, and nothing else."""
        parsed = frozenset(_key(text) for text in keys)
        planned = self.plan(sources, stdin=stdin, options=PlanOptions(adopt=parsed, targets=tuple(map(str, parsed))))
        wanted = {resource.key for resource in planned.desired}
        for key in sorted(parsed - wanted):
            raise UsageError(f"no manifest wants {key}; `cnm explain {key}` tells what is known of it")
        return planned

    def read_plan(self, path: Path, sources: Sequence[str] = (), *, stdin: IO[bytes] | None = None) -> Planned:
        """A plan saved by ``cnm plan -o``. Untrusted input: strictly checked, refused when somebody else could
        have written it, when it is for another owner or node, when the host changed since (StaleError), or,
        where manifests are given, when they no longer ask for what it does."""
        plan = read_plan_file(path)
        if plan.owner != self.owner:
            raise UsageError(f"{path} is a plan of owner {plan.owner}, not {self.owner}; say --owner {plan.owner}")
        if plan.node and plan.node != self.node:
            raise UsageError(f"{path} is a plan for node {plan.node}; this is {self.node}")
        validated = None
        if sources:
            fresh = self.plan(sources, stdin=stdin)
            validated = fresh.validated
            if plan.stages and fingerprint(fresh.desired) != plan.desired_fingerprint:
                raise StaleError(f"{path}: the manifests changed since this plan was made; plan again")
            unasked = check_asked(plan, fresh.desired)
            if unasked:
                raise PlanError(unasked)
        desired = [op.after for op in plan.ops() if op.after is not None]
        stamp = self.stamp()
        observation = observe(self.host, desired, read_facts(self.host, self.node))
        stale = check_stale(plan, observation)
        if stale:
            raise StaleError(stale)
        return Planned(plan, observation, tuple(desired), validated, stamp=stamp)

    def stamp(self) -> bytes:
        """To be taken before the host is looked at: whether another cnm changes it afterwards. What another one noted
        since the last time is read."""
        stamp = HostLock.stamp(STATE_FOLDER, self.host.identity)
        if stamp != self._known and self._lock is None:
            self.host.reload()
            self._known = stamp
        return stamp

    def _make(
        self,
        desired: Sequence[Resource],
        observation: Observation,
        options: PlanOptions,
    ) -> Plan:
        return make_plan(
            desired,
            observation,
            owner=self.owner,
            node=self._node_of(observation),
            adopt=options.adopt,
            targets=options.targets,
            excludes=options.excludes,
        )

    def _node_of(self, observation: Observation) -> str:
        return self.node if self._named or not observation.facts.name else observation.facts.name

    # -- doing ---------------------------------------------------------------------------------------------

    def guard(self, planned: Planned, guards: Guards) -> None:
        """Raise GuardError when a safeguard is against this plan: it would cut off the person who runs it, or delete
        most of what we have. Programs that nobody watches ask as well."""
        guarding.check(self.host, planned, guards)

    @contextmanager
    def changing(self, purpose: str = "apply") -> Iterator[Recovery | None]:
        """Hold this host's lock for the block; a run that was interrupted before is undone or finished first, and
        that is what the block is given. Inside a block of its own this does nothing.

        Raises LockError when another cnm changes this host, StateError when the state folder or a journal that
        was left cannot be used, UsageError when this controller is read-only.
        """
        self._must_change()
        if self._lock is not None:
            yield None
            return
        with HostLock(STATE_FOLDER, self.host.identity, self.owner, purpose) as lock:
            if not lock.unchanged(self._known):  # another cnm was here: what it noted is not to be overwritten
                self.host.reload()
            found = self._recover(lock)
            self._lock = lock
            try:
                yield found
            finally:
                self._lock = None
                self._known = HostLock.stamp(STATE_FOLDER, self.host.identity)

    def _must_change(self) -> None:
        if self._read_only:
            raise UsageError("this controller only looks at the host: open one without read_only to change it")

    def undisturbed(self, stamp: bytes) -> bool:
        """Inside :meth:`changing`: whether no other cnm has begun to change this host since the stamp was taken."""
        return self._lock is not None and self._lock.unchanged(stamp)

    def recover(self, *, forget: bool = False) -> Recovery | None:
        """Undo a run that was interrupted, or finish it when its commit had begun; None when there is none.
        ``forget``: take the host as it is, and only forget the run. Raises LockError, StateError, UsageError."""
        if not forget:
            with self.changing("recover") as found:
                return found
        self._must_change()
        with HostLock(STATE_FOLDER, self.host.identity, self.owner, "recover"):
            journal.forget(journal.Journal.path_of(self.state_dir, self.host.identity))
        return None

    def interrupted(self) -> str:
        """Which run was interrupted on this host and waits for :meth:`recover`, in words; "" when none was."""
        first = interrupted(self.host)
        return about(first) if first is not None else ""

    def _recover(self, lock: HostLock) -> Recovery | None:
        left = journal.read_journal(journal.Journal.path_of(self.state_dir, self.host.identity))
        if left is None:
            return None
        if not left:
            return recover(self.host)
        first = left[0]
        lock.begin("recover")
        owner = str(first.get("owner", self.owner))
        if owner == self.owner:
            return recover(self.host)
        with Host(owner=owner, state_dir=self.state_dir, step=self._step) as theirs:
            return recover(theirs)

    def announce(self, purpose: str) -> None:
        """Tell those who meet the lock what goes on. Inside :meth:`changing`."""
        if self._lock is not None:
            self._lock.begin(purpose)

    def answer_trial(self, *, confirm: bool) -> tuple[bool, str]:
        """Keep what :func:`engine.trial.begin_trial` has on trial on this host, or go back now. (whether that was done,
        in words). Raises UsageError when nothing is."""
        from reconciler.engine.trial import answer_trial

        return answer_trial(self.state_dir, self.host.identity, confirm=confirm)

    @seldom_collected
    def begin(
        self,
        planned: Planned,
        *,
        purpose: str = "apply",
        progress: Progress | None = None,
        again: bool = False,
        stop: Callable[[], str] = never,
        carry_on: bool = False,
        look: Look | None = None,
    ) -> Transaction:
        """A transaction for a plan, inside :meth:`changing`: for those who want to do something between its run
        and its commit (``cnm try`` waits there). See :meth:`execute`, which is all of it in one."""
        if self._lock is None:
            raise UsageError("a transaction is begun while the host is held: with controller.changing()")
        plan, host = planned.plan, self.host
        if plan.conflicts:
            raise ConflictError(plan.conflicts)
        if again or not self._lock.unchanged(planned.stamp):
            fresh = observe(host, planned.desired, planned.observation.facts)
            stale = check_stale(plan, fresh)
            if stale:
                raise StaleError(stale)
            planned = replace(planned, observation=fresh)
        if planned.validated is not None and planned.validated.lock_changed:
            check_lock(planned.validated)
        self._lock.begin(purpose)
        return Transaction(host, planned, purpose=purpose, progress=progress, stop=stop, carry_on=carry_on, look=look)

    def keep(self, transaction: Transaction, planned: Planned) -> None:
        """Commit what holds: the lock file with it. When that cannot be written, all is undone."""
        if planned.validated is not None:
            try:
                store_lock(planned.validated)
            except UsageError as error:
                transaction.undo(str(error))
                return
        transaction.commit()

    @seldom_collected
    def execute(
        self,
        planned: Planned,
        *,
        purpose: str = "apply",
        progress: Progress | None = None,
        again: bool = False,
        undo: bool = True,
        stop: Callable[[], str] = never,
        check: Callable[[], str] = never,
        look: Look | None = None,
    ) -> Report:
        """Carry out a plan, look at the host once more, and go back to what was when it does not hold.

        ``again`` True: time has passed since the plan was made (a person was asked), so the host is read again
        first and a plan that no longer fits is refused; so it is as well when another cnm was here since. ``undo``
        False: what was done is left when something fails. ``stop`` is asked before each
        batch, ``check`` after all of it: a reason to go back, or "". ``look``: see :class:`Transaction`.

        Raises ConflictError, StaleError, StateError, UsageError and LockError before anything is touched; what
        fails afterwards is in the report.
        """
        plan = planned.plan
        if plan.conflicts:
            raise ConflictError(plan.conflicts)
        if plan.empty:
            if planned.validated is not None:
                store_lock(planned.validated)
            return Report(plan, reason=check())
        with self.changing(purpose):
            run = self.begin(
                planned, purpose=purpose, progress=progress, again=again, stop=stop, carry_on=not undo, look=look
            )
            try:
                held = run.run()
                reason = check() if held else ""
                if held and not reason:
                    self.keep(run, planned)
                    if self._lock is not None and not planned.desired:
                        self._lock.vanish = self.host.inventory.empty
                elif undo:
                    run.undo(reason)
                else:
                    run.leave(reason)
            except BaseException:
                run.undo("interrupted")
                raise
        report = run.report()
        self.note(report, purpose)
        return report

    def note(self, report: Report, purpose: str) -> None:
        """Add a run to the history. One that cannot be written stops nothing."""
        entry: dict[str, object] = {
            "purpose": purpose,
            "owner": self.owner,
            "node": report.plan.node,
            "ok": report.ok,
            "changes": {action: count for action, count in report.plan.counts().items() if count},
            "keys": [str(op.key) for op in islice(report.plan.ops(), _KEYS_NOTED)],
            "seconds": round(sum(report.seconds.values()), 4),
        }
        if not report.ok:
            entry["errors"] = [text for text in (*map(str, report.failed), *report.left, report.reason) if text][:5]
            entry["rolled_back"] = report.rollback is not None and report.rollback.complete
        with suppress(OSError):
            history.append(history.history_path(self.lasting_dir, self.host_name), entry)

    @property
    def history_path(self) -> Path:
        """Where the history of this host is: it outlives a reboot where the host does."""
        return Path(history.history_path(self.lasting_dir, self.host_name))

    @property
    def host_name(self) -> str:
        """What is kept of this host across reboots is named by it."""
        return "host" if self.host.first else self.host.identity

    def history(self, last: int = 0) -> list[dict[str, object]]:
        """Who applied what when, oldest first. Raises StateError."""
        return history.read(str(self.history_path), last)

    # -- looking -------------------------------------------------------------------------------------------

    @seldom_collected
    def status(
        self,
        sources: Sequence[str],
        *,
        stdin: IO[bytes] | None = None,
        options: PlanOptions = NO_OPTIONS,
        routes: int | None = None,
    ) -> Status:
        """What holds of each network, sandbox, endpoint and BGP session, and what does not, with the reason. ``routes``: how
        many routes a session are told of each way at most; None: none, and routers are not asked. Raises UsageError for
        routes of a snapshot, which has none."""
        if routes is not None and options.snapshot is not None:
            raise UsageError("a snapshot has no routes of BGP sessions: ask for them on the host itself")
        planned = self.plan(sources, stdin=stdin, options=options)
        told = routes_of(self.host, planned.observation, routes) if routes is not None else NO_ROUTES
        return describe(planned, self.owner, told)

    def explain(self, key: str, sources: Sequence[str], *, stdin: IO[bytes] | None = None) -> Explanation:
        """All that is known of one key. Raises UsageError for something that is no key."""
        return explanation(self.plan(sources, stdin=stdin), _key(key))

    def explain_way(
        self,
        source: str,
        destination: str,
        what: Service,
        sources: Sequence[str],
        *,
        stdin: IO[bytes] | None = None,
        look: bool = True,
    ) -> tuple[Told, ...]:
        """Whether one endpoint reaches another, with every rule on the way. ``look``: also what tables of others on
        this host do. Raises UsageError for names that are none, ManifestError."""
        from reconciler.engine.wayfind import explain_way

        topology = self.validate(sources, stdin=stdin).topology
        return explain_way(topology, source, destination, what, self.host if look else None, self.owner)

    def reach(self, sources: Sequence[str], *, stdin: IO[bytes] | None = None) -> Reach:
        """Answers about all pairs, from the manifests alone. Raises ManifestError."""
        from reconciler.engine.reach import Reach

        return Reach(self.validate(sources, stdin=stdin).topology)

    @seldom_collected
    def show(
        self, sources: Sequence[str] = (), *, stdin: IO[bytes] | None = None, everything: bool = False
    ) -> Observation:
        """What is on this host: ours, or with ``everything`` all of it (a snapshot for planning elsewhere)."""
        facts = read_facts(self.host, self.node)
        desired: tuple[Resource, ...] = ()
        if sources:
            desired = self._validate(sources, stdin, NO_OPTIONS, facts, self.node).desired
        if everything:
            return observe(self.host, (*desired, *usual_settings(self.host, desired)), facts)
        observation = observe(self.host, desired, facts)
        ours = {key: seen for key, seen in observation.items.items() if seen.owner == self.owner}
        return replace(observation, items=ours)

    def doctor(self) -> tuple[Check, ...]:
        """What this host can do, what it lacks, and how to get it."""
        return examine(self)

    def run_inside(
        self, sandbox: str, argv: Sequence[str], sources: Sequence[str] = (), *, stdin: IO[bytes] | None = None
    ) -> int:
        """Run a command in a sandbox's stack; returns its exit status. Raises UsageError when there is no such sandbox."""
        from reconciler.engine.inside import run_inside

        source = "named"
        name = sandbox
        if sources:
            topology = self.validate(sources, stdin=stdin).topology
            view = next((view for view in topology.sandboxes if view.name == sandbox), None)
            if view is None:
                known = ", ".join(view.name for view in topology.sandboxes) or "none"
                raise UsageError(f"there is no sandbox {sandbox} on this node; the manifests have: {known}")
            name = view.netns
            owner = next((v for v in topology.sandboxes if v.netns == name and v.stack != "container"), view)
            source = "named" if owner.made else f"{owner.stack}:{owner.target}"
        return run_inside(self.host, sandbox, name, source, argv)


def _key(text: str) -> Key:
    try:
        return Key.parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from None
