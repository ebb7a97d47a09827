"""Hints for names that do not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_MOST = 24  # names in a hint: all drivers, but not all sandboxes


def meant(name: str, known: Iterable[str]) -> str:
    """``did you mean 'front'?``, or what there is."""
    names = sorted(known)
    close = get_close_matches(name, names, 1)
    if close:
        return f"did you mean {close[0]!r}?"
    shown = ", ".join(names[:_MOST]) + (", ..." if len(names) > _MOST else "")
    return f"there are: {shown}" if names else "there are none"
