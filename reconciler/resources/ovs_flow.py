"""OpenFlow: the flows of a bridge's tables, changed by difference, all of a bridge's in one atomic bundle.

A flow is known by its table, priority and match, as OpenFlow itself has it. Ours have a cookie that says cnm, and whose.
Both match and actions are written as ``ovs-ofctl --names dump-flows`` prints them (:func:`canonical_match` takes the order of
the fields and the quotes out of it); ports are named, not numbered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from errno import EEXIST, EIO
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.ovs import ABSENT, ovs_bridge_key, ovs_port_key, switch_key
from reconciler.resources.ovs_meter import ovs_meter_key
from reconciler.resources.resource import Claim, Key, Need, Observed, Resource

if TYPE_CHECKING:
    from reconciler.host.host import Host

_MAGIC = 0x636E6D  # "cnm", the uppermost 24 bits of a cookie of ours; then 24 of the owner's, then 16 that are free
_DEFAULT = (0, 0, 0, "", "NORMAL")  # ovs-vswitchd's own, on a bridge of fail_mode standalone: nobody asked for it
_PORT = re.compile(r"\b(?:in_port|output)[=:]([A-Za-z_][A-Za-z0-9_.@-]*)")
_METER = re.compile(r"\bmeter:([0-9]+)")
_RESERVED = frozenset(("LOCAL", "NXM_NX_REG", "CONTROLLER", "NORMAL", "FLOOD", "ALL", "IN_PORT", "ANY", "NONE"))


def cookie_of(owner: str, label: int = 0) -> int:
    """The cookie of an owner's flows; ``label`` is 16 bits for whoever makes them."""
    return _MAGIC << 40 | int.from_bytes(sha256(owner.encode()).digest()[:3], "big") << 16 | label


def flow_key(bridge: str, table: int, priority: int, match: str = "") -> Key:
    """``ovs-flow/br0/10/100/dl_vlan=5,in_port=ve1``; ``*`` for a match of everything."""
    return Key("ovs-flow", "", f"{bridge}/{table}/{priority}/{canonical_match(match) or '*'}")


def canonical_match(text: str) -> str:
    """Fields sorted, no quotes, no blanks; flags of ct_state sorted."""
    return ",".join(sorted(_flags(field) for field in split(text.replace('"', "").replace(" ", "")) if field))


def canonical_actions(text: str) -> str:
    return text.replace('"', "").replace(" ", "") or "drop"


def split(text: str) -> list[str]:
    """At the commas that are in no parentheses."""
    if "(" not in text and "[" not in text:
        return text.split(",")
    found, depth, start = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign in "([") - (sign in ")]")
        if sign == "," and not depth:
            found.append(text[start:place])
            start = place + 1
    return [*found, text[start:]]


def _flags(field: str) -> str:
    name, _, value = field.partition("=")
    if name not in ("ct_state", "tcp_flags") or not value.startswith(("+", "-")):
        return field
    return f"{name}={''.join(sorted(re.findall(r'[+-][a-z_]+', value), key=lambda flag: flag[1:]))}"


class OvsFlow(Resource, frozen=True, kw_only=True):
    """``actions`` as ovs-ofctl prints them. ``label``: 16 bits of the cookie, for whoever makes flows to know them by."""

    kind: ClassVar[str] = "ovs-flow"
    batch: ClassVar[str] = "openflow"
    transaction: ClassVar[bool] = True
    marked: ClassVar[str] = (
        "inventory"  # the cookie says whose it is; on which bridges to look, the inventory remembers
    )

    actions: str
    label: int | None = None

    def identity(self) -> Key:
        place = self.place
        return flow_key(place.bridge, place.table, place.priority, place.match)

    @property
    def place(self) -> Place:
        """What its key says. Raises ValueError."""
        bridge, table, priority, match = self.key.name.split("/", 3)
        return Place(bridge, int(table), int(priority), "" if match == "*" else match)

    def needs(self) -> Iterable[Need]:
        yield Need((switch_key(),), ABSENT)
        place = self.place
        yield Need((ovs_bridge_key(place.bridge),), f"there is no OVS bridge {place.bridge}")
        for name in sorted(self.ports()):
            if name != place.bridge:
                yield Need((ovs_port_key(name),), f"there is no port {name} on bridge {place.bridge}")

        for number in self._meters():
            yield Need((ovs_meter_key(place.bridge, number),))

    def claims(self) -> Iterable[Claim]:
        place = self.place
        if (place.table, place.priority, place.match) == (0, 0, ""):
            yield Claim("ovs-default-flow", "", place.bridge)  # see OvsController

    def _meters(self) -> list[int]:
        return sorted({int(number) for number in _METER.findall(self.actions)})

    def ports(self) -> set[str]:
        """The ports that it names."""
        return {name for name in _PORT.findall(f"{self.place.match} {self.actions}") if not _number(name)}

    def hangs_on(self) -> Iterable[Key]:
        bridge = self.place.bridge
        yield ovs_bridge_key(bridge)
        yield from (ovs_meter_key(bridge, number) for number in self._meters())


