"""Where output goes: results to standard output, everything else to standard error."""

from __future__ import annotations

import os
import sys
from typing import Literal

from rich.console import Console

_WIDTH_WITHOUT_TERMINAL = 200  # a log or a pipe: do not fold lines that somebody will grep


def _width(terminal: bool) -> int | None:
    return None if terminal or os.environ.get("COLUMNS") else _WIDTH_WITHOUT_TERMINAL


def _colors() -> Literal["auto"] | None:
    """None for NO_COLOR (no-color.org): neither colours nor bold letters."""
    return None if os.environ.get("NO_COLOR") else "auto"


def output() -> Console:
    return Console(
        color_system=_colors(),
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not sys.stdout.isatty(),
        width=_width(sys.stdout.isatty()),
    )


def errors() -> Console:
    terminal = sys.stderr.isatty()
    return Console(
        stderr=True,
        color_system=_colors(),
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not terminal,
        width=_width(terminal),
    )
