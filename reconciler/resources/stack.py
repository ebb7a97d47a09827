"""The settings of a stack that somebody else made, all of them as one: what a sandbox must not take over from its host.

Fourteen values a sandbox, each a resource of its own, would be two thirds of all that there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from msgspec.structs import replace

from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.netns import netns_key
from reconciler.resources.resource import Key, Need, Observed, Resource
from reconciler.resources.setting import Entry, Write, along, apply_settings, due, stands

if TYPE_CHECKING:
    from reconciler.host.host import Host
    from reconciler.host.namespace import Namespace


def stack_key(netns: str) -> Key:
    """The key of the settings of a sandbox's stack."""
    return Key("stack", netns, "sysctls")


class Stack(Resource, frozen=True, kw_only=True):
    """Sysctls of a namespace, as (slash path below /proc/sys, value), in the order in which they are written."""

    kind: ClassVar[str] = "stack"
    batch: ClassVar[str] = "stack"
    setting: ClassVar[bool] = True

    sysctls: tuple[tuple[str, str], ...]

    def identity(self) -> Key:
        return stack_key(self.key.netns)

    def needs(self) -> Iterable[Need]:
        yield Need((netns_key(self.key.netns),))

    def hangs_on(self) -> Iterable[Key]:
        yield netns_key(self.key.netns)

    def as_set(self, was: Self) -> Self:
        ours = dict(was.sysctls)
        return replace(self, sysctls=tuple(pair for pair in self.sysctls if pair[0] in ours))


class StackActuator:
    """Sets them and puts them back. The inventory holds, under ``value``, what stood before by path, in the order in which
    they are written, and under ``along`` what changed with it."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        """The values that somebody wants, then those that the inventory remembers besides: these are to be put back."""
        same: dict[tuple[Write, ...], tuple[Write, ...]] = {}  # most sandboxes have the same: one object does for all
        for key in sorted(scope.settings):
            if key.kind != "stack" or key.netns not in host.open_namespaces():
                continue
            wanted = scope.wanted.get(key)
            entry = host.inventory.settings.get(str(key))
            before = _before(entry)
            ours = wanted.sysctls if isinstance(wanted, Stack) else ()
            same.setdefault(ours, ours)
            paths = list(dict.fromkeys([*(path for path, _value in ours), *before]))
            write = paths if due(entry, wanted) else ()
            values = host.netns(key.netns).read_sysctls(paths, keep=True, write=write)
            found = tuple((path, value) for path, value in zip(paths, values, strict=True) if value is not None)
            spec = Stack(key=key, sysctls=same.setdefault(found, found))
            were = tuple(before.items())
            was = Stack(key=key, sysctls=same.setdefault(were, were)) if entry is not None else None
            yield Observed(spec, scope.owner if entry is not None else "", was)

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        return apply_settings(host, ops, self)

    def remember(self, namespace: Namespace, op: OpView, entry: Entry | None) -> Entry:
        before = _before(entry)
        # What the plan was made on need not be read again: opening a sysctl in its namespace costs 20 us.
        known = dict(self.seen(op))
        paths = [path for path, _value in _wanted(op) if path not in before]
        unread = [path for path in paths if path not in known]
        known |= stands(namespace, unread) if unread else []
        changed: dict[str, str] = dict((entry or {}).get("along", {}))
        for path, value in _wanted(op):
            if path in paths and known[path] != value:
                changed = along(namespace, path) | changed
        return _entry(before | {path: known[path] for path in paths}, changed)

    def writes(self, op: OpView, entry: Entry) -> Iterable[Write]:
        """What is wanted; then what stood before of those that are not wanted any more."""
        wanted = dict(_wanted(op)) if op.action != "delete" else {}
        dropped = [(path, value) for path, value in _before(entry).items() if path not in wanted]
        if dropped:
            yield from dropped
            yield from sorted((path, value) for path, value in entry.get("along", {}).items() if path not in wanted)
        yield from wanted.items()

    def seen(self, op: OpView) -> Iterable[Write]:
        return op.before.sysctls if isinstance(op.before, Stack) else ()

    def settled(self, op: OpView, entry: Entry) -> Entry | None:
        if op.action == "delete":
            return None
        wanted = dict(_wanted(op))
        before = {path: value for path, value in _before(entry).items() if path in wanted}
        return _entry(before, entry.get("along", {}))


def _wanted(op: OpView) -> tuple[Write, ...]:
    return op.after.sysctls if isinstance(op.after, Stack) else ()


def _before(entry: Entry | None) -> dict[str, str]:
    return dict((entry or {}).get("value", {}))


def _entry(before: dict[str, str], changed: dict[str, str]) -> Entry:
    entry: Entry = {"value": before}
    if changed:
        entry["along"] = changed
    return entry


KINDS = (Stack,)
ACTUATOR = StackActuator()
