"""The kinds of documents: every module of this package that has ``KIND`` is one, called as the kind in small letters.

``KIND`` is the model, its name is what ``kind:`` says; ``EXAMPLE`` is a valid document of that kind, for the reference.
``API_VERSION``, where there is one, is that of a kind which is not ours; ``SCOPE`` says within what names are unique:
(part of the document, its key, what holds when the key is absent).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from types import ModuleType

from reconciler.manifest.model import API_VERSION, DocumentModel


class _Modules(Mapping[str, ModuleType]):
    """Each is imported when it is asked for: few manifests have many kinds, and every command starts anew."""

    def __init__(self) -> None:
        self._names = {module.name for module in pkgutil.iter_modules(__path__)}
        self._found: dict[str, ModuleType] = {}

    def __getitem__(self, kind: str) -> ModuleType:
        module = self._found.get(kind)
        if module is None:
            module = _module(name) if (name := kind.lower()) in self._names else None
            if module is None or module.KIND.__name__ != kind:
                raise KeyError(kind)
            self._found[kind] = module
        return module

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(_module(name).KIND.__name__ for name in self._names))

    def __len__(self) -> int:
        return len(self._names)


class _Kinds(Mapping[str, type[DocumentModel]]):
    """The models, in the same way."""

    def __getitem__(self, kind: str) -> type[DocumentModel]:
        model: type[DocumentModel] = kind_modules()[kind].KIND
        return model

    def __iter__(self) -> Iterator[str]:
        return iter(kind_modules())

    def __len__(self) -> int:
        return len(kind_modules())


@cache
def kind_modules() -> Mapping[str, ModuleType]:
    """Kind to the module that defines it, sorted by kind."""
    return _Modules()


@cache
def kinds() -> Mapping[str, type[DocumentModel]]:
    """Kind to its model, sorted by kind."""
    return _Kinds()


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def api_version(kind: str) -> str:
    """What ``apiVersion:`` says in documents of a kind."""
    return str(getattr(kind_modules()[kind], "API_VERSION", API_VERSION))


def scope_of(kind: str) -> tuple[str, str, str]:
    """Where a document says within what its name is unique; empty strings: among its kind."""
    part, key, default = getattr(kind_modules()[kind], "SCOPE", ("", "", ""))
    return part, key, default
