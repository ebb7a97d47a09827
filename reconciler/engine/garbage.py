"""Python's collector of cyclic garbage, kept from looking through what stays.

A plan is hundreds of thousands of small objects without a cycle, all of them alive to the end. With Python's default
(a look after every 700 of them, through ever more) the collector takes a quarter of the time of loading, observing and
planning.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_OBJECTS = 200_000  # between two looks


def look_through() -> None:
    """Collect once, now, and never again look at what stays: for who keeps all of it for long, when there is time. Else
    the next collection comes in the middle of something that should be quick, and takes 0.8 s with 10,000 endpoints."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def seldom_collected(work: Callable[P, R]) -> Callable[P, R]:
    """Fewer collections while this is carried out. What the program around us has set is put back."""

    @wraps(work)
    def undisturbed(*args: P.args, **kwargs: P.kwargs) -> R:
        before = gc.get_threshold()
        if not before[0] or before[0] >= _OBJECTS:  # none at all, or within other such work
            return work(*args, **kwargs)
        gc.set_threshold(_OBJECTS, *before[1:])
        try:
            return work(*args, **kwargs)
        finally:
            gc.set_threshold(*before)

    return undisturbed
