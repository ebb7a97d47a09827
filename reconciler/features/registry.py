"""All features: every module of this package that has ``FEATURE`` is one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

import reconciler.features as package
from reconciler.features.feature import Feature


@cache
def features() -> Mapping[str, Feature]:
    """Feature name to feature."""
    found = pkgutil.iter_modules(package.__path__)
    names = sorted(module.name for module in found if not module.ispkg and module.name != "registry")
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    those = [module.FEATURE for module in modules if hasattr(module, "FEATURE")]
    return {feature.name: feature for feature in those}
