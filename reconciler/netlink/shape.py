"""Messages that look alike, read by where their attributes stand.

What the kernel tells of a thousand bridges differs in values and hardly in lengths. The way through the attributes is
gone once for each shape of message: the lengths and types of all of them. Of each message after that all lengths and
types are compared at once, which proves that the way through it is the same, and the values are taken from their places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Any, Generic, NamedTuple, TypeVar, Union

from reconciler.netlink.wire import ATTRIBUTE, NLA_TYPE_MASK

T = TypeVar("T")
Tree = Mapping[int, Union[str, "Tree"]]
"""Attribute numbers to names, or to what is wanted of the attributes nested in them."""
Reading = Callable[[Sequence[bytes]], T]
"""What to make of the values of a shape, in the order in which they stand."""
Buffer = bytes | bytearray | memoryview

_MOST = 256  # shapes that are kept: a host has some dozens


class _Shape(NamedTuple, Generic[T]):
    heads: Struct
    expected: tuple[Any, ...]
    values: Struct
    reading: Reading[T]


class Shapes(Generic[T]):
    """Reads messages with ``header`` bytes before their attributes. ``reading`` is given the names of the attributes that
    a shape has, in the order in which they stand, and answers with what to make of their values."""

    def __init__(self, tree: Tree, reading: Callable[[Sequence[str]], Reading[T]], header: int = 0) -> None:
        self._tree = tree
        self._reading = reading
        self._header = header
        self._known: dict[int, list[_Shape[T]]] = {}
        self._count = 0

    def read(self, buffer: Buffer, start: int, end: int) -> T:
        """What stands in ``buffer[start:end]``."""
        for heads, expected, values, reading in self._known.get(end - start, ()):
            if heads.unpack_from(buffer, start) == expected:
                return reading(values.unpack_from(buffer, start))
        shape = self._learn(buffer, start, end)
        return shape.reading(shape.values.unpack_from(buffer, start))

    def _learn(self, buffer: Buffer, start: int, end: int) -> _Shape[T]:
        heads: list[int] = []
        leaves: list[tuple[str, int, int]] = []
        _walk(self._tree, buffer, start + self._header, end, heads, leaves)
        places = _pads([(at - start, "I", 4) for at in heads])
        values = _pads([(low - start, f"{high - low}s", high - low) for _name, low, high in leaves])
        shape = _Shape(places, places.unpack_from(buffer, start), values, self._reading([name for name, *_ in leaves]))
        if self._count >= _MOST:  # somebody makes ever new ones
            self._known.clear()
            self._count = 0
        self._known.setdefault(end - start, []).append(shape)
        self._count += 1
        return shape


def _walk(
    tree: Tree, buffer: Buffer, start: int, end: int, heads: list[int], leaves: list[tuple[str, int, int]]
) -> None:
    """Where the heads of all attributes stand, and the values of those that are wanted. It ends at the first that does not
    fit, whose head counts as well: in the next message it may fit."""
    while start + 4 <= end:
        heads.append(start)
        length, number = ATTRIBUTE.unpack_from(buffer, start)
        if length < 4 or start + length > end:
            return
        wanted = tree.get(number & NLA_TYPE_MASK)
        if isinstance(wanted, str):
            leaves.append((wanted, start + 4, start + length))
        elif wanted is not None:
            _walk(wanted, buffer, start + 4, start + length, heads, leaves)
        start += (length + 3) & ~3


def _pads(places: Sequence[tuple[int, str, int]]) -> Struct:
    """What is at these places (offset, format, length), and nothing of what is between."""
    form, at = "=", 0
    for offset, code, length in places:
        form += f"{offset - at}x{code}"
        at = offset + length
    return Struct(form)
