"""XFRM messages: IPsec states and policies (include/uapi/linux/xfrm.h).

Only what encrypted tunnels need: ESP in transport mode with an AEAD algorithm, policies for one UDP port.
"""

from __future__ import annotations

from socket import AF_INET, AF_INET6, IPPROTO_UDP, inet_ntop, inet_pton
from struct import Struct
from typing import NamedTuple

from reconciler.netlink.wire import NLM_F_CREATE, NLM_F_EXCL, attribute, attributes, message

NETLINK_XFRM = 6
XFRM_MSG_NEWSA, XFRM_MSG_DELSA, XFRM_MSG_GETSA = 16, 17, 18
XFRM_MSG_NEWPOLICY, XFRM_MSG_DELPOLICY, XFRM_MSG_GETPOLICY, XFRM_MSG_UPDPOLICY = 19, 20, 21, 25
XFRMA_TMPL, XFRMA_ALG_AEAD, XFRMA_PROTO = 5, 18, 25
IPPROTO_ESP = 50
DIRECTIONS = {"in": 0, "out": 1}
ALLOW, BLOCK = 0, 1
ANYBODY = ("0.0.0.0", "::")  # noqa: S104 - selectors, nothing listens

_SELECTOR = Struct(
    "=16s16sHHHHHBBBxxxiI"
)  # daddr, saddr, dport, mask, sport, mask, family, prefixes, proto, ifindex, user
_ID = Struct("=16s4sBxxx")  # daddr, spi (big-endian), proto
_LIMITS = Struct("=8Q")  # soft and hard limits of bytes, packets, seconds since made, seconds since used
_UNLIMITED = _LIMITS.pack(*[(1 << 64) - 1] * 4, *[0] * 4)
_COUNTERS = b"\0" * 32  # struct xfrm_lifetime_cur
_SA_TAIL = Struct("=12xIIHBBBxxxxxxx")  # statistics, sequence, reqid, family, mode, replay window, flags
_POLICY_TAIL = Struct("=IIBBBBxxxx")  # priority, index, direction, action, flags, share
_TEMPLATE = Struct("=16s4sBxxxHxx16sIBBBxIII")  # id, family, saddr, reqid, mode, share, optional, algorithms
_AEAD = Struct("=64sII")  # name, bits of the key, bits of the integrity check value
_SA_ID = Struct("=16s4sHBx")
_POLICY_ID = Struct("=56sIBxxx")
_ALL = 0xFFFFFFFF


class RawState(NamedTuple):
    """One security association. ``key`` is secret: it goes no further than who compares it."""

    src: str
    dst: str
    spi: int
    proto: int
    reqid: int
    mode: int
    algorithm: str
    icv: int
    key: bytes


class RawPolicy(NamedTuple):
    """One policy for a UDP port. ``spi`` 0: any state of ``reqid``; ``templates`` how many transforms it asks for."""

    src: str
    dst: str
    port: int
    direction: int
    action: int
    priority: int
    reqid: int
    spi: int
    templates: int


def _packed(address: str) -> bytes:
    return inet_pton(_family(address), address).ljust(16, b"\0")


def _family(address: str) -> int:
    return AF_INET6 if ":" in address else AF_INET


def _text(raw: bytes, family: int) -> str:
    return inet_ntop(family, raw[:4] if family == AF_INET else raw)


def _prefix(address: str) -> int:
    """All of an address, or with the address of zeros everything."""
    return 0 if address in ANYBODY else 128 if ":" in address else 32


def dump_states() -> bytes:
    """The body of a dump request: ESP states only."""
    return attribute(XFRMA_PROTO, bytes([IPPROTO_ESP]))


def dump_policies() -> bytes:
    return b""


