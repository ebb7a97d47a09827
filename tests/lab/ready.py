"""What each `cnm` does once, done before forking: children find it done, some two thousand times."""

from __future__ import annotations

import gc
import importlib
import pkgutil
from functools import cache

import reconciler
from reconciler.drivers.registry import options
from reconciler.manifest.kinds import kinds


@cache
def ready() -> None:
    """Import all modules, build all models of manifests, and leave both alone: what is frozen is not looked at by each
    child's collector of garbage, and so stays shared memory."""
    for module in pkgutil.walk_packages(reconciler.__path__, f"{reconciler.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for model in (*kinds().values(), *(model for pair in options().values() for model in pair)):
        model.model_rebuild()
    gc.collect()
    gc.freeze()
