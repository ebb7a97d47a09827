"""Permanent neighbour entries (ARP and ND)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from errno import ENODEV, ENOENT
from typing import TYPE_CHECKING, ClassVar, Self

from reconciler.netlink import neighbour as wire
from reconciler.netlink.mark import PROTOCOL
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.belief import owner_by_protocol
from reconciler.resources.onlink import OnLink
from reconciler.resources.requests import Requests
from reconciler.resources.resource import Key, Observed

if TYPE_CHECKING:
    from reconciler.host.host import Host


def neighbour_key(netns: str, dev: str, address: str) -> Key:
    """The key of a neighbour entry."""
    return Key("neighbour", netns, f"{dev}/{address}")


class Neighbour(OnLink, frozen=True, kw_only=True):
    """``address`` is at ``mac`` on ``dev``. ``state`` is always wanted ``permanent``; a learned entry in its place is drift."""

    kind: ClassVar[str] = "neighbour"
    batch: ClassVar[str] = "neighbour"
    marked: ClassVar[str] = "link"
    follows: ClassVar[tuple[str, ...]] = ("address", "sysctl")

    address: str
    mac: str | None = None
    state: str = "permanent"

    def identity(self) -> Key:
        return neighbour_key(self.key.netns, self.dev, self.address)

    def restorable(self) -> Self | None:
        """What was learned is learned again."""
        return self if self.state == "permanent" else None


class NeighbourActuator:
    """Reads and writes ARP and ND entries: permanent ones, and learned ones where a permanent one is wanted."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        """Learned entries come and go with traffic: they are told of only when they stand in the place of a
        wanted one, and then as ours, because replacing them is the point."""
        for name in scope.netns:
            if name not in host.open_namespaces():
                continue
            namespace = host.netns(name)
            names = namespace.names()
            for raw in namespace.rtnl.dump(wire.RTM_GETNEIGH, wire.dump_neighbours(), wire.decode_neighbour):
                dev = names.get(raw.ifindex)
                if dev is None:
                    continue
                key = neighbour_key(name, dev, raw.address)
                permanent = raw.state & wire.NUD_PERMANENT
                if not permanent and key not in scope.wanted:
                    continue
                state = wire.STATES.get(raw.state, str(raw.state))
                spec = Neighbour(key=key, dev=dev, address=raw.address, mac=raw.mac or None, state=state)
                owner = owner_by_protocol(host, namespace, raw.ifindex, raw.protocol, key) if permanent else scope.owner
                yield Observed(spec, owner)

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        requests = Requests(host)
        outcomes = {op.id: Outcome(op.id) for op in ops}
        for op in ops:
            spec = op.before if op.action == "delete" else op.after
            assert isinstance(spec, Neighbour)
            netns = op.key.netns
            index = host.netns(netns).index.get(spec.dev) if netns in host.open_namespaces() else None
            if op.action == "delete":
                if index is not None:
                    requests.add(netns, op.id, wire.delete_neighbour(index, spec.address), forgive=(ENOENT, ENODEV))
            elif index is None or spec.mac is None:
                outcomes[op.id] = Outcome(
                    op.id, ENODEV, f"there is no interface {spec.dev}, or no MAC address is known"
                )
            else:
                protocol = 0 if op.unmarked else PROTOCOL
                requests.add(netns, op.id, wire.new_neighbour(index, spec.address, spec.mac, protocol))
        for op_id, refusal in requests.send().items():
            outcomes[op_id] = Outcome(op_id, *refusal)
        return outcomes.values()


KINDS = (Neighbour,)
ACTUATOR = NeighbourActuator()
