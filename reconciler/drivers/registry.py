"""All drivers: every module of this package that has ``DRIVER`` is one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

import reconciler.drivers as package
from reconciler.drivers.driver import Driver
from reconciler.manifest.options import OptionModels


@cache
def drivers() -> Mapping[str, Driver]:
    """Driver name to driver."""
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.name != "registry")
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    found = [module.DRIVER for module in modules if hasattr(module, "DRIVER")]
    return {driver.name: driver for driver in found}


def options() -> Mapping[str, OptionModels]:
    """Driver name to its option models, for loading manifests and for schemas."""
    return {name: OptionModels(driver.Options, driver.EndpointOptions) for name, driver in drivers().items()}
