"""All drivers: the modules of this package that have ``DRIVER``. A driver's module is called as it, without hyphens."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache

import reconciler.drivers as package
from reconciler.drivers.driver import Driver
from reconciler.manifest.options import OptionModels


class _Drivers(Mapping[str, Driver]):
    """Each is imported when it is asked for: few hosts use many of them, and every command starts anew."""

    def __init__(self) -> None:
        self._modules = sorted(module.name for module in pkgutil.iter_modules(package.__path__))

    def __getitem__(self, name: str) -> Driver:
        driver = _driver(module) if (module := name.replace("-", "")) in self._modules else None
        if driver is None or driver.name != name:
            raise KeyError(name)
        return driver

    def __iter__(self) -> Iterator[str]:
        return iter(driver.name for module in self._modules if (driver := _driver(module)) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Options(Mapping[str, OptionModels]):
    """The option models of each, in the same way."""

    def __getitem__(self, name: str) -> OptionModels:
        driver = drivers()[name]
        return OptionModels(driver.Options, driver.EndpointOptions)

    def __iter__(self) -> Iterator[str]:
        return iter(drivers())

    def __len__(self) -> int:
        return len(drivers())


@cache
def drivers() -> Mapping[str, Driver]:
    """Driver name to driver."""
    return _Drivers()


@cache
def options() -> Mapping[str, OptionModels]:
    """Driver name to its option models, for loading manifests and for schemas."""
    return _Options()


@cache
def _driver(module: str) -> Driver | None:
    """None for what drivers have in common."""
    driver: Driver | None = getattr(importlib.import_module(f"{package.__name__}.{module}"), "DRIVER", None)
    return driver
