"""All kinds of interfaces that have fields of their own: every module of this package that has ``INFO`` is one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

import reconciler.resources.linkinfo as package
from reconciler.resources.linkinfo.info import LinkInfo


@cache
def infos() -> Mapping[str, type[LinkInfo]]:
    """The kernel's word for a kind to the class of its fields."""
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.name != "registry")
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    found = [module.INFO for module in modules if hasattr(module, "INFO")]
    return {info.type: info for info in found}