def decode_state(buffer: bytearray, start: int, end: int) -> RawState | None:
    """One XFRM_MSG_NEWSA payload; None for what is not ESP."""
    dst, spi, proto = _ID.unpack_from(buffer, start + 56)
    if proto != IPPROTO_ESP:
        return None
    src = bytes(buffer[start + 80 : start + 96])
    _seq, reqid, family, mode, _window, _flags = _SA_TAIL.unpack_from(buffer, start + 192)
    algorithm, icv, key = "", 0, b""
    for kind, low, high in attributes(buffer, start + 224, end):
        if kind == XFRMA_ALG_AEAD:
            name, bits, icv = _AEAD.unpack_from(buffer, low)
            algorithm = name.rstrip(b"\0").decode("ascii", "replace")
            key = bytes(buffer[low + 72 : min(high, low + 72 + bits // 8)])
    number = int.from_bytes(spi, "big")
    return RawState(_text(src, family), _text(dst, family), number, proto, reqid, mode, algorithm, icv, key)


def decode_policy(buffer: bytearray, start: int, end: int) -> RawPolicy | None:
    """One XFRM_MSG_NEWPOLICY payload; None for what is not about one UDP port between hosts or from anywhere."""
    dst, src, dport, dmask, _sport, smask, family, dlen, slen, proto, ifindex, _user = _SELECTOR.unpack_from(
        buffer, start
    )
    priority, _index, direction, action, _flags, _share = _POLICY_TAIL.unpack_from(buffer, start + 152)
    whole = 32 if family == AF_INET else 128
    if proto != IPPROTO_UDP or dmask != 0xFFFF or smask or ifindex or not {dlen, slen} <= {0, whole}:
        return None
    reqid = spi = templates = 0
    for kind, low, high in attributes(buffer, start + 168, end):
        if kind == XFRMA_TMPL:
            templates = (high - low) // _TEMPLATE.size
            first = _TEMPLATE.unpack_from(buffer, low)
            spi, reqid = int.from_bytes(first[1], "big"), first[5]
    port = int.from_bytes(dport.to_bytes(2, "little"), "big")
    return RawPolicy(_text(src, family), _text(dst, family), port, direction, action, priority, reqid, spi, templates)


def new_state(src: str, dst: str, spi: int, reqid: int, algorithm: str, icv: int, key: bytes) -> bytes:
    """Add an ESP state in transport mode. No replay window: with keys from a file a sender that restarts counts from
    one again, and would be shut out (docs/adr)."""
    family = _family(dst)
    selector = _SELECTOR.pack(b"", b"", 0, 0, 0, 0, family, 0, 0, 0, 0, 0)
    identity = _ID.pack(_packed(dst), spi.to_bytes(4, "big"), IPPROTO_ESP)
    tail = _SA_TAIL.pack(0, reqid, family, 0, 0, 0)
    body = selector + identity + _packed(src) + _UNLIMITED + _COUNTERS + tail
    aead = _AEAD.pack(algorithm.encode(), len(key) * 8, icv) + key
    return message(XFRM_MSG_NEWSA, NLM_F_CREATE | NLM_F_EXCL, body, attribute(XFRMA_ALG_AEAD, aead))


def delete_state(dst: str, spi: int) -> bytes:
    return message(XFRM_MSG_DELSA, 0, _SA_ID.pack(_packed(dst), spi.to_bytes(4, "big"), _family(dst), IPPROTO_ESP))


def _selector(src: str, dst: str, port: int) -> bytes:
    dport = int.from_bytes(port.to_bytes(2, "big"), "little")
    family = _family(dst)
    return _SELECTOR.pack(
        _packed(dst), _packed(src), dport, 0xFFFF, 0, 0, family, _prefix(dst), _prefix(src), IPPROTO_UDP, 0, 0
    )


def set_policy(
    direction: int, src: str, dst: str, port: int, priority: int, reqid: int, spi: int, action: int
) -> bytes:
    """Make a policy, or put this one in the place of that with the same selector in one step. ``action`` ALLOW: only
    with ESP, by the state of this SPI (0: any of ``reqid``)."""
    body = [
        _selector(src, dst, port),
        _UNLIMITED,
        _COUNTERS,
        _POLICY_TAIL.pack(priority, 0, direction, action, 0, 0),
    ]
    if action == ALLOW:
        template = _TEMPLATE.pack(
            _packed(dst), spi.to_bytes(4, "big"), IPPROTO_ESP, _family(dst), _packed(src), reqid, 0, 0, 0, _ALL, _ALL, _ALL
        )  # fmt: skip
        body.append(attribute(XFRMA_TMPL, template))
    return message(XFRM_MSG_UPDPOLICY, 0, *body)


def delete_policy(direction: int, src: str, dst: str, port: int) -> bytes:
    return message(XFRM_MSG_DELPOLICY, 0, _POLICY_ID.pack(_selector(src, dst, port), 0, direction))