def _number(name: str) -> bool:
    return name in _RESERVED or name.startswith(("NXM_", "OXM_", "reg"))


class Place(NamedTuple):
    """Where a flow is: what OpenFlow knows it by."""

    bridge: str
    table: int
    priority: int
    match: str

    def text(self) -> str:
        match = f",{self.match}" if self.match else ""
        return f"table={self.table},priority={self.priority}{match}"


class OvsFlowActuator:
    """Reads the bridges on which somebody wants flows, on which we have ports, or on which the inventory knows flows."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        wanted = {key.name.partition("/")[0] for key in scope.wanted if key.kind == OvsFlow.kind}
        known = {name.split("/")[1] for name in host.inventory.made if name.startswith(f"{OvsFlow.kind}/")}
        if not wanted | known and not host.ovsdb.present():
            return
        ours = cookie_of(scope.owner)
        for bridge in sorted(wanted | known | set(host.openflow.ours(scope.owner))):
            # Where nobody wants any, flows of others are nothing to us: there may be very many.
            only = "" if bridge in wanted else f"cookie={ours:#x}/0xffffffffffff0000"
            for cookie, table, priority, match, actions in host.openflow.flows(bridge, only):
                if (cookie, table, priority, match, actions) == _DEFAULT:
                    continue
                label = cookie & 0xFFFF
                spec = OvsFlow(
                    key=flow_key(bridge, table, priority, match), actions=canonical_actions(actions), label=label
                )
                yield Observed(spec, scope.owner if cookie - label == ours else "")

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        by_bridge: dict[str, list[OpView]] = {}
        for op in ops:
            by_bridge.setdefault(op.key.name.partition("/")[0], []).append(op)
        for bridge, here in sorted(by_bridge.items()):
            yield from self._bundle(host, bridge, here, owner)

    @staticmethod
    def _bundle(host: Host, bridge: str, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        refused: dict[str, Outcome] = {}
        lines = []
        standing = None
        for op in ops:
            spec = op.after if op.action != "delete" else op.before
            assert isinstance(spec, OvsFlow)
            ours = cookie_of(owner)
            if op.action == "delete":
                lines.append(f"delete_strict cookie={ours:#x}/0xffffffffffff0000,{spec.place.text()}")
                continue
            if op.action == "create" and not op.unmarked:
                if standing is None:
                    standing = _standing(host, bridge, ours)
                if op.key in standing:
                    refused[op.id] = Outcome(op.id, EEXIST, f"{op.key} is there already, and not ours")
                    continue
            foreign = op.unmarked or op.action == "release"
            cookie = 0 if foreign else cookie_of(owner, spec.label or 0)
            lines.append(f"add cookie={cookie:#x},{spec.place.text()},actions={spec.actions}")
        words = host.openflow.bundle(bridge, lines) if lines else ""
        gone = bool(words) and not host.openflow.stands(bridge)
        for op in ops:
            if op.id in refused:
                yield refused[op.id]
            elif words and not (gone and op.action == "delete"):
                yield Outcome(op.id, EIO, words)
            else:
                yield Outcome(op.id)


def _standing(host: Host, bridge: str, ours: int) -> set[Key]:
    """The flows of others there."""
    return {
        flow_key(bridge, table, priority, match)
        for cookie, table, priority, match, actions in host.openflow.flows(bridge)
        if cookie & ~0xFFFF != ours and (cookie, table, priority, match, actions) != _DEFAULT
    }


KINDS = (OvsFlow,)
ACTUATOR = OvsFlowActuator()
