"""What is measured besides endpoints on bridges: each module has ``SCENES``. One more is one file."""

from __future__ import annotations

import importlib
import pkgutil

from tests.bench.scene import Scene


def scenes() -> list[Scene]:
    """All of them, smaller ones first."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    return sorted(
        (scene for module in modules for scene in module.SCENES), key=lambda scene: (scene.family, scene.size)
    )
