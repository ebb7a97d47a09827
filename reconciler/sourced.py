"""Values that remember where they come from."""

from __future__ import annotations

from functools import cache
from operator import attrgetter
from typing import Any, ClassVar

from msgspec import Struct


class Sourced(Struct, frozen=True, eq=False):
    """A value that is the same wherever it was asked for: the fields of ``aside`` are no part of it when it is compared
    or hashed."""

    aside: ClassVar[frozenset[str]] = frozenset({"origin"})

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        essence = _essence(type(self))
        return bool(essence(self) == essence(other))

    def __ne__(self, other: object) -> bool:  # msgspec has its own, which would not ask __eq__
        return not self == other

    def __hash__(self) -> int:
        return hash(_essence(type(self))(self))


@cache
def _essence(kind: type[Sourced]) -> attrgetter[Any]:
    return attrgetter(*(name for name in kind.__struct_fields__ if name not in kind.aside))
