"""A document: one validated model and where every part of it stands in the files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.errors import Origin
from reconciler.manifest.model import DocumentModel

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """``options`` is the validated driver Options of a Network, else None. ``positions`` maps a path in the
    document (as written: camelCase keys, list indices) to (line, column), both from 1."""

    model: DocumentModel
    origin: Origin
    positions: Mapping[Path, tuple[int, int]] = field(repr=False)
    options: Any = None

    @property
    def kind(self) -> str:
        return str(getattr(self.model, "kind", ""))

    @property
    def name(self) -> str:
        return self.model.metadata.name

    def at(self, *path: str | int) -> Origin:
        """The origin of a part: ``at("spec", "subnets", 0, "gateway")``; the nearest enclosing part that is written."""
        for end in range(len(path), -1, -1):
            position = self.positions.get(path[:end])
            if position is not None:
                return replace(self.origin, line=position[0], column=position[1])
        return self.origin
