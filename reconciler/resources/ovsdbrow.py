"""Rows of a database of Open vSwitch's kind (RFC 7047): how the fields of a spec and the columns of a table correspond."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from msgspec import Struct

from reconciler.host.ovsdb import a_map, a_set, atoms, pairs
from reconciler.resources.resource import Entries

OWNER, NAME, IFINDEX = (
    "cnm-owner",
    "cnm-name",
    "cnm-ifindex",
)  # external_ids: whose a row is; what it is called, on what it stands
MARKS = frozenset((OWNER, NAME, IFINDEX))


class Sort(Enum):
    """How a column holds its value."""

    ONE = "one"  # always one atom
    OPTIONAL = "optional"  # an atom or none
    SET = "set"
    MAP = "map"  # all of it is ours
    ENTRIES = "entries"  # others write to it as well
    NUMBERED = "numbered"  # number to name of a row that it refers to
    REFERENCE = "reference"  # a row or none, by its name
    REFERENCES = "references"


class Column(NamedTuple):
    """``absent`` is what the field holds where an optional column is empty: ``""``, -1. ``table``: of what it refers to."""

    name: str
    sort: Sort = Sort.ONE
    absent: Any = None
    table: str = ""


Refer = Callable[[str, str], Any]
"""(table, name of a row) to how an operation refers to it. Raises LookupError in words."""
Named = Callable[[str, str], str]
"""(table, UUID of a row) to its name, "" for one that has none."""
Reader = Callable[[Any, Named], Any]
"""A column's value, as RFC 7047 has it, to a field's."""


class Form(Struct, frozen=True, eq=False, dict=True):
    """``table``, its ``columns`` by field, and where rows of it are referred to: (table, column) of the parent's, whose
    name is in field ``parent_field`` ("" : the only row of that table). Without a parent it stands by itself."""

    table: str
    columns: Mapping[str, Column]
    parent: tuple[str, str] | None = None
    parent_field: str = ""

    @cached_property
    def _readers(self) -> tuple[tuple[str, str, Reader], ...]:
        return tuple((field, column.name, _reader(column)) for field, column in self.columns.items())

    def names(self) -> list[str]:
        """Columns to read, its identity and marks with them."""
        return sorted({"_uuid", "external_ids", *(column.name for column in self.columns.values())})

    def decode(self, row: Mapping[str, Any], named: Named) -> dict[str, Any]:
        """The fields that a row's columns make up. Runs once a row and look."""
        return {field: read(row[name], named) for field, name, read in self._readers}

    def encode(self, spec: Any, names: Iterable[str], refer: Refer) -> dict[str, Any]:
        """The columns for these fields of a spec; those that are not managed are left out. Entries are not among them:
        see :func:`entries`."""
        row = {}
        for field in names:
            column = self.columns.get(field)
            value = getattr(spec, field)
            if column is not None and value is not None and column.sort is not Sort.ENTRIES:
                row[column.name] = _encode(column, value, refer)
        return row

    def managed(self, spec: Any) -> list[str]:
        return [name for name in spec.__struct_fields__ if name in self.columns]


def _reader(column: Column) -> Reader:
    absent, table = column.absent, column.table

    def reference(value: Any, named: Named) -> str:
        return next((named(table, uuid) for uuid in atoms(value)), "")

    readers: dict[Sort, Reader] = {
        Sort.ONE: lambda value, named: value,
        Sort.OPTIONAL: lambda value, named: value if not isinstance(value, list) else next(iter(atoms(value)), absent),
        Sort.SET: lambda value, named: tuple(sorted(atoms(value))),
        Sort.MAP: lambda value, named: tuple(sorted(pairs(value).items())) if value[1] else (),
        Sort.ENTRIES: lambda value, named: _entries(value) if value[1] else _NO_ENTRIES,
        Sort.NUMBERED: lambda value, named: tuple(sorted((n, named(table, uuid)) for n, uuid in pairs(value).items())),
        Sort.REFERENCES: lambda value, named: tuple(sorted(named(table, uuid) for uuid in atoms(value))),
        Sort.REFERENCE: reference,
    }
    return readers[column.sort]


_NO_ENTRIES = Entries()


def _entries(value: Any) -> Entries:
    return Entries(tuple(sorted((name, text) for name, text in pairs(value).items() if name not in MARKS)))


def _encode(column: Column, value: Any, refer: Refer) -> Any:
    if column.sort is Sort.ONE:
        return value
    if column.sort is Sort.OPTIONAL:
        return a_set(()) if value == column.absent else value
    if column.sort is Sort.SET:
        return a_set(value)
    if column.sort is Sort.MAP:
        return a_map(value)
    if column.sort is Sort.NUMBERED:
        return a_map((number, refer(column.table, name)) for number, name in value)
    if column.sort is Sort.REFERENCES:
        return a_set(refer(column.table, name) for name in value)
    return refer(column.table, value) if value else a_set(())


def entries(column: str, wanted: Mapping[str, str]) -> Iterable[list[Any]]:
    """Mutations that bring entries of a map column to these values and leave the others alone; "" takes one away."""
    if wanted:
        yield [column, "delete", a_set(wanted)]
    there = [(name, text) for name, text in wanted.items() if text]
    if there:
        yield [column, "insert", a_map(there)]


class Formed:
    """A spec that is a row, or a part of one."""

    __slots__ = ()
    form: ClassVar[Form]
