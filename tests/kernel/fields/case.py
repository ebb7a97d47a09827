"""What a case is: one field of one document, what is written there, and what that comes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

IN_PLACE, ANEW, EXCHANGE, REFUSED, NOTHING, PENDING = "in place", "anew", "exchange", "refused", "nothing", "pending"
Documents = dict[str, dict[str, Any]]


def document(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "cnm/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def base() -> Documents:
    subnets = [{"cidr": "10.1.0.0/24"}, {"cidr": "fd01::/64"}]
    return {
        "node": document("Node", "n1"),
        "front": document("Network", "front", driver="bridge", subnets=subnets),
        "back": document("Network", "back", subnets=[{"cidr": "10.2.0.0/24"}]),
        "bare": document("Network", "bare", internal=True),
        "a": document("Sandbox", "a"),
        "b": document("Sandbox", "b"),
        "c": document("Sandbox", "c"),
        "web": document("Endpoint", "web", network="front", sandbox="a"),
        "other": document("Endpoint", "other", network="back", sandbox="a"),
        "db": document("Endpoint", "db", network="back", sandbox="b"),
        "patch": {
            "apiVersion": "cnm/v1alpha1",
            "kind": "Patch",
            "metadata": {"name": "p"},
            "spec": {
                "target": {"kind": "Network", "name": "back"},
                "operations": [{"op": "add", "path": "/spec/mtu", "value": 1400}],
            },
        },
    }


@dataclass(frozen=True)
class Case:
    """``where`` is document and path; ``value`` what is written there. ``setup`` are shell commands before."""

    outcome: str
    document: str
    path: str
    value: Any
    before: Callable[[Documents], None] = lambda documents: None
    setup: str = ""
    requires: tuple[str, ...] = ()  # what the kernel must have, beyond what all cases need


def spec(document: str, name: str, value: Any, outcome: str, **more: Any) -> Case:
    return Case(outcome, document, f"spec.{name}", value, **more)
