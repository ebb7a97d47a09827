"""Values on things that always stand: how a batch of them is set, remembered and put back.

What stood before is in the inventory, on disk, before anything is written.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence
from errno import EIO, ENOENT, ESRCH
from typing import TYPE_CHECKING, Any, Protocol

from reconciler.errors import ObservationError
from reconciler.resources.actuator import OpView, Outcome
from reconciler.resources.resource import Resource

if TYPE_CHECKING:
    from reconciler.host.host import Host
    from reconciler.host.namespace import Namespace

Entry = dict[str, Any]  # what the inventory holds of one setting
Write = tuple[str, str]  # (path below /proc/sys, value)

# Writing one of these makes the kernel rewrite the per-interface values of its family, and accept_redirects
# (inet_forward_change in net/ipv4/devinet.c, addrconf_fixup_forwarding in net/ipv6/addrconf.c).
GLOBAL_FORWARDING = {
    "net/ipv4/ip_forward": ("ipv4", ("forwarding",), ("net/ipv4/conf/all/accept_redirects",)),
    "net/ipv4/conf/all/forwarding": ("ipv4", ("forwarding",), ("net/ipv4/conf/all/accept_redirects",)),
    "net/ipv6/conf/all/forwarding": ("ipv6", ("forwarding",), ()),
}


class Setting(Protocol):
    """How one kind of setting is remembered and written."""

    def remember(self, namespace: Namespace, op: OpView, entry: Entry | None) -> Entry:
        """The entry that must be on disk before ``op`` (no deletion) is done. Raises OSError."""

    def writes(self, op: OpView, entry: Entry) -> Iterable[Write]:
        """What is to be written for ``op``, in this order."""

    def seen(self, op: OpView) -> Iterable[Write]:
        """What the plan was made on."""

    def settled(self, op: OpView, entry: Entry) -> Entry | None:
        """The entry when that was done; None: nothing is to be remembered any more."""


def apply_settings(host: Host, ops: Sequence[OpView], setting: Setting) -> Iterable[Outcome]:
    """Carry out a batch, one visit a namespace; one outcome an op."""
    outcomes = {op.id: Outcome(op.id) for op in ops}
    ready: dict[str, list[OpView]] = {}
    by_netns: dict[str, list[OpView]] = {}
    entries = host.inventory.settings
    for op in ops:
        by_netns.setdefault(op.key.netns, []).append(op)
    for netns, here in by_netns.items():
        try:
            namespace = host.netns(netns)
            namespace.check()
        except KeyError:
            lost = f"the network namespace {netns} is not there"
            for op in here:
                if op.action == "delete":
                    entries.pop(str(op.key), None)
                else:
                    outcomes[op.id] = Outcome(op.id, ENOENT, lost)
            continue
        except ObservationError as error:
            outcomes.update((op.id, Outcome(op.id, ESRCH, str(error))) for op in here)
            continue
        for op in here:
            try:
                if op.action != "delete":
                    entries[str(op.key)] = setting.remember(namespace, op, entries.get(str(op.key)))
                ready.setdefault(netns, []).append(op)
            except OSError as error:
                outcomes[op.id] = _failed(op, str(error.filename or op.key.name), error)
    host.inventory.save()
    for netns, here in ready.items():
        for failed in _write(host.netns(netns), here, setting, entries):
            outcomes[failed.id] = failed
    host.inventory.save()
    return outcomes.values()


def _write(
    namespace: Namespace, ops: Sequence[OpView], setting: Setting, entries: MutableMapping[str, Entry]
) -> Iterable[Outcome]:
    """Set and put back all in one visit; the ops that met an error."""
    writes = [
        (op, path, value) for op in ops for path, value in setting.writes(op, entries.get(str(op.key), {"value": ""}))
    ]
    failed: dict[str, Outcome] = {}
    # Whoever set global forwarding meanwhile may have set single interfaces since: that is looked at once more.
    seen = {path: value for op in ops for path, value in setting.seen(op) if path not in GLOBAL_FORWARDING}
    results = namespace.write_sysctls([(path, value) for _op, path, value in writes], keep=True, seen=seen)
    for (op, path, _value), error in zip(writes, results, strict=True):
        # What is gone meanwhile needs no putting back.
        if error is not None and not (op.action == "delete" and isinstance(error, FileNotFoundError)):
            failed.setdefault(op.id, _failed(op, path, error))
    for op in ops:
        entry = entries.get(str(op.key))
        if op.id in failed or entry is None:
            continue
        kept = setting.settled(op, entry)
        if kept is None:
            del entries[str(op.key)]
        else:
            entries[str(op.key)] = kept
    return failed.values()


def _failed(op: OpView, path: str, error: OSError) -> Outcome:
    return Outcome(op.id, error.errno or EIO, f"/proc/sys/{path}: {error.strerror}")


def due(entry: Entry | None, wanted: Resource | None) -> bool:
    """Whether it is likely to be written next: not set yet, or to be put back."""
    return (entry is None) == (wanted is not None)


def stands(namespace: Namespace, paths: Sequence[str]) -> list[Write]:
    """The values that stand. Raises FileNotFoundError in words for a sysctl that does not exist."""
    found = []
    for path, value in zip(paths, namespace.read_sysctls(paths, keep=True, write=paths), strict=True):
        if value is None:
            raise FileNotFoundError(ENOENT, "there is no such sysctl", path)
        found.append((path, value))
    return found


def along(namespace: Namespace, path: str) -> dict[str, str]:
    """What the kernel will change along with this one, as it stands; empty for nearly all."""
    if path not in GLOBAL_FORWARDING:
        return {}
    family, per_interface, more = GLOBAL_FORWARDING[path]
    paths = [
        f"net/{family}/conf/{name}/{item}"
        for name in namespace.interfaces_with_sysctls(family)
        if name != "all"
        for item in per_interface
    ]
    paths += more
    values = namespace.read_sysctls(paths)
    return {path: value for path, value in zip(paths, values, strict=True) if value is not None}
