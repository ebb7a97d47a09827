"""What an update changes, in words: ``mtu: 1500 -> 9000; port.isolated: false -> true``."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from reconciler.resources.resource import Resource, satisfied


def difference(before: Resource, after: Resource) -> str:
    """Every field that ``after`` manages and ``before`` holds otherwise; empty when there is none."""
    return "; ".join(
        part for name in before.differs(after) for part in _parts(name, getattr(before, name), getattr(after, name))
    )


def _parts(name: str, seen: Any, wanted: Any) -> list[str]:
    if isinstance(wanted, Struct) and type(seen) is type(wanted):
        return [
            text
            for part in wanted.__struct_fields__
            if not satisfied(getattr(seen, part), getattr(wanted, part))
            for text in _parts(f"{name}.{part}", getattr(seen, part), getattr(wanted, part))
        ]
    if isinstance(wanted, tuple) and isinstance(seen, tuple):
        names = [_name(spec) for spec in wanted]
        if all(names) and names == [_name(spec) for spec in seen]:
            return [
                part
                for own, old, new in zip(names, seen, wanted, strict=True)
                if not satisfied(old, new)
                for part in _parts(f"{name}.{own}", old, new)
            ]
        if _is_table(seen) and _is_table(wanted):
            old, new = dict(seen), dict(wanted)
            paths = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
            return [f"{path}: {_show(old.get(path))} -> {_show(new.get(path))}" for path in paths]
        added, gone = (sum(item not in than for item in items) for items, than in ((wanted, seen), (seen, wanted)))
        return [f"{name}: {added} added, {gone} removed" if added or gone else f"{name}: in another order"]
    if isinstance(wanted, str) and isinstance(seen, str) and "\n" in seen + wanted:
        stood, shall = seen.splitlines(), wanted.splitlines()
        added, gone = (sum(line not in than for line in lines) for lines, than in ((shall, stood), (stood, shall)))
        return [f"{name}: {added} lines added, {gone} removed" if added or gone else f"{name}: lines in another order"]
    return [f"{name}: {_show(seen)} -> {_show(wanted)}"]


def _name(spec: Any) -> str:
    """What one of several nested specs is called: ``interfaces.eth0``; "" when it has no name."""
    own = getattr(spec, "name", None) if isinstance(spec, Struct) else None
    return own if isinstance(own, str) else ""


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
