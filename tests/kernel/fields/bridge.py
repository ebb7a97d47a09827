"""Options of driver bridge, on network back."""

from __future__ import annotations

from typing import Any

from tests.kernel.fields.case import EXCHANGE, IN_PLACE, Case, Documents


def option(name: str, value: Any, outcome: str, **more: Any) -> Case:
    return Case(outcome, "back", f"spec.options.{name}", value, **more)


def _internal(documents: Documents) -> None:
    documents["back"]["spec"]["internal"] = True


def _stp(documents: Documents) -> None:
    documents["back"]["spec"]["options"] = {"stp": True}


CASES: dict[str, Case] = {
    "bridge.bridge": option("bridge", "br-other", EXCHANGE),
    "bridge.existing": Case(
        EXCHANGE,
        "back",
        "spec.options",
        {"existing": True, "bridge": "br-old"},
        setup="ip link add br-old up type bridge",
    ),
    "bridge.masquerade": option("masquerade", False, EXCHANGE),
    "bridge.snat": option("snat", {"ipv4": "10.2.0.1"}, EXCHANGE),
    "bridge.snat.ipv4": option("snat", {"ipv4": "10.2.0.1"}, EXCHANGE),
    "bridge.snat.ipv6": Case(EXCHANGE, "front", "spec.options.snat", {"ipv6": "fd01::1"}),
    "bridge.gatewayMode": option("gatewayMode", {"ipv4": "routed"}, EXCHANGE),
    "bridge.gatewayMode.ipv4": option("gatewayMode", {"ipv4": "isolated"}, EXCHANGE, before=_internal),
    "bridge.gatewayMode.ipv6": option("gatewayMode", {"ipv6": "nat-unprotected"}, IN_PLACE),
    "bridge.interContainer": option("interContainer", False, IN_PLACE),
    "bridge.trustedInterfaces": option("trustedInterfaces", ["eth9"], IN_PLACE),
    "bridge.hairpin": option("hairpin", True, IN_PLACE),
    "bridge.mac": option("mac", "02:00:00:00:00:78", IN_PLACE),
    "bridge.stp": option("stp", True, IN_PLACE),
    "bridge.priority": option("priority", 4096, IN_PLACE),
    "bridge.forwardDelay": option("forwardDelay", 4, IN_PLACE, before=_stp),
    "bridge.helloTime": option("helloTime", 1, IN_PLACE, before=_stp),
    "bridge.maxAge": option("maxAge", 10, IN_PLACE, before=_stp),
    "bridge.ageingTime": option("ageingTime", 60, IN_PLACE),
    "bridge.groupFwdMask": option("groupFwdMask", 8, IN_PLACE),
    "bridge.multicastSnooping": option("multicastSnooping", False, IN_PLACE),
    "bridge.multicastQuerier": option("multicastQuerier", True, IN_PLACE),
    "bridge.txQueueLength": option("txQueueLength", 500, IN_PLACE),
}
