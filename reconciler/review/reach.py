"""Who reaches whom, for people: the matrix of all endpoints, and the way of one packet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reconciler.engine.wayfind import Told
from reconciler.policy.evaluate import Step
from reconciler.review.escape import visible

_STYLES = {"yes": "green", "some": "yellow", "no": "dim", "?": "magenta", "-": "dim"}
_VERDICTS = {True: ("allowed", "bold green"), False: ("denied", "bold red"), None: ("cannot tell", "bold magenta")}


def show_ways(console: Console, told: Sequence[Told]) -> None:
    """One paragraph an IP version: the answer first, then every step with its place in the manifests."""
    for one in told:
        word, style = _VERDICTS[one.way.allowed]
        head = f"{visible(one.source)} -> {visible(one.destination)}, {one.service}, IPv{one.version}: "
        console.print(Text(head).append(word, style=style))
        for step in one.way.steps:
            console.print(_step(step), soft_wrap=True)
    if told and not told[0].looked:
        console.print(Text("  this host's other tables were not looked at", style="dim"))


def _step(step: Step) -> Text:
    line = Text(f"  {visible(step.where)}: {visible(step.said)}")
    if step.verdict:
        style = {"allow": "green", "deny": "red"}.get(step.verdict, "yellow")
        line.append(f": {step.verdict}", style=style)
    if step.origin.file:
        line.append(f"  ({visible(str(step.origin))})", style="dim")
    return line


def ways_to_data(told: Iterable[Told]) -> list[dict[str, Any]]:
    """``allowed`` null: cannot tell."""
    return [
        {
            "from": one.source,
            "to": one.destination,
            "ip_version": one.version,
            "service": one.service,
            "allowed": one.way.allowed,
            "host_looked_at": one.looked,
            "steps": [
                {
                    "where": step.where,
                    "said": step.said,
                    "verdict": step.verdict,
                    "origin": {"file": step.origin.file, "line": step.origin.line, "column": step.origin.column},
                }
                for step in one.way.steps
            ],
        }
        for one in told
    ]


def show_matrix(
    console: Console, rows: Sequence[str], columns: Sequence[str], cells: Mapping[tuple[str, str], str]
) -> None:
    """Who sends is on the left, who receives on top, by number."""
    table = Table(box=None, pad_edge=False, show_header=True, header_style="bold")
    table.add_column("from \\ to", no_wrap=True)
    for number, _name in enumerate(columns, 1):
        table.add_column(str(number), justify="center", no_wrap=True)
    numbers = {name: number for number, name in enumerate(columns, 1)}
    for name in rows:
        shown = f"{numbers[name]:>3} {visible(name)}" if name in numbers else f"    {visible(name)}"
        marks = (cells[name, column] for column in columns)
        table.add_row(shown, *(Text(mark, style=_STYLES[mark]) for mark in marks))
    console.print(table)
    if list(rows) != list(columns):
        for name, number in numbers.items():
            console.print(Text(f"{number:>3} {visible(name)}", style="dim"))
