"""A plan as a review comment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from reconciler.errors import Problem
from reconciler.planner.plan import Plan
from reconciler.resources.resource import Impact
from reconciler.review.escape import code, markdown, xml
from reconciler.review.outline import SYMBOLS, Line, Section, outline, summary

if TYPE_CHECKING:
    from reconciler.engine.shift import Shift


def plan_markdown(plan: Plan, shift: Shift | None = None) -> str:
    """The summary, who gains or loses reach, what is in the way, then one fold per document."""
    where = f" on {code(plan.node)}" if plan.node else ""
    parts = [f"### cnm plan{where}\n", f"**{markdown(summary(plan))}**\n"]
    outages = [line for section in outline(plan) for line in section.lines if line.impact is Impact.OUTAGE]
    if outages:
        parts.append(f"Traffic is interrupted for {len(outages)} of them.\n")
    if shift:
        from reconciler.review.shift import shift_markdown

        parts.append(shift_markdown(shift))
    parts += _problems("Conflicts", plan.conflicts)
    parts += _problems("Warnings", plan.warnings)
    if plan.pending:
        parts.append("#### Pending\n")
        parts += [f"- {code(str(pending.key))}: {markdown(pending.reason)}\n" for pending in plan.pending]
    parts += [_section(section) for section in outline(plan)]
    return "\n".join(parts)


def _problems(title: str, problems: Iterable[Problem]) -> list[str]:
    lines = []
    for problem in problems:
        place = str(problem.origin)
        text = f"- {markdown(place)}: " if place != "?" else "- "
        hint = f" _{markdown(problem.hint)}_" if problem.hint else ""
        lines.append(f"{text}{markdown(problem.message)}{hint}\n")
    return [f"#### {title}\n", *lines] if lines else []


def _section(section: Section) -> str:
    counts: dict[str, int] = {}
    for line in section.lines:
        counts[line.sort] = counts.get(line.sort, 0) + 1
    head = ", ".join(f"{count} {sort}" for sort, count in counts.items())
    place = f" ({xml(section.place)})" if section.place else ""  # inside an HTML block, Markdown means nothing
    rows = "\n".join(_row(line) for line in section.lines)
    return (
        f"<details><summary>{xml(section.title)}{place}: {head}</summary>\n\n"
        f"| | resource | change | impact |\n|---|---|---|---|\n{rows}\n\n</details>\n"
    )


def _row(line: Line) -> str:
    changes = "<br>".join(
        f"{markdown(name)}: {markdown(before)} → {markdown(after)}" for name, before, after in line.changes
    )
    along = f"takes along {len(line.along)} more" if line.along else ""
    reason = markdown(line.reason) if line.reason != "not there yet" else ""
    what = "<br>".join(filter(None, (changes, reason, along)))
    impact = "" if line.impact is Impact.NONE else str(line.impact)
    return f"| `{SYMBOLS[line.sort]}` | {code(line.key, cell=True)} | {what} | {impact} |"
