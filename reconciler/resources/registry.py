"""All resource kinds: every module of this package that has ``KINDS`` (and an ``ACTUATOR``) is one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

import reconciler.resources as package
from reconciler.resources.actuator import Actuator
from reconciler.resources.resource import Resource


@cache
def _modules() -> tuple[object, ...]:
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(importlib.import_module(f"{package.__name__}.{name}") for name in names if name != "registry")


@cache
def kinds() -> Mapping[str, type[Resource]]:
    """Kind name to spec class."""
    return {kind.kind: kind for module in _modules() for kind in getattr(module, "KINDS", ())}


@cache
def actuators() -> Mapping[str, Actuator]:
    """Batch name to the actuator that executes it."""
    return {
        module.KINDS[0].batch: module.ACTUATOR  # type: ignore[attr-defined]
        for module in _modules()
        if hasattr(module, "ACTUATOR")
    }
