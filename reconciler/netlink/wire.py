"""Messages and attributes: struct nlmsghdr and struct nlattr (include/uapi/linux/netlink.h)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import NamedTuple

HEADER = Struct("=IHHII")  # length, type, flags, sequence, port id
ATTRIBUTE = Struct("=HH")  # length, type
ERROR = Struct("=i")
U8, U16, U32, I32 = Struct("=B"), Struct("=H"), Struct("=I"), Struct("=i")
_NUMBER = Struct("=HHI")  # an attribute with 32 bits

NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN = 1, 2, 3, 4
NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK, NLM_F_DUMP_INTR = 0x1, 0x2, 0x4, 0x10
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLM_F_DUMP = 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
NLA_F_NESTED, NLA_TYPE_MASK = 0x8000, 0x3FFF
NLMSGERR_ATTR_MSG = 1


class Refusal(NamedTuple):
    """A request that the kernel refused: errno (positive) and its own words, where it had any."""

    errno: int
    text: str


_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
_ENDINGS = tuple(b"\0" + padding for padding in _PADDING)  # of a string


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = 4 + len(payload)
    return ATTRIBUTE.pack(length, kind) + payload + _PADDING[length & 3]


def u8(kind: int, value: int) -> bytes:
    return b"\x05\0" + U16.pack(kind) + U8.pack(value) + b"\0\0\0"


def u16(kind: int, value: int) -> bytes:
    return b"\x06\0" + U16.pack(kind) + U16.pack(value) + b"\0\0"


def u32(kind: int, value: int) -> bytes:
    return _NUMBER.pack(8, kind, value)


def text(kind: int, value: str) -> bytes:
    """A NUL-terminated string."""
    payload = value.encode()
    length = 5 + len(payload)
    return ATTRIBUTE.pack(length, kind) + payload + _ENDINGS[length & 3]


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def message(kind: int, flags: int, *body: bytes) -> bytes:
    """A request; sequence and port id are left 0 for the socket to fill in."""
    payload = b"".join(body)
    return HEADER.pack(16 + len(payload), kind, flags | NLM_F_REQUEST, 0, 0) + payload


def attributes(buffer: bytes | bytearray | memoryview, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(type, payload start, payload end) of each attribute in ``buffer[start:end]``.

    Stops at the first attribute that does not fit: what the kernel sends is well-formed, and a cut-off tail
    must not raise.
    """
    unpack = ATTRIBUTE.unpack_from
    while start + 4 <= end:
        length, kind = unpack(buffer, start)
        if length < 4 or start + length > end:
            return
        yield kind & NLA_TYPE_MASK, start + 4, start + length
        start += (length + 3) & ~3


def string(buffer: bytes | bytearray | memoryview, start: int, end: int) -> str:
    """A string attribute; bytes that are not UTF-8 (interface names may hold any) survive as surrogates."""
    return bytes(buffer[start:end]).rstrip(b"\0").decode("utf-8", "surrogateescape")


def concatenate(messages: Iterable[bytes], sequence: int) -> bytearray:
    """Many requests as one datagram, numbered from ``sequence``; the last one asks for an acknowledgement,
    the others answer only when they fail."""
    parts = list(messages)
    datagram = bytearray(b"".join(parts))
    offset = 0
    for number, part in enumerate(parts):
        U32.pack_into(datagram, offset + 8, sequence + number)
        if number == len(parts) - 1:
            flags = U16.unpack_from(datagram, offset + 6)[0]
            U16.pack_into(datagram, offset + 6, flags | NLM_F_ACK)
        offset += len(part)
    return datagram
