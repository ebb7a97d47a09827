"""Attributes by table: what a kind of interface has besides what all have, as field name -> attribute.

One table a kind is all that a new kind of interface needs here. Numbers are those of include/uapi/linux/if_link.h.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Any, NamedTuple

from reconciler.netlink.shape import Reading, Shapes
from reconciler.netlink.wire import NLA_F_NESTED, attribute, attributes


class Codec(NamedTuple):
    """A value to an attribute's payload and back."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


def _number(length: int, byteorder: str = "little", as_type: type = int) -> Codec:
    def encode(value: Any) -> bytes:
        return int(value).to_bytes(length, byteorder)  # type: ignore[arg-type]  # one of the two words

    def decode(data: bytes) -> Any:
        return as_type(int.from_bytes(data, byteorder))  # type: ignore[arg-type]  # one of the two words

    return Codec(encode, decode)


U8, U16, U32, U64 = _number(1), _number(2), _number(4), _number(8)
I32 = Codec(
    lambda value: int(value).to_bytes(4, "little", signed=True),
    lambda data: int.from_bytes(data, "little", signed=True),
)
BE16 = _number(2, "big")  # ports
FLAG8, FLAG16, FLAG32 = _number(1, as_type=bool), _number(2, as_type=bool), _number(4, as_type=bool)
IP = Codec(
    lambda text: inet_pton(AF_INET6 if ":" in text else AF_INET, text),
    lambda data: inet_ntop(AF_INET if len(data) == 4 else AF_INET6, data),
)
MAC = Codec(lambda text: bytes.fromhex(text.replace(":", "")), lambda data: data.hex(":"))
STRING = Codec(lambda text: text.encode() + b"\0", lambda data: data.rstrip(b"\0").decode("utf-8", "replace"))


def choice(codec: Codec, names: Mapping[str, int]) -> Codec:
    """An enumeration, by name; a number that has none here is read as ``?N``."""
    words = {number: name for name, number in names.items()}
    return Codec(
        lambda name: codec.encode(names[name]),
        lambda data: words.get(number := codec.decode(data), f"?{number}"),
    )


def listed(number: int, codec: Codec) -> Codec:
    """A nested list of attributes of one number, as a tuple."""
    return Codec(
        lambda values: b"".join(attribute(number, codec.encode(value)) for value in values),
        lambda data: tuple(codec.decode(data[first:last]) for _, first, last in attributes(data, 0, len(data))),
    )


def bits(codec: Codec, names: Mapping[str, int]) -> Codec:
    """A set of flags in one number, as a sorted tuple of their names."""
    return Codec(
        lambda words: codec.encode(sum(names[word] for word in words)),
        lambda data: tuple(sorted(name for name, bit in names.items() if codec.decode(data) & bit)),
    )


class Attribute(NamedTuple):
    """Where a field lives. ``number6`` is the attribute of an IPv6 value where that is another one; ``reads`` the one
    that the kernel answers with where it is not the one that it takes. ``absent`` is the value when the kernel leaves
    the attribute out."""

    number: int
    codec: Codec
    number6: int = 0
    reads: int = 0
    nested: bool = False
    absent: Any = None


class Table:
    """The attributes of one kind, by field name."""

    def __init__(self, **fields: Attribute) -> None:
        self._fields = fields
        self._absent = {name: field.absent for name, field in fields.items() if field.absent is not None}
        self._decode = {name: field.codec.decode for name, field in fields.items()}
        tree = {
            number: name
            for name, field in fields.items()
            for number in (field.reads or field.number, field.number6)
            if number
        }
        self._shapes = Shapes(tree, self._named)

    def encode(self, values: Mapping[str, Any]) -> bytes:
        """Attributes for the values that are not None. Raises KeyError for a field that is not of this table."""
        body = b""
        for name, value in values.items():
            if value is None:
                continue
            field = self._fields[name]
            payload = field.codec.encode(value)
            number = field.number6 if field.number6 and len(payload) == 16 else field.number
            body += attribute(number | (NLA_F_NESTED if field.nested else 0), payload)
        return body

    def decode(self, data: bytes) -> dict[str, Any]:
        """The values that ``data`` carries; what the table does not know is skipped."""
        return self._shapes.read(data, 0, len(data))

    def _named(self, names: Sequence[str]) -> Reading[dict[str, Any]]:
        """The values of a shape by field name, decoded. Those of one interface are mostly those of the last."""
        known = [(name, self._decode[name]) for name in names]
        last: tuple[Sequence[bytes], dict[str, Any]] = ((), {})

        def reading(values: Sequence[bytes]) -> dict[str, Any]:
            nonlocal last
            if values != last[0] or not values:
                last = values, {name: decode(raw) for (name, decode), raw in zip(known, values, strict=True)}
            return self._absent | last[1]

        return reading


BRIDGE_PORT = Table(
    hairpin=Attribute(4, FLAG8),
    learning=Attribute(8, FLAG8),
    neigh_suppress=Attribute(32, FLAG8),
    isolated=Attribute(33, FLAG8),
)
