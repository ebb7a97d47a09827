"""Options of the drivers whose endpoints ride on an interface of the host, on network lan with endpoint tap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.kernel.fields.case import ANEW, EXCHANGE, IN_PLACE, REFUSED, Case, Documents, document

_UPLINK = "ip link add uplink up type veth peer name far"


def lan(driver: str, **options: Any) -> Callable[[Documents], None]:
    def add(documents: Documents) -> None:
        subnets = [{"cidr": "10.3.0.0/24"}, {"cidr": "fd03::/64"}]
        options.setdefault("parent", "uplink")
        documents["lan"] = document("Network", "lan", driver=driver, subnets=subnets, options=options)
        sources = {"sources": ["02:00:00:00:00:09"]} if options.get("mode") == "source" else {}
        documents["rider"] = document("Endpoint", "rider", network="lan", sandbox="c", options=sources)

    return add


def option(driver: str, name: str, value: Any, outcome: str, *more: str, **options: Any) -> Case:
    before = lan(driver, **options)
    requires = (f"link:{driver}", *more)
    return Case(outcome, "lan", f"spec.options.{name}", value, before=before, setup=_UPLINK, requires=requires)


def common(driver: str) -> dict[str, Case]:
    shim = {"addresses": ["10.3.0.9", "fd03::9"]}
    return {
        f"{driver}.shim": option(driver, "shim", shim, EXCHANGE),
        f"{driver}.shim.interface": option(driver, "shim.interface", "office", EXCHANGE, shim=shim),
        f"{driver}.shim.addresses": option(driver, "shim.addresses", ["10.3.0.8", "fd03::9"], EXCHANGE, shim=shim),
        f"{driver}.parent": option(driver, "parent", "far", ANEW),
        f"{driver}.vlan": option(driver, "vlan", 10, ANEW, "link:vlan"),
        f"{driver}.vlanProtocol": option(driver, "vlanProtocol", "802.1ad", ANEW, "link:vlan", parent="uplink.10"),
    }


def macvlan(driver: str) -> dict[str, Case]:
    return common(driver) | {
        f"{driver}.mode": option(driver, "mode", "private", IN_PLACE),
        f"{driver}.nopromisc": option(driver, "nopromisc", True, IN_PLACE, mode="passthru"),
        f"{driver}.nodst": option(driver, "nodst", True, IN_PLACE, mode="source"),
        f"{driver}.broadcastQueueLength": option(driver, "broadcastQueueLength", 50, IN_PLACE),
        f"{driver}.broadcastCutoff": option(driver, "broadcastCutoff", -1, IN_PLACE),
        f"{driver}.endpoint.sources": Case(
            IN_PLACE,
            "rider",
            "spec.options.sources",
            ["02:00:00:00:00:08"],
            before=lan(driver, mode="source"),
            setup=_UPLINK,
            requires=(f"link:{driver}",),
        ),
    }


CASES: dict[str, Case] = macvlan("macvlan")


def ipvlan(driver: str) -> dict[str, Case]:
    return common(driver) | {
        f"{driver}.mode": option(driver, "mode", "l3", EXCHANGE),
        f"{driver}.flag": option(driver, "flag", "private", IN_PLACE),
        f"{driver}.announce": option(driver, "announce", "subnets", REFUSED, mode="l3"),  # the node speaks no BGP
    }


CASES |= macvlan("macvtap") | ipvlan("ipvlan") | ipvlan("ipvtap")
