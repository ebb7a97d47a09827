"""Forwarding entries: behind which port of a bridge, and which tunnel endpoint, a MAC address is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from errno import EEXIST, ENODEV, ENOENT
from typing import TYPE_CHECKING, ClassVar, Self

from reconciler.netlink import fdb as wire
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.link import link_key
from reconciler.resources.requests import Requests
from reconciler.resources.resource import Key, Need, Observed, Resource

if TYPE_CHECKING:
    from reconciler.host.host import Host


def fdb_key(netns: str, dev: str, mac: str, dst: str | None = None) -> Key:
    """The key of an entry. The one for everything that has no entry (MAC address zero) has many tunnel endpoints,
    and each is a resource of its own."""
    return Key("fdb", netns, f"{dev}/{mac}/{dst}" if mac == wire.EVERY else f"{dev}/{mac}")


class Fdb(Resource, frozen=True, kw_only=True):
    """``mac`` is behind ``dev``: at tunnel endpoint ``dst`` (the interface's own table), at this port of ``bridge`` (that
    bridge's table), or both. ``state`` is always wanted ``static``; a learned entry in its place is drift.

    The kernel keeps no mark on an entry. The table is a part of its interface, so the interface's mark is the entry's,
    except for what a routing daemon wrote (extern_learn): that is the daemon's, on whatever interface.
    """

    kind: ClassVar[str] = "fdb"
    batch: ClassVar[str] = "fdb"
    marked: ClassVar[str] = "link"

    dev: str
    mac: str
    dst: str | None = None
    bridge: str | None = None
    state: str = "static"

    def identity(self) -> Key:
        return fdb_key(self.key.netns, self.dev, self.mac, self.dst)

    def restorable(self) -> Self | None:
        """What was learned is learned again."""
        return self if self.state == "static" else None

    def needs(self) -> Iterable[Need]:
        yield Need((link_key(self.key.netns, self.dev),))
        if self.bridge is not None:
            yield Need((link_key(self.key.netns, self.bridge),))

    def hangs_on(self) -> Iterable[Key]:
        yield link_key(self.key.netns, self.dev)
        if self.bridge is not None:
            yield link_key(self.key.netns, self.bridge)


class FdbActuator:
    """Reads and writes static entries, and learned ones where a static one is wanted."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        """Nothing is read where no entry is wanted and no interface of ours could have any."""
        wanted = {key.netns for key in scope.wanted if key.kind == "fdb"}
        for name in scope.netns:
            if name not in host.open_namespaces():
                continue
            namespace = host.netns(name)
            tunnels = any(raw.kind == "vxlan" and raw.ifindex in namespace.owners for raw in namespace.links)
            if name not in wanted and not tunnels:
                continue
            names = namespace.names()
            found: dict[Key, tuple[list[wire.RawFdb], str, str]] = {}
            for raw in namespace.rtnl.dump(wire.RTM_GETNEIGH, wire.dump_fdb(), wire.decode_fdb):
                dev = names.get(raw.ifindex)
                if dev is not None:
                    key = fdb_key(name, dev, raw.mac, raw.dst)
                    found.setdefault(key, ([], dev, namespace.owners.get(raw.ifindex, "")))[0].append(raw)
            for key, (entries, dev, owner) in found.items():
                observed = _observed(key, dev, entries, names, owner, scope)
                if observed is not None:
                    yield observed

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        requests = Requests(host)
        outcomes = {op.id: Outcome(op.id) for op in ops}
        for op in sorted(ops, key=lambda op: op.action != "delete"):  # a bridge knows a MAC address once
            spec = op.before if op.action == "delete" else op.after
            assert isinstance(spec, Fdb)
            netns = op.key.netns
            index = host.netns(netns).index.get(spec.dev) if netns in host.open_namespaces() else None
            if op.action != "delete":
                if index is None:
                    outcomes[op.id] = Outcome(op.id, ENODEV, f"there is no interface {spec.dev}")
                    continue
                request = wire.new_fdb(index, spec.mac, spec.dst, master=spec.bridge is not None)
                requests.add(netns, op.id, request, forgive=(EEXIST,) if spec.mac == wire.EVERY else ())
            elif index is not None:
                gone = (ENOENT, ENODEV)
                if spec.bridge is not None:
                    requests.add(netns, op.id, wire.delete_fdb(index, spec.mac, None), forgive=gone)
                if spec.dst is not None:
                    requests.add(netns, op.id, wire.delete_fdb(index, spec.mac, spec.dst), forgive=gone)
        for op_id, refusal in requests.send().items():
            outcomes[op_id] = Outcome(op_id, *refusal)
        return outcomes.values()


def _observed(
    key: Key, dev: str, entries: Sequence[wire.RawFdb], names: Mapping[int, str], owner: str, scope: Scope
) -> Observed | None:
    """One resource of what both tables say. Learned entries come and go with traffic: they are told of only in the
    place of a wanted one, and then as ours, because replacing them is the point."""
    daemons = any(raw.flags & wire.NTF_EXT_LEARNED for raw in entries)
    static = all(raw.state & (wire.NUD_NOARP | wire.NUD_PERMANENT) for raw in entries)
    if (daemons or not static) and key not in scope.wanted:
        return None
    dst = next((raw.dst for raw in entries if raw.dst), None)
    bridge = next((names.get(raw.master, "?") for raw in entries if raw.master), None)
    state = "extern_learn" if daemons else "static" if static else "learned"
    mac = key.name.split("/")[1]
    return Observed(Fdb(key=key, dev=dev, mac=mac, dst=dst, bridge=bridge, state=state), "" if daemons else owner)


KINDS = (Fdb,)
ACTUATOR = FdbActuator()
