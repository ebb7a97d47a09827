"""Plans, reports and states for a terminal, through rich."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from reconciler.engine.result import Check, Explanation, Recovery, Report, Rollback, State, Status
from reconciler.errors import Problem
from reconciler.host.bgp import BgpRoute
from reconciler.planner.plan import Observation, Pending, Plan
from reconciler.resources.resource import Impact
from reconciler.review.escape import visible
from reconciler.review.outline import SYMBOLS, Line, Section, counted, outline, summary, word

if TYPE_CHECKING:
    from reconciler.engine.shift import Shift

_COLORS = {"create": "green", "update": "yellow", "recreate": "magenta", "delete": "red", "adopt": "cyan"}
_STATES = {
    State.OK: "green",
    State.REMOTE: "dim",
    State.MISSING: "yellow",
    State.DRIFTED: "yellow",
    State.PENDING: "cyan",
    State.CONFLICT: "red",
}
_REASONS = 4  # of one document
_FOLD = 6  # resources of one document and sort beyond this many are counted, not listed, unless asked for


def show_plan(console: Console, plan: Plan, shift: Shift | None = None, *, verbose: bool = False) -> None:
    """By document, then who gains or loses reach, what is in the way, and the summary line."""
    for section in outline(plan):
        _show_section(console, section, verbose)
    if shift:
        from reconciler.review.shift import show_shift

        show_shift(console, shift, verbose=verbose)
    show_problems(console, plan.conflicts, "conflict", "red")
    show_problems(console, plan.warnings, "warning", "yellow")
    show_pending(console, plan.pending, verbose=verbose)
    console.print(Text(summary(plan), style="bold"))


def show_pending(console: Console, pending: Iterable[Pending], *, verbose: bool = False) -> None:
    """What has to wait, as warnings: a line for each thing that is waited for."""
    waiting: dict[str, list[Pending]] = {}
    for item in pending:
        waiting.setdefault(f"{item.reason} {item.key}" if verbose else item.reason, []).append(item)
    for first, *more in waiting.values():
        text = Text(f"{visible(str(first.origin))}: ", style="bold") if first.origin.file else Text()
        text.append("warning: ", style="bold cyan")
        verb = f"and {len(more)} more wait (-v shows them)" if more else "waits"
        text.append(f"{visible(str(first.key))} {verb}: {visible(first.reason)}")
        console.print(text)


def _show_section(console: Console, section: Section, verbose: bool) -> None:
    head = Text(visible(section.title), style="bold")
    if section.place:
        head.append(f"  {visible(section.place)}", style="dim")
    console.print(head)
    shown: dict[str, int] = {}
    folded: dict[str, int] = {}
    for line in section.lines:
        plain = not (line.changes or (line.impact is not Impact.NONE and line.sort != "create"))
        if plain and not verbose and shown.get(line.sort, 0) >= _FOLD:
            folded[line.sort] = folded.get(line.sort, 0) + 1
            continue
        shown[line.sort] = shown.get(line.sort, 0) + 1
        _show_line(console, line, verbose)
    for sort, count in folded.items():
        console.print(Text(f"  {SYMBOLS[sort]:>3} ... and {count} more (-v shows them)", style="dim"))


def _show_line(console: Console, line: Line, verbose: bool) -> None:
    text = Text(f"  {SYMBOLS[line.sort]:>3} ", style=_COLORS[line.sort])
    text.append(visible(line.key), style="default")
    if line.reason and line.reason != "not there yet":
        text.append(f"  ({visible(line.reason)})", style="dim")
    if line.impact is not Impact.NONE and line.sort != "create":
        text.append(f"  [{line.impact}]", style="red" if line.impact is Impact.OUTAGE else "yellow")
    console.print(text)
    for name, before, after in line.changes:
        console.print(Text(f"        {visible(name)}: {visible(before)} -> {visible(after)}"))
    if line.along:
        if verbose:
            for key in line.along:
                console.print(Text(f"        takes along {visible(key)}", style="dim"))
        else:
            console.print(Text(f"        takes along {len(line.along)} more", style="dim"))


def show_problems(console: Console, problems: Iterable[Problem], what: str = "error", style: str = "red") -> None:
    """One problem a paragraph: place, what is wrong, what to do."""
    for problem in problems:
        text = Text()
        place = str(problem.origin)
        if place != "?":
            text.append(f"{visible(place)}: ", style="bold")
        text.append(f"{what}: ", style=f"bold {style}")
        text.append(visible(problem.message))
        console.print(text)
        if problem.hint:
            console.print(Text(f"    hint: {visible(problem.hint)}", style="dim"))


def show_diff(console: Console, plan: Plan) -> None:
    """A line a resource, without the frame."""
    for section in outline(plan):
        for line in section.lines:
            text = Text(f"{SYMBOLS[line.sort]:<3} ", style=_COLORS[line.sort])
            text.append(visible(line.key))
            console.print(text)
            for name, before, after in line.changes:
                console.print(Text(f"      {visible(name)}: {visible(before)} -> {visible(after)}"))


def show_report(console: Console, report: Report, *, verbose: bool = False) -> None:
    """What was done, how long it took, and what went wrong."""
    for failure in report.failed:
        console.print(Text(f"failed: {visible(str(failure))}", style="red"))
    if report.skipped:
        console.print(
            Text(f"not tried, because something before failed: {counted(len(report.skipped), 'step')}", style="yellow")
        )
        for op in report.skipped if verbose else report.skipped[:10]:
            console.print(Text(f"    {op.action} {visible(str(op.key))}", style="dim"))
    for left in report.left:
        console.print(Text(f"left: {visible(left)}", style="red"))
    if report.reason:
        console.print(Text(visible(report.reason), style="red"))
    total = sum(report.seconds.values())
    if report.ok:
        console.print(
            Text(f"Done: {counted(len(report.done), 'step')} in {total:.2f} s, verified.", style="bold green")
        )
    else:
        console.print(
            Text(f"{len(report.done)} of {len(list(report.plan.ops()))} steps done in {total:.2f} s.", style="bold red")
        )
    if report.rollback is not None:
        _show_rollback(console, report.rollback)
    if verbose:
        console.print(
            Text(
                "  ".join(f"{stage} {seconds * 1000:.0f} ms" for stage, seconds in report.seconds.items()), style="dim"
            )
        )


def _show_rollback(console: Console, rollback: Rollback) -> None:
    if rollback.complete:
        steps = (
            f"{len(rollback.done)} steps back in {rollback.seconds:.2f} s" if rollback.done else "nothing had changed"
        )
        console.print(Text(f"Rolled back: the host is as it was before ({steps}).", style="bold"))
        return
    console.print(Text("Rolled back, but not wholly. This is not as it was:", style="bold red"))
    for line in rollback.left:
        console.print(Text(f"    {visible(line)}", style="red"))
    for line in rollback.failed:
        console.print(Text(f"    because: {visible(line)}", style="dim"))


def show_recovery(console: Console, found: Recovery) -> None:
    """What became of a run that had been interrupted."""
    what = "was finished" if found.finished else "was undone"
    console.print(Text(f"An interrupted run {what}: {visible(found.about)}", style="yellow"))
    if not (found.finished and found.rollback.complete):
        _show_rollback(console, found.rollback)


def show_status(console: Console, status: Status, *, verbose: bool = False) -> None:
    """A table, and below it what does not hold."""
    rows = [tuple(Text(head, style="bold") for head in ("KIND", "NAME", "STATE", "FACTS"))]
    for row in status.rows:
        facts = visible("  ".join(f"{name} {value}" for name, value in row.facts.items()))
        state = Text(row.state, style=_STATES[row.state])
        rows.append((Text(row.kind), Text(visible(row.name)), state, Text(facts, style="dim")))
    _show_columns(console, rows)
    _show_routes(console, status)
    for row in status.rows:
        shown = row.reasons if verbose else row.reasons[:_REASONS]
        for reason in shown:
            console.print(Text(f"{row.kind} {visible(row.name)}: {visible(reason)}", style=_STATES[row.state]))
        if len(row.reasons) > len(shown):
            more = len(row.reasons) - len(shown)
            console.print(Text(f"{row.kind} {visible(row.name)}: ... and {more} more (-v shows them)", style="dim"))
    for key in status.surplus:
        console.print(Text(f"surplus: {visible(str(key))}: no manifest asks for it any more", style="yellow"))
    show_problems(console, status.warnings, "warning", "yellow")
    total = len([row for row in status.rows if row.state is not State.REMOTE])
    good = len([row for row in status.rows if row.state is State.OK])
    words = "In sync" if status.in_sync else "Not in sync"
    style = "bold green" if status.in_sync else "bold yellow"
    console.print(
        Text(f"{words}: {good} of {total} hold on {visible(status.node)} (owner {visible(status.owner)}).", style=style)
    )


def _show_routes(console: Console, status: Status) -> None:
    """A line a route of a session, where they were asked for."""
    told = [(row.name, row.routes) for row in status.rows if row.routes is not None]
    if not told:
        return
    rows = [tuple(Text(head, style="bold") for head in ("SESSION", "WAY", "PREFIX", "NEXT HOP", "ATTRIBUTES"))]
    rest: list[str] = []
    for name, routes in told:
        for way, found, more in (
            ("learned", routes.learned, routes.more_learned),
            ("exported", routes.exported, routes.more_exported),
        ):
            for route in found:
                hop = " dev ".join(filter(None, (route.next_hop, route.dev))) or "-"
                facts = Text(visible(_attributes(route, way)), style="dim")
                rows.append((Text(visible(name)), Text(way), Text(visible(route.prefix)), Text(visible(hop)), facts))
            if more:
                rest.append(f"Session {name}: {way} more than these {len(found)} (-v shows them)")
    if len(rows) > 1:
        _show_columns(console, rows)
    for line in rest:
        console.print(Text(visible(line), style="dim"))


def _attributes(route: BgpRoute, way: str) -> str:
    said = {
        "AS path": route.as_path,
        "local preference": str(route.local_pref) if route.local_pref is not None else "",
        "communities": " ".join(route.communities),
    }
    words = ["not the best"] if way == "learned" and not route.best else []
    return "  ".join([*words, *(f"{name} {value}" for name, value in said.items() if value)])


def _show_columns(console: Console, rows: Sequence[Sequence[Text]]) -> None:
    """Left-aligned columns, two spaces between them and none at the end; a long last one folds as the terminal does."""
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = [Text.assemble(cell, " " * (width - cell.cell_len)) for cell, width in zip(row, widths, strict=True)]
        line = Text("  ").join(padded)
        line.rstrip()
        console.print(line)


def show_checks(console: Console, checks: Iterable[Check]) -> None:
    """The doctor's findings."""
    colors = {"ok": "green", "warning": "yellow", "error": "red"}
    rows = []
    for check in checks:
        finding = visible(check.finding)
        if check.remedy and check.level != "ok":
            finding += f"; remedy: {visible(check.remedy)}"
        rows.append((Text(check.level, style=colors[check.level]), Text(visible(check.subject)), Text(finding)))
    _show_columns(console, rows)


