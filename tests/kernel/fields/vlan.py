"""Options of driver vlan, on network lan with endpoint rider."""

from __future__ import annotations

from typing import Any

from tests.kernel.fields.case import EXCHANGE, IN_PLACE, Case, Documents, document


def _lan(documents: Documents) -> None:
    subnets = [{"cidr": "10.3.0.0/24"}]
    documents["lan"] = document("Network", "lan", driver="vlan", subnets=subnets, options={"id": 10})
    documents["rider"] = document("Endpoint", "rider", network="lan", sandbox="c", options={"trunk": [20]})


def option(name: str, value: Any, outcome: str, **more: Any) -> Case:
    return Case(outcome, "lan", f"spec.options.{name}", value, before=_lan, requires=("bridge-vlan",), **more)


CASES: dict[str, Case] = {
    "vlan.id": option("id", 11, EXCHANGE),
    "vlan.bridge": option("bridge", "br-other", EXCHANGE),
    "vlan.existing": Case(
        EXCHANGE,
        "lan",
        "spec.options",
        {"id": 10, "existing": True, "bridge": "br-old"},
        before=_lan,
        setup="ip link add br-old up type bridge vlan_filtering 1",
        requires=("bridge-vlan",),
    ),
    "vlan.protocol": option("protocol", "802.1ad", IN_PLACE),
    "vlan.isolated": option("isolated", True, IN_PLACE),
    "vlan.endpoint.trunk": Case(
        EXCHANGE, "rider", "spec.options.trunk", [20, 30], before=_lan, requires=("bridge-vlan",)
    ),
}
