"""OpenFlow meters: how much of what a flow matches may pass. They hold back what comes in where the userspace datapath does
not police its ports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from errno import EEXIST, EIO
from typing import TYPE_CHECKING, ClassVar

from reconciler.errors import ObservationError
from reconciler.host.meter import ADD, DELETE, EXISTS, MODIFY, UNKNOWN, Change, Meter, MeterSocket
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.ovs import ABSENT, ovs_bridge_key, switch_key
from reconciler.resources.resource import Key, Need, Observed, Resource

if TYPE_CHECKING:
    from reconciler.host.host import Host


def ovs_meter_key(bridge: str, number: int) -> Key:
    """``ovs-meter/br0/7``; numbers from 1 on."""
    return Key("ovs-meter", "", f"{bridge}/{number}")


class OvsMeter(Resource, frozen=True, kw_only=True):
    """``rate`` in kbit/s, ``burst`` in kbit; what is above is dropped. A meter carries no mark: on a bridge of ours all of
    them are ours, on another those that the inventory knows."""

    kind: ClassVar[str] = "ovs-meter"
    batch: ClassVar[str] = "ovs-meter"
    marked: ClassVar[str] = "inventory"

    rate: int
    burst: int

    def identity(self) -> Key:
        return ovs_meter_key(self.bridge, self.number)

    @property
    def bridge(self) -> str:
        return self.key.name.partition("/")[0]

    @property
    def number(self) -> int:
        """Raises ValueError."""
        return int(self.key.name.partition("/")[2])

    def needs(self) -> Iterable[Need]:
        yield Need((switch_key(),), ABSENT)
        yield Need((ovs_bridge_key(self.bridge),), f"there is no OVS bridge {self.bridge}")

    def hangs_on(self) -> Iterable[Key]:
        yield ovs_bridge_key(self.bridge)


class OvsMeterActuator:
    """One connection a bridge."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        kind = f"{OvsMeter.kind}/"
        wanted = {key.name.partition("/")[0] for key in scope.wanted if key.kind == OvsMeter.kind}
        known = {name.split("/")[1] for name in host.inventory.made if name.startswith(kind)}
        own = set(host.openflow.own(scope.owner))
        for bridge in sorted(wanted | known | own):
            if not host.openflow.stands(bridge):
                continue
            try:
                with closing(MeterSocket(host.openflow.socket(bridge))) as socket:
                    meters = socket.meters()
            except (FileNotFoundError, ConnectionRefusedError):
                continue
            except OSError as error:
                if bridge in wanted:
                    raise ObservationError(f"meters of bridge {bridge}: {error.strerror or error}") from None
                continue
            for meter in meters:
                key = ovs_meter_key(bridge, meter.number)
                ours = bridge in own or str(key) in host.inventory.made
                spec = OvsMeter(key=key, rate=meter.rate, burst=meter.burst)
                yield Observed(spec, scope.owner if ours else "")

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        by_bridge: dict[str, list[OpView]] = {}
        for op in ops:
            by_bridge.setdefault(op.key.name.partition("/")[0], []).append(op)
        for bridge, here in sorted(by_bridge.items()):
            try:
                host.step("openflow", f"meters {bridge}")
                with closing(MeterSocket(host.openflow.socket(bridge))) as socket:
                    yield from self._change(socket, here)
            except OSError as error:
                gone = isinstance(error, (FileNotFoundError, ConnectionRefusedError))
                for op in here:
                    done = gone and op.action == "delete"
                    words = f"bridge {bridge}: {error.strerror or error}"
                    yield Outcome(op.id) if done else Outcome(op.id, error.errno or EIO, words)

    @staticmethod
    def _change(socket: MeterSocket, ops: Sequence[OpView]) -> Iterable[Outcome]:
        changes = [Change(_COMMANDS.get(op.action, MODIFY), _meter(op)) for op in ops]
        refused = socket.change(changes)
        there = {meter.number: meter for meter in socket.meters()} if refused else {}
        for place, op in enumerate(ops):
            refusal = refused.get(place)
            meter = changes[place].meter
            stands = refusal is not None and refusal.code == EXISTS and there.get(meter.number) == meter
            gone = refusal is not None and refusal.code == UNKNOWN and op.action == "delete"
            if refusal is None or stands or gone:
                yield Outcome(op.id)
            else:
                yield Outcome(op.id, EEXIST if refusal.code == EXISTS else EIO, refusal.text)


_COMMANDS = {"create": ADD, "delete": DELETE}


def _meter(op: OpView) -> Meter:
    spec = op.before if op.action == "delete" else op.after
    assert isinstance(spec, OvsMeter)
    return Meter(spec.number, spec.rate, spec.burst)


KINDS = (OvsMeter,)
ACTUATOR = OvsMeterActuator()
