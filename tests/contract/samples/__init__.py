"""A sample of every kind of resource: each module of this package has ``SAMPLE``, and perhaps ``MORE``."""

from __future__ import annotations

import importlib
import pkgutil

from tests.contract.sample import Sample


def samples() -> list[Sample]:
    """All of them, by module."""
    found: list[Sample] = []
    for module in pkgutil.iter_modules(__path__):
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        found += [loaded.SAMPLE, *getattr(loaded, "MORE", ())]
    return found
