"""What an update changes, in words: ``mtu: 1500 -> 9000; port.isolated: false -> true``."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from reconciler.resources.resource import Resource, satisfied


def difference(before: Resource, after: Resource) -> str:
    """Every field that ``after`` manages and ``before`` holds otherwise; empty when there is none."""
    return "; ".join(
        part for name in before.differs(after) for part in _parts(name, getattr(before, name), getattr(after, name))
    )


def _parts(name: str, seen: Any, wanted: Any) -> list[str]:
    if is_dataclass(wanted) and type(seen) is type(wanted):
        return [
            part
            for f in fields(wanted)
            if not satisfied(getattr(seen, f.name), getattr(wanted, f.name))
            for part in _parts(f"{name}.{f.name}", getattr(seen, f.name), getattr(wanted, f.name))
        ]
    if isinstance(wanted, tuple) and isinstance(seen, tuple):
        if len(seen) == len(wanted) and all(map(is_dataclass, (*seen, *wanted))):
            pairs = zip(seen, wanted, strict=True)
            return [
                part for old, new in pairs if not satisfied(old, new) for part in _parts(_called(name, new), old, new)
            ]
        if _is_table(seen) and _is_table(wanted):
            old, new = dict(seen), dict(wanted)
            paths = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
            return [f"{path}: {_show(old.get(path))} -> {_show(new.get(path))}" for path in paths]
        added, gone = (sum(item not in than for item in items) for items, than in ((wanted, seen), (seen, wanted)))
        return [f"{name}: {added} added, {gone} removed" if added or gone else f"{name}: in another order"]
    return [f"{name}: {_show(seen)} -> {_show(wanted)}"]


def _called(name: str, spec: Any) -> str:
    """``interfaces.eth0`` of several nested specs that have names."""
    own = getattr(spec, "name", None)
    return f"{name}.{own}" if isinstance(own, str) else name


def _is_table(items: tuple[Any, ...]) -> bool:
    return all(type(item) is tuple and len(item) == 2 and isinstance(item[0], str) for item in items)


def _show(value: object) -> str:
    if value is None:
        return "?"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        return str(value) or '""'
    return "..."