def show_observation(console: Console, observation: Observation) -> None:
    """A line a resource: key, owner, fields."""
    for key in sorted(observation.items):
        seen = observation.items[key]
        text = Text(visible(str(key)))
        if seen.owner:
            text.append(f"  [{visible(seen.owner)}]", style="cyan")
        fields = "  ".join(f"{name}={word(value)}" for name, value in seen.resource.data().items())
        text.append(f"  {visible(fields)}", style="dim")
        console.print(text)


def show_explanation(console: Console, explanation: Explanation) -> None:
    """Everything known of one key."""
    console.print(
        Text(f"{visible(str(explanation.key))}: {explanation.state}", style=f"bold {_STATES[explanation.state]}")
    )
    for origin in explanation.origins:
        by = f", rendered by driver {visible(origin.driver)}" if origin.driver else ""
        console.print(Text(f"  asked for by {visible(origin.document)} ({visible(str(origin))}){by}"))
    if not explanation.origins:
        console.print(Text("  no manifest asks for it"))
    owner = f"owner {visible(explanation.owner)}" if explanation.owner else "nobody's mark"
    console.print(Text(f"  on this host: {'not there' if explanation.seen is None else owner}"))
    wanted = explanation.wanted.data() if explanation.wanted is not None else {}
    seen = explanation.seen.data() if explanation.seen is not None else {}
    for name in dict.fromkeys((*wanted, *seen)):
        mark = "!" if name in explanation.differs else " "
        text = f"  {mark} {name}: {visible(word(seen.get(name)))}" if name in seen else f"  {mark} {name}: -"
        if name in wanted and wanted[name] != seen.get(name):
            text += f"  (wanted: {visible(word(wanted[name]))})"
        console.print(Text(text))
    for title, keys in (("stands on", explanation.needs), ("is needed by", explanation.dependents)):
        for key in keys:
            console.print(Text(f"  {title} {visible(str(key))}", style="dim"))
