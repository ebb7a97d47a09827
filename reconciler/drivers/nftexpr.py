"""nftables expressions as JSON (libnftables-json(5)), in the very form in which nft lists them."""

from __future__ import annotations

import json
from typing import Any

from reconciler.resources.nft import Rule

Expr = dict[str, Any]

ESTABLISHED: Expr = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}
ACCEPT: Expr = {"accept": None}
DROP: Expr = {"drop": None}
MASQUERADE: Expr = {"masquerade": None}


def rule(comment: str, *expressions: Expr) -> Rule:
    """``comment`` is cut to what the kernel keeps (128 bytes with its NUL)."""
    text = comment.encode()[:127].decode("utf-8", "ignore")
    return Rule(comment=text, expr=json.dumps(expressions, sort_keys=True, separators=(",", ":")))


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
