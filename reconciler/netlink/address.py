"""RTM_*ADDR messages (include/uapi/linux/if_addr.h)."""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from struct import Struct
from typing import NamedTuple

from reconciler.netlink.wire import ATTRIBUTE, NLM_F_CREATE, NLM_F_REPLACE, U32, attribute, message, u8, u32

RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS, IFA_PROTO = 1, 2, 4, 8, 11
IFA_F_SECONDARY, IFA_F_NODAD, IFA_F_DADFAILED, IFA_F_TENTATIVE, IFA_F_PERMANENT = 0x01, 0x02, 0x08, 0x40, 0x80
IFAPROT_KERNEL_LO, IFAPROT_KERNEL_RA, IFAPROT_KERNEL_LL = 1, 2, 3

_IFADDRMSG = Struct("=BBBBI")  # family, prefix length, flags, scope, index


class RawAddress(NamedTuple):
    """One address. ``flags`` are IFA_F_*; ``protocol`` says who added it."""

    ifindex: int
    address: str
    prefix: int
    flags: int
    scope: int
    protocol: int


def dump_addresses() -> bytes:
    """The body of a dump request: all addresses of both families."""
    return _IFADDRMSG.pack(0, 0, 0, 0, 0)


def decode_address(buffer: bytearray, start: int, end: int) -> RawAddress:
    """One RTM_NEWADDR payload. IFA_LOCAL is the address itself where it differs from IFA_ADDRESS (the peer's)."""
    family, prefix, flags, scope, index = _IFADDRMSG.unpack_from(buffer, start)
    raw = b""
    protocol = 0
    offset = start + 8
    unpack = ATTRIBUTE.unpack_from
    while offset + 4 <= end:
        length, attr = unpack(buffer, offset)
        if length < 4:
            break
        if attr == IFA_LOCAL or (attr == IFA_ADDRESS and not raw):
            raw = bytes(buffer[offset + 4 : offset + length])
        elif attr == IFA_FLAGS:
            flags = U32.unpack_from(buffer, offset + 4)[0]
        elif attr == IFA_PROTO:
            protocol = buffer[offset + 4]
        offset += (length + 3) & ~3
    return RawAddress(index, inet_ntop(family, raw), prefix, flags, scope, protocol)


def _body(index: int, cidr: str) -> tuple[int, bytes, bytes]:
    address, _, prefix = cidr.partition("/")
    family = AF_INET6 if ":" in address else AF_INET
    raw = inet_pton(family, address)
    scope = 253 if family == AF_INET6 and raw[:2] == b"\xfe\x80" else 0
    return family, _IFADDRMSG.pack(family, int(prefix), 0, scope, index), attribute(IFA_LOCAL, raw)


def new_address(index: int, cidr: str, protocol: int, *, nodad: bool = False) -> bytes:
    """Add an address, or bring the flags and the protocol of the one that stands there in line."""
    family, header, local = _body(index, cidr)
    body = [header, local, attribute(IFA_ADDRESS, local[4:]), u8(IFA_PROTO, protocol)]
    prefix = int(cidr.partition("/")[2])
    if family == AF_INET and prefix < 31:
        number = int.from_bytes(local[4:8], "big") | (0xFFFFFFFF >> prefix)
        body.append(attribute(IFA_BROADCAST, number.to_bytes(4, "big")))
    if nodad and family == AF_INET6:
        body.append(u32(IFA_FLAGS, IFA_F_NODAD))
    return message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, *body)


def delete_address(index: int, cidr: str) -> bytes:
    _family, header, local = _body(index, cidr)
    return message(RTM_DELADDR, 0, header, local, attribute(IFA_ADDRESS, local[4:]))
