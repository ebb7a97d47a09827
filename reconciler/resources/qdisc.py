"""Queueing disciplines: how fast an interface may send."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from errno import EINVAL, ENODEV, ENOENT
from typing import TYPE_CHECKING, ClassVar

from reconciler.netlink import qdisc as wire
from reconciler.netlink.mark import PROTOCOL
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.belief import owner_by_protocol
from reconciler.resources.onlink import OnLink
from reconciler.resources.requests import Requests
from reconciler.resources.resource import Key, Observed

if TYPE_CHECKING:
    from reconciler.host.host import Host


def qdisc_key(netns: str, dev: str) -> Key:
    """The key of what is at the root of an interface."""
    return Key("qdisc", netns, dev)


class Qdisc(OnLink, frozen=True, kw_only=True):
    """A token bucket filter (tc-tbf(8)) at the root of ``dev``: ``rate`` in bits a second, ``burst`` in KiB that may pass at
    once, ``limit`` in bytes that may wait. The handle 636e: is our mark. Any other ``type`` is somebody else's."""

    kind: ClassVar[str] = "qdisc"
    batch: ClassVar[str] = "qdisc"
    marked: ClassVar[str] = "inventory"  # whose it is, the handle says; where to look, nobody else remembers
    fixed: ClassVar[Mapping[str, str]] = {"type": "one discipline is replaced by another"}
    follows: ClassVar[tuple[str, ...]] = ("address", "sysctl")

    type: str = "tbf"
    rate: int | None = None
    burst: int | None = None
    limit: int | None = None

    def identity(self) -> Key:
        return qdisc_key(self.key.netns, self.dev)


class QdiscActuator:
    """Reads only the namespaces in which somebody wants one, or in which the inventory remembers one."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        known = {key for key in scope.wanted if key.kind == "qdisc"}
        known |= {Key.parse(text) for text in host.inventory.made if text.startswith("qdisc/")}
        for name in sorted({key.netns for key in known}):
            if name not in host.open_namespaces():
                continue
            namespace = host.netns(name)
            names = namespace.names()
            for raw in namespace.rtnl.dump(wire.RTM_GETQDISC, wire.dump_qdiscs(), wire.decode_qdisc):
                dev = names.get(raw.ifindex)
                if dev is None:
                    continue
                key = qdisc_key(name, dev)
                measures = (raw.rate, raw.burst, raw.limit) if raw.kind == "tbf" else (None, None, None)
                spec = Qdisc(key=key, dev=dev, type=raw.kind, rate=measures[0], burst=measures[1], limit=measures[2])
                protocol = PROTOCOL if raw.handle == wire.OURS else 0
                yield Observed(spec, owner_by_protocol(host, namespace, raw.ifindex, protocol, key))

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        requests = Requests(host)
        outcomes = {op.id: Outcome(op.id) for op in ops}
        for op in ops:
            spec = op.before if op.action in ("delete", "release") else op.after
            assert isinstance(spec, Qdisc)
            netns = op.key.netns
            index = host.netns(netns).index.get(spec.dev) if netns in host.open_namespaces() else None
            if op.action in ("delete", "release"):
                if index is not None:
                    gone = (ENOENT, ENODEV, EINVAL)  # EINVAL: there is none at the root
                    requests.add(netns, op.id, wire.delete_qdisc(index), forgive=gone)
            elif index is None:
                outcomes[op.id] = Outcome(op.id, ENODEV, f"there is no interface {spec.dev}")
            else:
                requests.add(
                    netns, op.id, wire.new_token_bucket(index, spec.rate or 0, spec.burst or 0, spec.limit or 0)
                )
        for op_id, refusal in requests.send().items():
            outcomes[op_id] = Outcome(op_id, *refusal)
        return outcomes.values()


KINDS = (Qdisc,)
ACTUATOR = QdiscActuator()
