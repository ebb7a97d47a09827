"""All drivers: the modules of this package that have ``DRIVER``. A driver's module is called as it, without hyphens."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import ModuleType

import reconciler.drivers as package
from reconciler.drivers.driver import Driver
from reconciler.manifest.options import OptionModels
from reconciler.modules import Each, Modules


@cache
def drivers() -> Mapping[str, Driver]:
    """Driver name to driver."""
    modules = Modules(package, place=lambda name: name.replace("-", ""), says=_says)
    return Each(modules, lambda module: module.DRIVER)


@cache
def options() -> Mapping[str, OptionModels]:
    """Driver name to its option models, for loading manifests and for schemas."""
    return Each(drivers(), lambda driver: OptionModels(driver.Options, driver.EndpointOptions))


def _says(module: ModuleType) -> str | None:
    driver: Driver | None = getattr(module, "DRIVER", None)
    return driver.name if driver is not None else None
