"""Sysctls: values on things that always stand. They are set, remembered in the inventory, and put back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.link import link_key
from reconciler.resources.netns import netns_key
from reconciler.resources.resource import Key, Need, Observed, Resource
from reconciler.resources.setting import GLOBAL_FORWARDING, Entry, Write, along, apply_settings, due, stands

if TYPE_CHECKING:
    from reconciler.host.host import Host
    from reconciler.host.namespace import Namespace


def sysctl_key(netns: str, path: str) -> Key:
    """The key of a sysctl; ``path`` is relative to /proc/sys and written with slashes, so that interface
    names with dots stay unambiguous: ``net/ipv4/conf/eth0.10/rp_filter``."""
    return Key("sysctl", netns, path)


class Sysctl(Resource, frozen=True, kw_only=True):
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
        known = host.inventory.settings
        by_netns: dict[str, list[Key]] = {}
        for key in sorted(scope.settings):
            if key.kind == "sysctl":
                by_netns.setdefault(key.netns, []).append(key)
        for netns, keys in by_netns.items():
            if netns not in host.open_namespaces():
                continue
            write = {key.name for key in keys if due(known.get(str(key)), scope.wanted.get(key))}
            values = host.netns(netns).read_sysctls([key.name for key in keys], keep=True, write=write)
            for key, value in zip(keys, values, strict=True):
                if value is None:
                    continue
                entry = known.get(str(key))
                wanted = scope.wanted.get(key)
                dev = wanted.dev if isinstance(wanted, Sysctl) else (entry or {}).get("dev")
                first = wanted.first if isinstance(wanted, Sysctl) else None
                was = Sysctl(key=key, value=str(entry["value"]), dev=dev) if entry is not None else None
                spec = Sysctl(key=key, value=value, dev=dev, first=first)
                yield Observed(spec, scope.owner if entry is not None else "", was)

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        return apply_settings(host, ops, self)

    def remember(self, namespace: Namespace, op: OpView, entry: Entry | None) -> Entry:
        if entry is not None:
            return entry
        spec, path = op.after, op.key.name
        assert isinstance(spec, Sysctl)
        # What the plan was made on need not be read again: opening a sysctl in its namespace costs 20 us.
        value = op.before.value if isinstance(op.before, Sysctl) else stands(namespace, [path])[0][1]
        was: Entry = {"value": value}
        if spec.dev is not None:
            was["dev"] = spec.dev
        if path in GLOBAL_FORWARDING:
            was["along"] = along(namespace, path)
        return was

    def writes(self, op: OpView, entry: Entry) -> Iterable[Write]:
        if isinstance(op.after, Sysctl):
            yield op.key.name, op.after.value
        if op.action == "delete":  # and what changed along with it
            yield from sorted(entry.get("along", {}).items())

    def seen(self, op: OpView) -> Iterable[Write]:
        if isinstance(op.before, Sysctl):
            yield op.key.name, op.before.value

    def settled(self, op: OpView, entry: Entry) -> Entry | None:
        return None if op.action == "delete" else entry


KINDS = (Sysctl,)
ACTUATOR = SysctlActuator()
