"""A document: one validated model and where every part of it stands in the files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.errors import Origin
from reconciler.manifest.model import DocumentModel

Path = tuple[str | int, ...]


class Document(Struct, frozen=True):
    """``options`` are the validated driver options of a Network or Endpoint, else None. ``positions`` maps a path in the
    document (as written: camelCase keys, list indices) to (line, column), both from 1. ``patched`` maps the path
    of what a Patch put there to the operation in the Patch, which may stand in another file."""

    model: DocumentModel
    origin: Origin
    positions: Mapping[Path, tuple[int, int]]
    options: Any = None
    patched: Mapping[Path, Origin] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return str(getattr(self.model, "kind", ""))

    @property
    def name(self) -> str:
        return self.model.metadata.name

    def says(self, *path: str | int) -> bool:
        """Whether the user wrote it, here or by a patch; fields by their Python names: ``says("spec", "link_local")``."""
        here: Any = self.model
        for part in path:
            if isinstance(part, int):
                here = here[part]
            elif part not in here.model_fields_set:
                return False
            else:
                here = getattr(here, part)
        return True

    def at(self, *path: str | int) -> Origin:
        """The origin of a part: ``at("spec", "subnets", 0, "gateway")``; the nearest enclosing part that is written."""
        return place_of(path, self.origin, self.positions, self.patched)


def place_of(
    path: Path, origin: Origin, positions: Mapping[Path, tuple[int, int]], patched: Mapping[Path, Origin]
) -> Origin:
    """Where a part of a document comes from: the patch that put it there, else the nearest place in the document
    itself, which ``origin`` names."""
    if patched:
        for end in range(len(path), -1, -1):
            operation = patched.get(path[:end])
            if operation is not None:
                return replace(operation, document=origin.document, driver=origin.driver)
    for end in range(len(path), -1, -1):
        position = positions.get(path[:end])
        if position is not None:
            return replace(origin, line=position[0], column=position[1])
    return origin
