"""Processes of our own: daemons that serve on behalf of a host or a sandbox, and outlive the command that started them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from errno import EIO, ENOENT
from typing import TYPE_CHECKING, ClassVar

from reconciler.host import process
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.link import link_key
from reconciler.resources.netns import netns_key
from reconciler.resources.resource import Key, Need, Observed, Resource

if TYPE_CHECKING:
    from reconciler.host.host import Host


def process_key(name: str, netns: str = "") -> Key:
    """The key of a process; ``name`` is a plain word, unique on the host."""
    return Key("process", netns, name)


class Process(Resource, frozen=True, kw_only=True):
    """``program`` is one of ``reconciler.host.programs``; ``arguments`` follow the runtime folder. ``after`` are what must
    stand before it is started (files, links). ``dev`` is the interface of its namespace that it works on: when that is made
    anew, so is the process. It is marked by its environment; when it ended, it is missing, and the
    next plan (``cnm watch`` at once) starts it again."""

    kind: ClassVar[str] = "process"
    lingers: ClassVar[bool] = True
    follows: ClassVar[tuple[str, ...]] = ("sysctl",)
    batch: ClassVar[str] = "process"
    marked: ClassVar[str] = "itself"
    fixed: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("program", "arguments"), "a process keeps what it was started with"
    )

    program: str
    arguments: tuple[str, ...] = ()
    after: tuple[Key, ...] | None = None
    dev: str | None = None

    def needs(self) -> Iterable[Need]:
        if self.key.netns:
            yield Need((netns_key(self.key.netns),))
        for key in self.after or ():
            yield Need((key,))
        if self.dev is not None:
            yield Need((link_key(self.key.netns, self.dev),))

    def hangs_on(self) -> Iterable[Key]:
        if self.dev is not None:
            yield link_key(self.key.netns, self.dev)


class ProcessActuator:
    """Starts and ends them."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        wanted = {key for key in scope.wanted if key.kind == "process"}
        names = {path.stem for path in host.runtime.glob("*.pid")} if host.runtime.is_dir() else set()
        known = {key.name: key for key in wanted}
        for name in sorted(names | known.keys()):
            running = process.find(host.runtime, host.mark, name, search=name in known)
            if running is None and name not in known:
                running = process.left(host.runtime, name)  # it was killed, and what it held is still there
            if running is None:
                continue
            key = known.get(name) or process_key(name, running.netns)
            asked = scope.wanted.get(key)
            if asked is not None and running.dev and not _stands(host, key.netns, running.dev):
                continue  # it works on an interface that is gone
            spec = Process(
                key=key,
                program=running.program,
                arguments=running.arguments,
                after=wanted_after(asked),
                dev=running.dev or None,
            )
            yield Observed(spec, scope.owner)

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        for op in ops:
            try:
                host.step("process", str(op.key))
                self._bring(host, op)
            except KeyError:
                yield Outcome(op.id, ENOENT, f"the network namespace {op.key.netns} is not there")
            except OSError as error:
                yield Outcome(op.id, error.errno or EIO, error.strerror or str(error))
            else:
                yield Outcome(op.id)

    @staticmethod
    def _bring(host: Host, op: OpView) -> None:
        name = op.key.name
        if op.action in ("delete", "release"):
            _end(host, op.key)
            return
        spec = op.after
        assert isinstance(spec, Process)
        running = process.find(host.runtime, host.mark, name, search=True)
        same = running is not None and (running.program, running.arguments) == (spec.program, spec.arguments)
        if same and spec.dev is None:
            return
        if running is not None:
            _end(host, op.key)
        with host.netns(op.key.netns).entered():
            process.start(host.runtime, host.mark, name, op.key.netns, spec.program, spec.arguments, spec.dev or "")


def _end(host: Host, key: Key) -> None:
    process.end(host.runtime, host.mark, key.name)
    if key.netns in host.open_namespaces():  # else all is gone with its namespace
        with host.netns(key.netns).entered():
            process.undo(host.runtime, host.mark, key.name)
    process.forget(host.runtime, key.name)


def _stands(host: Host, netns: str, dev: str) -> bool:
    return netns in host.open_namespaces() and dev in host.netns(netns).index


def wanted_after(wanted: Resource | None) -> tuple[Key, ...] | None:
    """What it waits for is the manifests' business: the host cannot tell it."""
    return wanted.after if isinstance(wanted, Process) else None


KINDS = (Process,)
ACTUATOR = ProcessActuator()
