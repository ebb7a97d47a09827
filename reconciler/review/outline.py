"""A plan as people read it: by document, one line a resource."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any

from msgspec import Struct

from reconciler.planner.plan import Action, Op, Plan
from reconciler.resources.resource import Impact

SYMBOLS = {"create": "+", "update": "~", "recreate": "-/+", "delete": "-", "adopt": "<", "release": ">"}
NO_DOCUMENT = "no longer asked for"


class Line(Struct, frozen=True):
    """One resource of a plan. ``changes`` are (field, before, after) in words."""

    sort: str  # a key of SYMBOLS
    key: str
    reason: str
    impact: Impact
    changes: tuple[tuple[str, str, str], ...]
    along: tuple[str, ...]


class Section(Struct, frozen=True):
    """What a plan does for one document, in execution order."""

    title: str
    place: str
    lines: tuple[Line, ...]


def outline(plan: Plan) -> tuple[Section, ...]:
    """Sections in the order of their titles; what no manifest asks for comes last, under the reason why it goes."""
    sections: dict[str, list[Line]] = {}
    places: dict[str, str] = {}
    for op in plan.ops():
        if op.recreate and op.action is Action.DELETE:
            continue  # told once, with the creation
        title = op.origin.document or op.reason or NO_DOCUMENT
        sections.setdefault(title, []).append(_line(op))
        if op.origin.file:
            places.setdefault(title, op.origin.file if not op.origin.line else f"{op.origin.file}:{op.origin.line}")
    ordered = sorted(sections, key=lambda title: (_rank(title), title))
    return tuple(Section(title, places.get(title, ""), tuple(sections[title])) for title in ordered)


def _rank(title: str) -> int:
    order = ("Node", "Network", "Sandbox", "Endpoint")
    kind = title.partition("/")[0]
    return order.index(kind) if kind in order else len(order)


def _line(op: Op) -> Line:
    sort = "recreate" if op.recreate else str(op.action)
    return Line(
        sort=sort,
        key=str(op.key),
        reason="" if op.action in (Action.UPDATE, Action.ADOPT) or not op.origin.document else op.reason,
        impact=op.impact,
        changes=changes_of(op) if op.before is not None and op.after is not None else (),
        along=tuple(map(str, op.also_removes)),
    )


def changes_of(op: Op) -> tuple[tuple[str, str, str], ...]:
    before = op.before.data() if op.before is not None else {}
    after = op.after.data() if op.after is not None else {}
    return tuple(_differences("", before, after))


def _differences(prefix: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    for name, wanted in after.items():
        seen = before.get(name)
        if seen == wanted:
            continue
        if isinstance(wanted, dict) and isinstance(seen, (dict, type(None))):
            found += _differences(f"{prefix}{name}.", seen or {}, wanted)
        elif name == "sysctls" and isinstance(wanted, list) and isinstance(seen, list):
            old = dict(map(tuple, seen))
            found += [(path, word(old.get(path)), word(value)) for path, value in wanted if old.get(path) != value]
        elif name == "rules" and isinstance(wanted, list) and isinstance(seen, list):
            found += _rules(seen, wanted)
        elif isinstance(wanted, str) and isinstance(seen, str) and "\n" in seen + wanted:
            found += [(f"{prefix}{name}, {where}", old, new) for where, old, new in _lines(seen, wanted)]
        else:
            found.append((f"{prefix}{name}", word(seen), word(wanted)))
    return found


def _rules(seen: list[Any], wanted: list[Any]) -> list[tuple[str, str, str]]:
    """Rules by what they are for: those that are missing, those that are too many, or their order."""
    gone = [rule for rule in wanted if rule not in seen]
    extra = [rule for rule in seen if rule not in wanted]
    found = [("rule", "missing", rule["comment"]) for rule in gone]
    found += [("rule", rule["comment"] or "(no comment)", "removed") for rule in extra]
    return found or [("rules", "in another order", "put in order")]


def _lines(seen: str, wanted: str) -> list[tuple[str, str, str]]:
    """Where a text of several lines differs: the number of the first line there, and what stood and shall stand."""
    old, new = seen.splitlines(), wanted.splitlines()
    return [
        (
            f"line {low + 1}",
            " ".join(line.strip() for line in old[first:last]) or "nothing",
            " ".join(line.strip() for line in new[low:high]) or "nothing",
        )
        for kind, first, last, low, high in SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        if kind != "equal"
    ]


def word(value: Any) -> str:
    """A value as a person writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {word(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(word, value)) + "]"
    return str(value) if value != "" else '""'


def counted(number: int, noun: str) -> str:
    """``1 step``, ``2 steps``."""
    return f"{number} {noun}{'' if number == 1 else 'es' if noun.endswith('x') else 's'}"


def summary(plan: Plan) -> str:
    """One line: how much of what."""
    counts = plan.counts()
    words = {
        "create": "to create",
        "update": "to change in place",
        "recreate": "to make anew",
        "delete": "to delete",
        "adopt": "to take over",
    }
    parts = [f"{counts[sort]} {text}" for sort, text in words.items() if counts[sort]]
    along = sum(len(op.also_removes) for op in plan.ops() if op.action is Action.DELETE and not op.recreate)
    if along:
        parts.append(f"{along} going along")
    if plan.pending:
        parts.append(f"{len(plan.pending)} pending")
    if plan.conflicts:
        parts.append(f"{len(plan.conflicts)} in conflict")
    return "Plan: " + ", ".join(parts) + "." if parts else "No changes. The host is as the manifests say."
