"""Options of driver contiv, on network lan with two endpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.kernel.fields.case import ANEW, EXCHANGE, REFUSED, Case, Documents, document
from tests.kernel.fields.switches import SETUP


def lan(**options: Any) -> Callable[[Documents], None]:
    def add(documents: Documents) -> None:
        given = {"bridge": "sw0", "datapath": "netdev", "vlan": 5} | options
        given = {name: value for name, value in given.items() if value is not None}
        documents["lan"] = document("Network", "lan", driver="contiv", subnets=[{"cidr": "10.3.0.0/24"}], options=given)
        documents["plug"] = document("Endpoint", "plug", network="lan", sandbox="c")
        documents["second"] = document("Endpoint", "other", network="lan", sandbox="b")

    return add


def option(name: str, value: Any, outcome: str, **options: Any) -> Case:
    return Case(
        outcome,
        "lan",
        f"spec.options.{name}",
        value,
        before=lan(**options),
        setup=SETUP,
        requires=("ovs", "link:tap"),
    )


CASES: dict[str, Case] = {
    "contiv.bridge": option("bridge", "sw1", ANEW),
    "contiv.datapath": Case(
        REFUSED, "lan", "spec.options.datapath", "dummy", before=lan(), setup=SETUP, requires=("ovs", "link:tap")
    ),
    "contiv.encapsulation": option("encapsulation", "vxlan", REFUSED),  # which has no VLAN
    "contiv.vlan": option("vlan", 6, EXCHANGE),
    "contiv.vxlanId": option("vxlanId", 77, EXCHANGE, vlan=None, encapsulation="vxlan", vxlanId=76),
    "contiv.uplink": option("uplink", "nic0", EXCHANGE),
    "contiv.outgoing": option("outgoing", "nat", EXCHANGE, forwarding="routing"),
    "contiv.forwarding": option("forwarding", "routing", EXCHANGE),
}
