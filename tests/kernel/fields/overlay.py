"""Options of driver overlay, on network far: endpoint x is here, endpoint y on node n2."""

from __future__ import annotations

from typing import Any

from tests.kernel.fields.case import ANEW, EXCHANGE, IN_PLACE, REFUSED, Case, Documents, document

_ADDRESSES = {"n1": ["192.0.2.1", "2001:db8::1"], "n2": ["192.0.2.2", "2001:db8::2"]}


def _overlay(documents: Documents) -> None:
    documents["node"]["spec"]["addresses"] = _ADDRESSES["n1"]
    documents["n2"] = document("Node", "n2", addresses=_ADDRESSES["n2"])
    for name in ("a", "b", "c"):
        documents[name]["spec"]["node"] = "n1"
    subnets = [{"cidr": "10.5.0.0/24"}, {"cidr": "fd05::/64"}]
    documents["far"] = document("Network", "far", driver="overlay", subnets=subnets)
    for name, node in (("x", "n1"), ("y", "n2")):
        documents[f"s{name}"] = document("Sandbox", f"s{name}", node=node)
        documents[name] = document("Endpoint", name, network="far", sandbox=f"s{name}")


def _internal(documents: Documents) -> None:
    _overlay(documents)
    documents["far"]["spec"]["internal"] = True


def option(name: str, value: Any, outcome: str, **more: Any) -> Case:
    return Case(outcome, "far", f"spec.options.{name}", value, **{"before": _overlay, **more})


KEYS = {"keyFile": "/run/keys", "primary": "k1"}


def _encrypted(documents: Documents) -> None:
    _overlay(documents)
    documents["far"]["spec"]["options"] = {"encryption": dict(KEYS)}


_WRITE = "umask 077; for n in 0 1 2 3; do printf 'k%s %064d\\n' $n $((n + {})); done > /run/{};"
ESP = {"requires": ("esp",), "setup": _WRITE.format(1, "keys") + _WRITE.format(5, "other")}
TAKEN = {"before": _encrypted}
CASES: dict[str, Case] = {
    "overlay.vnis": option("vnis", [77], EXCHANGE),
    "overlay.port": option("port", 8472, ANEW),
    "overlay.underlay": option("underlay", "ipv6", ANEW),
    "overlay.gatewayMode": option("gatewayMode", {"ipv4": "routed"}, EXCHANGE),
    "overlay.gatewayMode.ipv4": option("gatewayMode", {"ipv4": "isolated"}, EXCHANGE, before=_internal),
    "overlay.gatewayMode.ipv6": option("gatewayMode", {"ipv6": "nat-unprotected"}, IN_PLACE),
    "overlay.control": option("control", "evpn", REFUSED),  # the nodes have no spec.bgp
    "overlay.flood": option("flood", True, EXCHANGE),
    "overlay.encryption": option("encryption", KEYS, ANEW, **ESP),
    "overlay.encryption.keyFile": option("encryption.keyFile", "/run/other", ANEW, **ESP | TAKEN),
    "overlay.encryption.primary": option("encryption.primary", "k2", EXCHANGE, **ESP | TAKEN),
    "overlay.encryption.previous": option("encryption.previous", "k0", EXCHANGE, **ESP | TAKEN),
    "overlay.encryption.next": option("encryption.next", "k3", EXCHANGE, **ESP | TAKEN),
}
