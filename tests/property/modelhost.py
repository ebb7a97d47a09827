"""A host in memory that behaves as the kernel does: cascades, secondaries, needs. The contract suite holds the
declarations that it goes by against the real one."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from reconciler.planner.plan import Action, Observation, Op, Plan
from reconciler.planner.seen import SeenIndex
from reconciler.resources.address import Address
from reconciler.resources.resource import Key, Observed, Resource, spec_fields
from reconciler.resources.sysctl import Sysctl


class ModelHost:
    """``items`` is what a perfect observer would see."""

    def __init__(self, items: dict[Key, Observed] | None = None) -> None:
        self.items = dict(items or {})

    def copy(self) -> ModelHost:
        return ModelHost(self.items)

    def look(self) -> Observation:
        return Observation(items=dict(self.items))

    def run(self, plan: Plan, steps: int | None = None) -> None:
        """Execute a plan, or its first ``steps`` steps; a transaction is one step, whatever its order inside.
        AssertionError for what a kernel would refuse."""
        for stage in plan.stages:
            for batch in stage:
                atomic = type(batch.ops[0].resource).transaction
                for group in [_arranged(batch.ops)] if atomic else [(op,) for op in batch.ops]:
                    if steps is not None and steps <= 0:
                        return
                    steps = None if steps is None else steps - 1
                    for op in group:
                        self.apply(op, plan.owner)

    def apply(self, op: Op, owner: str) -> None:
        if op.action is Action.DELETE:
            self._delete(op)
        elif op.action is Action.CREATE:
            self._create(op.resource, owner)
        else:
            self._change(op, owner)

    def _create(self, spec: Resource, owner: str) -> None:
        assert spec.key not in self.items, f"{spec.key} stands already"
        assert not spec.awaited(), f"{spec.key} is not ours to make"
        for need in spec.needs():
            assert any(key in self.items for key in need.keys), f"{spec.key} needs {need.keys}"
        was = replace(spec, value="kernel's") if isinstance(spec, Sysctl) else None
        if isinstance(spec, Address) and "." in spec.address:
            spec = replace(spec, secondary=self._is_secondary(spec))
        self.items[spec.key] = Observed(spec, owner, was)

    def _is_secondary(self, spec: Address) -> bool:
        network = ip_interface(spec.address).network
        return any(
            isinstance(other, Address) and other.dev == spec.dev and ip_interface(other.address).network == network
            for key, (other, _owner, _was) in self.items.items()
            if key.netns == spec.key.netns
        )

    def _change(self, op: Op, owner: str) -> None:
        assert op.key in self.items, f"{op.key} is not there"
        seen = self.items[op.key]
        assert op.after is not None
        for key in SeenIndex(self.items).closure(seen.resource.drops(op.after, SeenIndex(self.items))):
            del self.items[key]
        was = seen.was or seen.resource if seen.resource.setting else None
        self.items[op.key] = Observed(overlay(seen.resource, op.after), owner, was)

    def _delete(self, op: Op) -> None:
        if op.resource.setting and op.after is not None:
            if op.key in self.items:
                self.items[op.key] = Observed(op.after, "", None)
            return
        for key in SeenIndex(self.items).closure([op.key]):
            self.items.pop(key, None)


def _arranged(ops: tuple[Op, ...]) -> tuple[Op, ...]:
    """A transaction's own order: what goes, then what comes, each after what it stands on."""
    gone = [op for op in ops if op.action is Action.DELETE]
    coming = {op.key: op for op in ops if op.action is not Action.DELETE}
    arranged: list[Op] = []
    while coming:
        ready = [
            op for op in coming.values() if not any(key in coming for need in op.resource.needs() for key in need.keys)
        ]
        assert ready, "a transaction that waits for itself"
        arranged += ready
        for op in ready:
            del coming[op.key]
    return (*gone, *arranged)


def overlay(seen: Any, wanted: Any) -> Any:
    """``seen`` with every field that ``wanted`` manages."""
    names = spec_fields(type(wanted)) if isinstance(wanted, Resource) else wanted.__struct_fields__
    changes = {}
    for name in names:
        value, now = getattr(wanted, name), getattr(seen, name)
        if value is not None:
            changes[name] = overlay(now, value) if isinstance(value, Struct) and type(now) is type(value) else value
    return replace(seen, **changes)
