"""Options of driver romana, on network racks with endpoint rider."""

from __future__ import annotations

from typing import Any

from tests.kernel.fields.case import EXCHANGE, IN_PLACE, NOTHING, REFUSED, Case, Documents, document

_ROUTER = "192.0.2.1"
_UPLINK = (
    "ip link add up0 type veth peer name far0; ip link set far0 addrgenmode none up; ip link set up0 addrgenmode none; "
    "ip address add 192.0.2.11/24 dev up0; ip link set up0 up; until ip link show up0 | grep -q 'state UP'; do sleep 0.05; done"
)


def _racks(documents: Documents, **options: Any) -> None:
    documents["node"] = document("Node", "n1", addresses=["192.0.2.11"])
    documents["node"]["metadata"]["labels"] = {"rack": "1", "row": "1"}
    documents["far"] = document("Node", "n2", addresses=["192.0.2.12"])
    documents["far"]["metadata"]["labels"] = {"rack": "2"}
    for name in "abc":
        documents[name]["spec"]["node"] = "n1"
    groups = [
        {"name": "r1", "labels": {"rack": "1"}, "routers": [_ROUTER]},
        {"name": "r2", "labels": {"rack": "2"}},
        {"name": "r3", "labels": {"rack": "3"}},
    ]
    subnets = [{"cidr": "10.3.0.0/24"}]
    documents["racks"] = document(
        "Network", "racks", driver="romana", subnets=subnets, options={"groups": groups, **options}
    )
    documents["d"] = document("Sandbox", "d", node="n1")
    documents["rider"] = document("Endpoint", "rider", network="racks", sandbox="d")
    documents["rider"]["metadata"]["labels"] = {"tenant": "shop", "segment": "web", "team": "bank"}


def _single(documents: Documents) -> None:
    _racks(documents, subnets=[{"cidr": "10.3.0.0/24"}])


def _case(outcome: str, path: str, value: Any, **more: Any) -> Case:
    return Case(outcome, "racks", f"spec.options.{path}", value, setup=_UPLINK, **({"before": _racks} | more))


_THREE = [
    {"name": "r2", "labels": {"rack": "2"}},
    {"name": "r1", "labels": {"rack": "1"}, "routers": [_ROUTER]},
]

CASES: dict[str, Case] = {
    "romana.groups": _case(EXCHANGE, "groups", _THREE),
    "romana.groups[].name": _case(NOTHING, "groups.0.name", "first"),
    "romana.groups[].within": _case(EXCHANGE, "groups.1.within", "r3"),
    "romana.groups[].labels": _case(NOTHING, "groups.0.labels", {"row": "1"}),
    "romana.groups[].cidrs": _case(REFUSED, "groups.0.cidrs", ["10.3.0.128/25"]),
    "romana.groups[].routers": _case(IN_PLACE, "groups.0.routers", ["192.0.2.2"]),
    "romana.groups[].room": _case(NOTHING, "groups.0.room", 4),
    "romana.room": _case(EXCHANGE, "room", 8),
    "romana.blockLength4": _case(NOTHING, "blockLength4", 28),
    "romana.blockLength6": _case(NOTHING, "blockLength6", 120),
    "romana.subnets": _case(NOTHING, "subnets", [{"cidr": "10.3.0.0/24", "tenants": ["shop"]}]),
    "romana.subnets[].cidr": _case(REFUSED, "subnets.0.cidr", "10.9.0.0/24", before=_single),
    "romana.subnets[].blockLength": _case(NOTHING, "subnets.0.blockLength", 30, before=_single),
    "romana.subnets[].tenants": _case(REFUSED, "subnets.0.tenants", ["bank"], before=_single),
    "romana.blackouts": _case(EXCHANGE, "blackouts", ["10.3.0.0/30"]),
    "romana.tenantLabel": _case(NOTHING, "tenantLabel", "team"),
    "romana.segmentLabel": _case(NOTHING, "segmentLabel", "part"),
    "romana.routing": _case(REFUSED, "routing", "bgp"),
}
