"""Options of driver sriov, on a network of its own. The NIC is not there, so what can be had waits for it; what a change
does to a NIC is shown in tests/kernel/test_sriov.py and by the contract of kinds sriov and vf."""

from __future__ import annotations

from typing import Any

from tests.kernel.fields.case import PENDING, REFUSED, Case, Documents, document


def _fast(documents: Documents) -> None:
    subnets = [{"cidr": "10.9.0.0/24"}]
    documents["fast"] = document("Network", "fast", driver="sriov", subnets=subnets, options={"pf": "nic9", "vlan": 5})
    documents["vf"] = document("Endpoint", "vf", network="fast", sandbox="c")


def _switched(documents: Documents) -> None:
    """In mode switchdev, and a VLAN to be on."""
    _fast(documents)
    documents["fast"]["spec"]["options"] = {"pf": "nic9", "eswitch": "switchdev"}
    documents["ten"] = document("Network", "ten", driver="vlan", subnets=[{"cidr": "10.8.0.0/24"}], options={"id": 10})


def _on_a_switch(documents: Documents) -> None:
    _switched(documents)
    documents["fast"]["spec"]["options"]["switch"] = "ten"


def option(name: str, value: Any, outcome: str = PENDING, place: str = "fast") -> Case:
    return Case(outcome, place, f"spec.options.{name}", value, before=_fast)


CASES: dict[str, Case] = {
    "sriov.pf": option("pf", "nic8"),
    "sriov.device": option("device", "pci/0000:01:00.0", REFUSED),
    "sriov.selector": option("selector", {"vendor": "8086"}, REFUSED),
    "sriov.selector.vendor": option("selector", {"vendor": "8086"}, REFUSED),
    "sriov.selector.product": option("selector", {"product": "10c9"}, REFUSED),
    "sriov.selector.driver": option("selector", {"driver": "igb"}, REFUSED),
    "sriov.mode": option("mode", "passthrough"),
    "sriov.vfs": option("vfs", 4),
    "sriov.vfRange": option("vfRange", "0-3"),
    "sriov.eswitch": Case(PENDING, "fast", "spec.options.eswitch", "legacy", before=_switched),
    "sriov.switch": Case(PENDING, "fast", "spec.options.switch", "ten", before=_switched, requires=("bridge-vlan",)),
    "sriov.vlan": option("vlan", 100),
    "sriov.vlanQos": option("vlanQos", 3),
    "sriov.vlanProtocol": option("vlanProtocol", "802.1ad"),
    "sriov.minRate": option("minRate", 10),
    "sriov.maxRate": option("maxRate", 500),
    "sriov.spoofCheck": option("spoofCheck", False),
    "sriov.trust": option("trust", True),
    "sriov.linkState": option("linkState", "disable"),
    "sriov.endpoint.vf": option("vf", 3, PENDING, "vf"),
    "sriov.endpoint.trunk": Case(
        PENDING, "vf", "spec.options.trunk", [20], before=_on_a_switch, requires=("bridge-vlan",)
    ),
}
