"""Which VLANs a port of a bridge carries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from errno import ENODEV, ENOENT
from typing import TYPE_CHECKING, ClassVar

from reconciler.netlink import bridgevlan as wire
from reconciler.netlink.link import RTM_GETLINK
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.linkinfo.bridge import Bridge
from reconciler.resources.onlink import OnLink
from reconciler.resources.requests import Requests
from reconciler.resources.resource import Claim, Key, Observed

if TYPE_CHECKING:
    from reconciler.host.host import Host
    from reconciler.host.namespace import Namespace


def bridge_vlan_key(netns: str, dev: str, vid: int) -> Key:
    """The key of a VLAN on a port."""
    return Key("bridge-vlan", netns, f"{dev}/{vid}")


class BridgeVlan(OnLink, frozen=True, kw_only=True):
    """Port ``dev`` carries VLAN ``vid`` (1 to 4094). ``pvid``: what comes in without a tag is of this VLAN; ``untagged``:
    what goes out is without its tag. The kernel keeps no mark on it: it is a part of the port, and has its mark."""

    kind: ClassVar[str] = "bridge-vlan"
    batch: ClassVar[str] = "bridge-vlan"
    marked: ClassVar[str] = "link"
    flaps: ClassVar[frozenset[str]] = frozenset(("pvid", "untagged"))

    vid: int
    pvid: bool | None = None
    untagged: bool | None = None

    def identity(self) -> Key:
        return bridge_vlan_key(self.key.netns, self.dev, self.vid)

    def claims(self) -> Iterable[Claim]:
        if self.pvid:
            yield Claim("pvid", self.key.netns, self.dev)


class BridgeVlanActuator:
    """Reads and writes them. A port comes with the bridge's default VLAN; that one goes when it gets another of its own."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        """Nothing is read where no VLAN is wanted and no bridge of ours filters by them."""
        asked = {(key.netns, key.name.partition("/")[0]) for key in scope.wanted if key.kind == "bridge-vlan"}
        wanted = {netns for netns, _dev in asked}
        for name in scope.netns:
            if name not in host.open_namespaces():
                continue
            namespace = host.netns(name)
            ours = _ports_of_ours(namespace)
            if name not in wanted and not ours:
                continue
            names = namespace.names()
            for raw in namespace.rtnl.dump(RTM_GETLINK, wire.dump_vlans(), wire.decode_vlans):
                dev = names.get(raw.ifindex)
                if raw.ifindex not in ours and (name, dev) not in asked:
                    continue  # not about VLANs: what the default of its bridge gave it
                for vid, pvid, untagged in raw.vlans if dev is not None else ():
                    spec = BridgeVlan(
                        key=bridge_vlan_key(name, dev or "", vid), dev=dev or "", vid=vid, pvid=pvid, untagged=untagged
                    )
                    yield Observed(spec, namespace.owners.get(raw.ifindex, ""))

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        requests = Requests(host)
        missing: dict[str, Outcome] = {}
        foreign = _own_vlans(host, {op.key.netns for op in ops if op.action == "create"})
        making = {op.key for op in ops if op.action != "delete"}
        for op in ops:
            spec = op.before if op.action == "delete" else op.after
            assert isinstance(spec, BridgeVlan)
            netns = op.key.netns
            namespace = host.netns(netns) if netns in host.open_namespaces() else None
            index = namespace.index.get(spec.dev) if namespace is not None else None
            if op.action == "delete":
                if index is not None:
                    requests.add(netns, op.id, wire.delete_vlan(index, spec.vid), forgive=(ENOENT, ENODEV))
            elif index is None or namespace is None:
                missing[op.id] = Outcome(op.id, ENODEV, f"there is no interface {spec.dev}")
            else:
                for vid in foreign.get((netns, index), ()) if spec.pvid else ():
                    if bridge_vlan_key(netns, spec.dev, vid) not in making:
                        requests.add(netns, op.id, wire.delete_vlan(index, vid), forgive=(ENOENT,))
                request = wire.set_vlan(index, spec.vid, pvid=bool(spec.pvid), untagged=bool(spec.untagged))
                requests.add(netns, op.id, request)
        refused = requests.send()
        for op in ops:
            refusal = refused.get(op.id)
            yield missing.get(op.id) or (Outcome(op.id, *refusal) if refusal else Outcome(op.id))


def _ports_of_ours(namespace: Namespace) -> set[int]:
    """The ports of bridges of ours that filter by VLANs: whatever VLAN they have is there by our doing, or drift."""
    bridges = {
        raw.ifindex
        for raw in namespace.links
        if raw.kind == "bridge"
        and raw.ifindex in namespace.owners
        and Bridge.table.decode(raw.data).get("vlan_filtering")
    }
    return {raw.ifindex for raw in namespace.links if raw.master in bridges}


def _own_vlans(host: Host, places: Iterable[str]) -> dict[tuple[str, int], list[int]]:
    """(namespace, port) -> the VLAN that it has for what comes without a tag: that of the bridge's default, on a port
    that was just made. The port's own mark says that it is ours to take away."""
    found: dict[tuple[str, int], list[int]] = {}
    for name in places:
        if name in host.open_namespaces():
            namespace = host.netns(name)
            for raw in namespace.rtnl.dump(RTM_GETLINK, wire.dump_vlans(), wire.decode_vlans):
                if raw.ifindex in namespace.owners:
                    found[name, raw.ifindex] = [vid for vid, pvid, _untagged in raw.vlans if pvid]
    return found


KINDS = (BridgeVlan,)
ACTUATOR = BridgeVlanActuator()
