"""What stands in a package, one thing a module: found by being there, imported when it is asked for.

Every command starts anew, and few hosts use many drivers or kinds of documents.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


class Modules(Mapping[str, ModuleType]):
    """Modules of a package by the name of what they define, sorted by module. ``place`` says in which module a name is;
    ``says`` what a module defines, None for one that only helps others. A name of neither is a KeyError."""

    def __init__(
        self, package: ModuleType, place: Callable[[str], str], says: Callable[[ModuleType], str | None]
    ) -> None:
        self._package, self._place, self._says = package.__name__, place, says
        self._files = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
        self._found: dict[str, ModuleType] = {}

    def __getitem__(self, name: str) -> ModuleType:
        found = self._found.get(name)
        if found is None:
            if (file := self._place(name)) not in self._files or self._says(module := self._import(file)) != name:
                raise KeyError(name)
            found = self._found[name] = module
        return found

    def __iter__(self) -> Iterator[str]:
        return (name for file in self._files if (name := self._says(self._import(file))) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _import(self, file: str) -> ModuleType:
        return importlib.import_module(f"{self._package}.{file}")


class Each(Mapping[str, T]):
    """What ``of`` makes of each value of a mapping, when it is asked for."""

    def __init__(self, source: Mapping[str, S], of: Callable[[S], T]) -> None:
        self._source: Mapping[str, S] = source
        self._of = of

    def __getitem__(self, name: str) -> T:
        return self._of(self._source[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._source)

    def __len__(self) -> int:
        return len(self._source)
