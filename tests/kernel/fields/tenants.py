"""Tenants, groups, profiles, and a fabric whose password nobody has: what concerns the fabric waits."""

from __future__ import annotations

from collections.abc import Callable

from tests.kernel.fields.case import EXCHANGE, IN_PLACE, NOTHING, PENDING, REFUSED, Case, Documents, document, spec

_KINDS = {
    "AciFabric": "fabric",
    "Tenant": "tenant",
    "EndpointGroup": "group",
    "Profile": "profile",
    "Contract": "contract",
}
_PATH = "topology/pod-1/paths-101/pathep-[eth1/1]"


def group(documents: Documents) -> None:
    """A tenant with a group that has a profile."""
    documents["web"]["metadata"]["labels"] = {"role": "web"}
    rate = {"rate": "100mbit", "burst": 64}
    documents |= {
        "tenant": document("Tenant", "shop", networks=["front"]),
        "group": document("EndpointGroup", "web", network="front", selector="role == 'web'", profile="gold"),
        "profile": document("Profile", "gold", send=dict(rate), receive=dict(rate)),
    }


def add(documents: Documents) -> None:
    """And one of a fabric, on which no endpoint is."""
    group(documents)
    subnets = [{"cidr": "10.9.0.0/24", "gateway": "10.9.0.1"}]
    documents |= {
        "fabric": document(
            "AciFabric",
            "dc1",
            apics=["https://192.0.2.1"],
            user="cnm",
            passwordFile="/run/none",
            physicalDomain="servers",
            paths={"n1": [_PATH]},
        ),
        "far": document("Tenant", "far", networks=["wide"], fabric="dc1"),
        "wide": document("Network", "wide", driver="vlan", subnets=subnets, options={"id": 9}),
        "away": document("EndpointGroup", "away", network="wide", vlan=9),
        "contract": document("Contract", "dns"),
    }


def _whole(documents: Documents) -> None:
    add(documents)
    documents["away"]["spec"]["provides"] = ["dns"]


def _vmm(documents: Documents) -> None:
    add(documents)
    del documents["fabric"]["spec"]["physicalDomain"], documents["fabric"]["spec"]["paths"]


def _metadata() -> dict[str, Case]:
    cases = {}
    for kind, name in _KINDS.items():
        there = kind in ("AciFabric", "Contract")
        renamed = NOTHING if kind in ("Tenant", "EndpointGroup") else REFUSED
        before = _whole if there else group
        cases[f"{kind}.apiVersion"] = Case(REFUSED, name, "apiVersion", "cnm/v0", before=before)
        cases[f"{kind}.kind"] = Case(REFUSED, name, "kind", "Sandbox", before=before)
        cases[f"{kind}.metadata.name"] = Case(renamed, name, "metadata.name", "other", before=before)
        for part in ("labels", "annotations"):
            outcome = PENDING if there else NOTHING
            cases[f"{kind}.metadata.{part}"] = Case(outcome, name, f"metadata.{part}", {"a": "b"}, before=before)
    return cases


def _fabric(path: str, value: object, outcome: str = PENDING, before: Callable[[Documents], None] = add) -> Case:
    return spec("fabric", path, value, outcome, before=before)


CASES: dict[str, Case] = {
    **_metadata(),
    "AciFabric.spec.apics": _fabric("apics", ["https://192.0.2.2", "https://192.0.2.1:8443"]),
    "AciFabric.spec.user": _fabric("user", "apic:tacacs\\cnm"),
    "AciFabric.spec.passwordFile": _fabric("passwordFile", "/run/nowhere"),
    "AciFabric.spec.caFile": _fabric("caFile", "/run/ca.pem"),
    "AciFabric.spec.node": _fabric("node", "n1"),
    "AciFabric.spec.timeout": _fabric("timeout", 5),
    "AciFabric.spec.physicalDomain": _fabric("physicalDomain", "others"),
    "AciFabric.spec.vmmDomain": _fabric("vmmDomain", "VMware/dvs1", before=_vmm),
    "AciFabric.spec.paths": _fabric("paths", {}),
    "Tenant.spec.networks": spec("tenant", "networks", ["front", "back"], NOTHING, before=group),
    "Tenant.spec.policyDefault": spec("tenant", "policyDefault", "deny", EXCHANGE, before=group),
    "Tenant.spec.fabric": spec("tenant", "fabric", "dc1", REFUSED, before=add),  # driver bridge sends no VLAN
    "Tenant.spec.existing": spec("far", "existing", True, PENDING, before=add),
    "Tenant.spec.fabricName": spec("far", "fabricName", "Far_Away", PENDING, before=add),
    "Tenant.spec.vrf": spec("far", "vrf", "production", PENDING, before=add),
    "EndpointGroup.spec.network": spec("group", "network", "back", REFUSED, before=add),  # of no tenant
    "EndpointGroup.spec.selector": spec("group", "selector", "all()", NOTHING, before=group),
    "EndpointGroup.spec.profile": spec("group", "profile", "silver", REFUSED, before=add),
    "EndpointGroup.spec.vlan": spec("away", "vlan", 10, REFUSED, before=add),  # its network's is 9
    "EndpointGroup.spec.application": spec("away", "application", "store", PENDING, before=add),
    "EndpointGroup.spec.provides": spec("away", "provides", ["dns"], PENDING, before=add),
    "EndpointGroup.spec.consumes": spec("away", "consumes", ["dns"], PENDING, before=add),
    "Profile.spec.receive": spec("profile", "receive", {"rate": "10mbit"}, IN_PLACE, before=group),
    "Profile.spec.receive.rate": spec("profile", "receive.rate", "10mbit", IN_PLACE, before=group),
    "Profile.spec.receive.burst": spec("profile", "receive.burst", 128, IN_PLACE, before=group),
    "Profile.spec.send": spec("profile", "send", {"rate": "10mbit"}, IN_PLACE, before=group),
    "Profile.spec.send.rate": spec("profile", "send.rate", "10mbit", IN_PLACE, before=group),
    "Profile.spec.send.burst": spec("profile", "send.burst", 128, IN_PLACE, before=group),
    "Profile.spec.connectionsIn": spec("profile", "connectionsIn", 5, EXCHANGE, before=group),
    "Profile.spec.connectionsOut": spec("profile", "connectionsOut", 5, EXCHANGE, before=group),
    "Profile.spec.dscp": spec("profile", "dscp", 46, EXCHANGE, before=group),
    "Contract.spec.tenant": spec("contract", "tenant", "far", PENDING, before=_whole),
    "Contract.spec.contract": spec("contract", "contract", "shared-dns", PENDING, before=_whole),
}
