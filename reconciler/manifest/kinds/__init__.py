"""The kinds of documents: every module of this package that has ``KIND`` is one, called as the kind in small letters.

``KIND`` is the model, its name is what ``kind:`` says; ``EXAMPLE`` is a valid document of that kind, for the reference.
``API_VERSION``, where there is one, is that of a kind which is not ours; ``SCOPE`` says within what names are unique:
(part of the document, its key, what holds when the key is absent).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from types import ModuleType

from reconciler.manifest.model import API_VERSION, DocumentModel
from reconciler.modules import Each, Modules


@cache
def kind_modules() -> Mapping[str, ModuleType]:
    """Kind to the module that defines it, sorted by kind."""
    return Modules(sys.modules[__name__], place=str.lower, says=lambda module: str(module.KIND.__name__))


@cache
def kinds() -> Mapping[str, type[DocumentModel]]:
    """Kind to its model, sorted by kind."""
    return Each(kind_modules(), lambda module: module.KIND)


def api_version(kind: str) -> str:
    """What ``apiVersion:`` says in documents of a kind."""
    return str(getattr(kind_modules()[kind], "API_VERSION", API_VERSION))


def scope_of(kind: str) -> tuple[str, str, str]:
    """Where a document says within what its name is unique; empty strings: among its kind."""
    part, key, default = getattr(kind_modules()[kind], "SCOPE", ("", "", ""))
    return part, key, default
