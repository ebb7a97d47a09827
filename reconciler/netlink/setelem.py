"""Elements of nftables sets and maps, as NFT_MSG_NEWSETELEM and NFT_MSG_DELSETELEM (include/uapi/linux/netfilter/nf_tables.h).

nft(8) reads all interval sets of a table before it changes any of its sets, and is a process; these are a few hundred bytes.
Chains and rules remain nft's affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_network
from socket import AF_INET, AF_INET6, inet_pton
from struct import Struct

from reconciler.netlink.wire import NLM_F_CREATE, NLM_F_REQUEST, attribute, message, nested, text

_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
BATCH_BEGIN, BATCH_END = 0x10, 0x11  # include/uapi/linux/netfilter/nfnetlink.h
NEWSETELEM, DELSETELEM = _SUBSYSTEM << 8 | 12, _SUBSYSTEM << 8 | 14
_BATCH_GENID = 1
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS, _LIST_ELEM = 1, 2, 3, 1
_ELEM_KEY, _ELEM_DATA, _ELEM_FLAGS = 1, 2, 3
_DATA_VALUE, _DATA_VERDICT, _VERDICT_CODE, _VERDICT_CHAIN = 1, 2, 1, 2
_INTERVAL_END = 1
_VERDICTS = {"drop": 0, "accept": 1, "continue": -1, "jump": -3, "goto": -4, "return": -5}
_FAMILIES = {"inet": 1, "ip": 2, "bridge": 7, "ip6": 10}
_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "ipv6-icmp": 58, "sctp": 132}
_ETHER_TYPES = {"ip": 0x0800, "arp": 0x0806, "ip6": 0x86DD, "8021q": 0x8100, "8021ad": 0x88A8}
_BIG, _BIG_SIGNED = Struct("!I"), Struct("!i")
_GENERIC = Struct("!BBH")  # struct nfgenmsg
_AT_ONCE = 400  # elements a message: an attribute has at most 65,535 bytes


class UnknownFormError(ValueError):
    """A type or value that is left to nft."""


def begin(generation: int) -> bytes:
    """The kernel refuses the whole batch (ERESTART) when its tables are no longer of that generation."""
    genid = attribute(_BATCH_GENID, _BIG.pack(generation))
    return message(BATCH_BEGIN, NLM_F_REQUEST, _GENERIC.pack(0, 0, _SUBSYSTEM), genid)


def end() -> bytes:
    return message(BATCH_END, NLM_F_REQUEST, _GENERIC.pack(0, 0, _SUBSYSTEM))


def elements(
    kind: int,
    place: tuple[str, str, str],
    types: tuple[str, str | None],
    items: Sequence[tuple[str, str | None]],
    *,
    interval: bool,
) -> Iterable[bytes]:
    """Messages that add (NEWSETELEM) or remove (DELSETELEM) items of a set at (family, table, set). ``types`` are those of
    key and data as nft names them, ``items`` (element, value) as in resource keys. Raises UnknownFormError."""
    family, table, name = place
    if family not in _FAMILIES:
        raise UnknownFormError(family)
    bodies = [body for element, value in items for body in _element(element, value, types, interval=interval)]
    flags = NLM_F_REQUEST | (NLM_F_CREATE if kind == NEWSETELEM else 0)
    for first in range(0, len(bodies), _AT_ONCE):
        yield message(
            kind,
            flags,
            _GENERIC.pack(_FAMILIES[family], 0, 0),
            text(_LIST_TABLE, table),
            text(_LIST_SET, name),
            nested(_LIST_ELEMENTS, *bodies[first : first + _AT_ONCE]),
        )


def _element(element: str, value: str | None, types: tuple[str, str | None], *, interval: bool) -> Iterable[bytes]:
    kind, data = types
    if not interval:
        yield _item(_concatenated(kind, element), value, data)
        return
    if " . " in kind or "-" in element:
        raise UnknownFormError(element)
    net = ip_network(element)
    behind = int(net[-1]) + 1
    if not int(net[0]) or behind == 1 << net.max_prefixlen:
        raise UnknownFormError(element)  # nft marks the ends of the number space in a way of its own
    yield _item(net[0].packed, value, data)
    yield _item(behind.to_bytes(net.max_prefixlen // 8, "big"), None, None, _INTERVAL_END)


def _item(key: bytes, value: str | None, data: str | None, flags: int = 0) -> bytes:
    parts = [nested(_ELEM_KEY, attribute(_DATA_VALUE, key))]
    if value is not None and data is not None:
        parts.append(nested(_ELEM_DATA, _data(value, data)))
    if flags:
        parts.append(attribute(_ELEM_FLAGS, _BIG.pack(flags)))
    return nested(_LIST_ELEM, *parts)


def _data(value: str, kind: str) -> bytes:
    if kind != "verdict":
        return attribute(_DATA_VALUE, _concatenated(kind, value))
    verb, _, chain = value.partition(" ")
    if verb not in _VERDICTS:
        raise UnknownFormError(value)
    code = attribute(_VERDICT_CODE, _BIG_SIGNED.pack(_VERDICTS[verb]))
    return nested(_DATA_VERDICT, code, *((text(_VERDICT_CHAIN, chain),) if chain else ()))


def _concatenated(kind: str, value: str) -> bytes:
    """Each part of a concatenation fills whole registers of four bytes."""
    kinds, values = kind.split(" . "), value.split(" . ")
    if len(kinds) != len(values):
        raise UnknownFormError(value)
    if len(kinds) == 1:
        return _value(kind, value)
    parts = (_value(one, part) for one, part in zip(kinds, values, strict=True))
    return b"".join(part + bytes(-len(part) % 4) for part in parts)


def _value(kind: str, value: str) -> bytes:
    try:
        if kind == "ipv4_addr":
            return inet_pton(AF_INET, value)
        if kind == "ipv6_addr":
            return inet_pton(AF_INET6, value)
        if kind == "ifname" and len(value.encode()) < 16 and "*" not in value:
            return value.encode().ljust(16, b"\0")
        if kind == "ether_addr":
            return bytes.fromhex(value.replace(":", "")) if value.count(":") == 5 else b""
        if kind == "ether_type":
            return (_ETHER_TYPES.get(value) or int(value, 0)).to_bytes(2, "big")
        if kind == "inet_proto":
            return (_PROTOCOLS.get(value) or int(value)).to_bytes(1, "big")
        if kind == "inet_service":
            return int(value).to_bytes(2, "big")
    except (OSError, ValueError, OverflowError):
        raise UnknownFormError(value) from None
    raise UnknownFormError(kind)
