"""Who gains and who loses reach by a plan, for people and as data."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from reconciler.engine.shift import Change, Shift
from reconciler.review.escape import markdown, visible
from reconciler.review.outline import counted

_MOST = 12  # lines of a terminal, unless asked for more
_UNFOLDED = 20  # lines of a review comment that are open at once
_ALL = 1 << 30


def show_shift(console: Console, shift: Shift, *, verbose: bool = False) -> None:
    """A line a change: what is lost first."""
    if not shift:
        return
    console.print(Text("Reach", style="bold").append(f"  {summary(shift)}", style="dim"))
    changes = shift.changes if verbose else shift.changes[:_MOST]
    for one in changes:
        sign, style = ("-", "red") if not one.gained else ("+", "green") if not one.lost else ("~", "yellow")
        who = " -> ".join(visible(shift.short(names, _ALL if verbose else 3)) for names in _sides(one))
        console.print(Text(f"  {sign:>3} ", style=style).append(f"{who}: {visible(_words(one))}", style="default"))
    if len(shift.changes) > len(changes):
        console.print(Text(f"    ... and {len(shift.changes) - len(changes)} more (-v shows them)", style="dim"))
    if shift.untold:
        console.print(Text(f"    {_untold(shift)}", style="dim"))


def shift_markdown(shift: Shift) -> str:
    """A table, in a fold where it is long; "" when there is nothing to tell."""
    if not shift:
        return ""
    rows = []
    for one in shift.changes:
        cells = [*(shift.short(names, 10) for names in _sides(one)), ", ".join(one.gained), ", ".join(one.lost)]
        rows.append("| " + " | ".join(markdown(cell).replace("|", "\\|") for cell in cells) + " |")
    table = "| from | to | gains | loses |\n|---|---|---|---|\n" + "\n".join(rows) + "\n" if rows else ""
    if len(rows) > _UNFOLDED:
        table = f"<details><summary>{summary(shift)}</summary>\n\n{table}\n</details>\n"
    head = f"#### Reach\n\n{summary(shift)}\n"
    return "\n".join(filter(None, (head, table, f"{_untold(shift)}\n" if shift.untold else "")))


def shift_to_data(shift: Shift) -> dict[str, Any]:
    """docs/plan-format.md, Reach."""
    return {
        "changes": [
            {
                "from": list(one.sources),
                "to": list(one.destinations),
                "gained": list(one.gained),
                "lost": list(one.lost),
                "named": list(one.named),
            }
            for one in shift.changes
        ],
        "comes": list(shift.comes),
        "goes": list(shift.goes),
        "untold": shift.untold,
    }


def summary(shift: Shift) -> str:
    """``12 pairs gain, 3 pairs lose``."""
    gain = sum(one.pairs for one in shift.changes if one.gained)
    lose = sum(one.pairs for one in shift.changes if one.lost)
    parts = (
        f"{counted(gain, 'pair')} gain{'s' if gain == 1 else ''}",
        f"{counted(lose, 'pair')} lose{'s' if lose == 1 else ''}",
    )
    return ", ".join(part for part, count in zip(parts, (gain, lose), strict=True) if count) or "cannot be told"


def _sides(one: Change) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return one.sources, one.destinations


def _words(one: Change) -> str:
    gains = f"gains {', '.join(one.gained)}" if one.gained else ""
    loses = f"loses {', '.join(one.lost)}" if one.lost else ""
    return "; ".join(filter(None, (gains, loses)))


def _untold(shift: Shift) -> str:
    return (
        f"{counted(shift.untold, 'pair')} not told: too many kinds of endpoints, or rules that are none of ours; "
        "`cnm reach --from --to` and `cnm explain` tell of some"
    )
