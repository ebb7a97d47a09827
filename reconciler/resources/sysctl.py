"""Sysctls: values on things that always stand. They are set, remembered in the inventory, and put back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from errno import EIO, ENOENT, ESRCH
from typing import TYPE_CHECKING, Any, ClassVar

from reconciler.errors import ObservationError
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.link import link_key
from reconciler.resources.netns import netns_key
from reconciler.resources.resource import Key, Need, Observed, Resource

if TYPE_CHECKING:
    from reconciler.host.host import Host
    from reconciler.host.namespace import Namespace

# Writing one of these makes the kernel rewrite the per-interface values of its family, and accept_redirects
# (inet_forward_change in net/ipv4/devinet.c, addrconf_fixup_forwarding in net/ipv6/addrconf.c).
GLOBAL_FORWARDING = {
    "net/ipv4/ip_forward": ("ipv4", ("forwarding",), ("net/ipv4/conf/all/accept_redirects",)),
    "net/ipv4/conf/all/forwarding": ("ipv4", ("forwarding",), ("net/ipv4/conf/all/accept_redirects",)),
    "net/ipv6/conf/all/forwarding": ("ipv6", ("forwarding",), ()),
}


def sysctl_key(netns: str, path: str) -> Key:
    """The key of a sysctl; ``path`` is relative to /proc/sys and written with slashes, so that interface
    names with dots stay unambiguous: ``net/ipv4/conf/eth0.10/rp_filter``."""
    return Key("sysctl", netns, path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysctl(Resource):
    """One value. ``dev`` names the interface when it is a per-interface value. ``first`` are sysctls that must
    be written before this one (accept_ra before forwarding)."""

    kind: ClassVar[str] = "sysctl"
    batch: ClassVar[str] = "sysctl"
    setting: ClassVar[bool] = True

    value: str
    dev: str | None = None
    first: tuple[Key, ...] | None = None

    def needs(self) -> Iterable[Need]:
        if self.dev is not None:
            yield Need((link_key(self.key.netns, self.dev),))
        elif self.key.netns:
            yield Need((netns_key(self.key.netns),))
        for key in self.first or ():
            yield Need((key,))

    def hangs_on(self) -> Iterable[Key]:
        if self.dev is not None:
            yield link_key(self.key.netns, self.dev)
        elif self.key.netns:
            yield netns_key(self.key.netns)

    def group(self) -> Key | None:
        return link_key(self.key.netns, self.dev) if self.dev is not None else None


class SysctlActuator:
    """Sets values and puts them back; what stood before is handed to the inventory with the outcome."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        """Only the values that somebody wants or that the inventory remembers."""
        by_netns: dict[str, list[Key]] = {}
        for key in sorted(scope.settings):
            if key.kind == "sysctl":
                by_netns.setdefault(key.netns, []).append(key)
        for netns, keys in by_netns.items():
            if netns not in host.open_namespaces():
                continue
            values = host.netns(netns).read_sysctls([key.name for key in keys])
            for key, value in zip(keys, values, strict=True):
                if value is None:
                    continue
                entry = host.inventory.settings.get(str(key))
                wanted = scope.wanted.get(key)
                dev = wanted.dev if isinstance(wanted, Sysctl) else (entry or {}).get("dev")
                first = wanted.first if isinstance(wanted, Sysctl) else None
                was = Sysctl(key=key, value=str(entry["value"]), dev=dev) if entry is not None else None
                spec = Sysctl(key=key, value=value, dev=dev, first=first)
                yield Observed(spec, scope.owner if entry is not None else "", was)

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        """What stood before is in the inventory, on disk, before anything is written."""
        outcomes = {op.id: Outcome(op.id) for op in ops}
        ready: dict[str, list[OpView]] = {}
        for netns, here in _by_netns(ops).items():
            try:
                namespace = host.netns(netns)
                namespace.check()
            except KeyError:
                lost = f"the network namespace {netns} is not there"
                outcomes.update((op.id, Outcome(op.id, ENOENT, lost)) for op in here if op.action != "delete")
                for op in here:
                    if op.action == "delete":
                        host.inventory.settings.pop(str(op.key), None)
            except ObservationError as error:
                outcomes.update((op.id, Outcome(op.id, ESRCH, str(error))) for op in here)
            else:
                for failed in _remember_all(host, namespace, here):
                    outcomes[failed.id] = failed
                ready[netns] = [op for op in here if not outcomes[op.id].errno]
        host.inventory.save()
        for netns, here in ready.items():
            for failed in _write_all(host, host.netns(netns), here):
                outcomes[failed.id] = failed
        host.inventory.save()
        return outcomes.values()


def _by_netns(ops: Iterable[OpView]) -> dict[str, list[OpView]]:
    found: dict[str, list[OpView]] = {}
    for op in ops:
        found.setdefault(op.key.netns, []).append(op)
    return found


def _failed(op: OpView, error: OSError) -> Outcome:
    return Outcome(op.id, error.errno or EIO, f"/proc/sys/{op.key.name}: {error.strerror}")


def _remember_all(host: Host, namespace: Namespace, ops: Sequence[OpView]) -> Iterable[Outcome]:
    """Note what stands before we write; the ops whose value cannot be read."""
    for op in ops:
        if op.action == "delete" or str(op.key) in host.inventory.settings:
            continue
        assert isinstance(op.after, Sysctl)
        try:
            host.inventory.settings[str(op.key)] = _remember(namespace, op.before, op.after)
        except OSError as error:
            yield _failed(op, error)


def _remember(namespace: Namespace, before: Resource | None, spec: Sysctl) -> dict[str, Any]:
    """What stands before we write: the value, and all that the kernel will change along with it."""
    # What the plan was made on need not be read again: opening a sysctl in its namespace costs 20 us.
    value = before.value if isinstance(before, Sysctl) else namespace.read_sysctls([spec.key.name])[0]
    if value is None:
        raise OSError(ENOENT, "there is no such sysctl")
    was: dict[str, Any] = {"value": value}
    if spec.dev is not None:
        was["dev"] = spec.dev
    if spec.key.name in GLOBAL_FORWARDING:
        family, per_interface, more = GLOBAL_FORWARDING[spec.key.name]
        paths = [
            f"net/{family}/conf/{name}/{item}"
            for name in namespace.interfaces_with_sysctls(family)
            if name != "all"
            for item in per_interface
        ]
        paths += more
        values = namespace.read_sysctls(paths)
        was["along"] = {path: value for path, value in zip(paths, values, strict=True) if value is not None}
    return was


def _write_all(host: Host, namespace: Namespace, ops: Sequence[OpView]) -> Iterable[Outcome]:
    """Set and put back all in one visit; the ops that met an error."""
    settings = host.inventory.settings
    writes: list[tuple[OpView, str, str]] = []
    for op in ops:
        if isinstance(op.after, Sysctl):
            writes.append((op, op.key.name, op.after.value))
        if op.action == "delete":  # and what changed along with it
            along = settings.get(str(op.key), {}).get("along", {})
            writes += [(op, path, along[path]) for path in sorted(along)]
    failed: dict[str, Outcome] = {}
    results = namespace.write_sysctls([(path, value) for _op, path, value in writes])
    for (op, _path, _value), error in zip(writes, results, strict=True):
        # What is gone meanwhile needs no putting back.
        if error is not None and not (op.action == "delete" and isinstance(error, FileNotFoundError)):
            failed.setdefault(op.id, _failed(op, error))
    for op in ops:
        if op.action == "delete" and op.id not in failed:
            settings.pop(str(op.key), None)
    return failed.values()


KINDS = (Sysctl,)
ACTUATOR = SysctlActuator()
