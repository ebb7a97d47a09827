"""nftables expressions as JSON (libnftables-json(5)), in the very form in which nft lists them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reconciler.resources.nft import Rule
from reconciler.resources.nftform import canonical

Expr = dict[str, Any]

ESTABLISHED: Expr = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}
ACCEPT: Expr = {"accept": None}
DROP: Expr = {"drop": None}
MASQUERADE: Expr = {"masquerade": None}


def rule(comment: str, *expressions: Expr) -> Rule:
    """``comment`` is cut to what the kernel keeps (128 bytes with its NUL)."""
    text = comment.encode()[:127].decode("utf-8", "ignore")
    return Rule(comment=text, expr=canonical(list(expressions)))


# A packet with this bit in its mark was let through by the admin's own rules (docs/policy.md).
ACCEPT_MARK = 0x00080000
LET_THROUGH: Expr = {
    "match": {"op": "==", "left": {"&": [{"meta": {"key": "mark"}}, ACCEPT_MARK]}, "right": ACCEPT_MARK}
}
# To an address of this host's own (rtnetlink's RTN_LOCAL).
LOCAL: Expr = {"match": {"op": "==", "left": {"fib": {"result": "type", "flags": ["daddr"]}}, "right": "local"}}
RETURN: Expr = {"return": None}
COUNTER: Expr = {"counter": None}
RELATED: Expr = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "related"}}
REPLY: tuple[Expr, ...] = (
    {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "established"}},
    {"match": {"op": "==", "left": {"ct": {"key": "direction"}}, "right": "reply"}},
)


def jump(chain: str) -> Expr:
    """Go there and come back."""
    return {"jump": {"target": chain}}


def goto(chain: str) -> Expr:
    """Go there; what ends there is over."""
    return {"goto": {"target": chain}}


def log(prefix: str) -> Expr:
    """To the kernel's log; the prefix is cut to what it keeps (127 bytes)."""
    return {"log": {"prefix": prefix.encode()[:126].decode("utf-8", "ignore")}}


def payload(protocol: str, field: str) -> Expr:
    """``ip saddr``, ``tcp dport``."""
    return {"payload": {"protocol": protocol, "field": field}}


def match(left: Expr, right: Any, op: str = "==") -> Expr:
    return {"match": {"op": op, "left": left, "right": right}}


def concat(*parts: Expr) -> Expr:
    """``iifname . ether saddr``."""
    return {"concat": list(parts)}


def one_of(values: Iterable[Any]) -> Any:
    """An anonymous set; of one value that value itself."""
    found = list(values)
    return found[0] if len(found) == 1 else {"set": found}


def address(version: int, side: str) -> Expr:
    """``ip saddr``, ``ip6 daddr``; ``side`` is source or destination."""
    return payload(_protocol(version), "saddr" if side == "source" else "daddr")


def vmap(key: Expr, name: str) -> Expr:
    """``KEY vmap @name``."""
    return {"vmap": {"key": key, "data": f"@{name}"}}


def meta(key: str, right: Any, op: str = "==") -> Expr:
    """``iifname "br0"``, ``oifname != @bridges``."""
    return {"match": {"op": op, "left": {"meta": {"key": key}}, "right": right}}


def source_in(version: int, name: str) -> Expr:
    """``ip saddr @name``."""
    return {"match": {"op": "==", "left": _source(version), "right": f"@{name}"}}


def verdict_map(key: str, name: str) -> Expr:
    """``oifname vmap @name``."""
    return {"vmap": {"key": {"meta": {"key": key}}, "data": f"@{name}"}}


def snat_map(version: int, name: str) -> Expr:
    """``snat ip to ip saddr map @name``."""
    address = {"map": {"key": _source(version), "data": f"@{name}"}}
    return {"snat": {"family": _protocol(version), "addr": address}}


def _source(version: int) -> Expr:
    return {"payload": {"protocol": _protocol(version), "field": "saddr"}}


def _protocol(version: int) -> str:
    return "ip" if version == 4 else "ip6"
