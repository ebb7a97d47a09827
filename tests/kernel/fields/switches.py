"""Options of the drivers on Open vSwitch, on network lan with endpoint plug."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.kernel.fields.case import ANEW, EXCHANGE, IN_PLACE, Case, Documents, document
from tests.kernel.switch import START

_NICS = "for n in 0 1 2; do ip link add nic$n up type veth peer name far$n; done"
_THEIRS = "for n in old older; do ovs-vsctl add-br $n -- set bridge $n datapath_type=netdev; done"
SETUP = f"{START}{_THEIRS}\n{_NICS}"
_CONTROLLER = {"target": "ptcp:6653:127.0.0.1"}
_BOND = {"name": "bond0", "interfaces": ["nic0", "nic1"]}
_NATIVE = {"vlan": 5, "trunks": [6]}
_PATCH = {"bridge": "old"}
_TUNNEL = {"remote": "192.0.2.9", "key": 7}
_MESH = {"key": 7}
_MIRROR = {"name": "watch", "receivedFrom": ["plug"], "output": "other"}
_HOST = {"interface": "lan0", "addresses": ["10.3.0.9"]}


def lan(**options: Any) -> Callable[[Documents], None]:
    def add(documents: Documents) -> None:
        given = {"bridge": "sw0", "datapath": "netdev"} | options
        own = given.pop("endpoint", {})
        documents["lan"] = document(
            "Network", "lan", driver="ovs", subnets=[{"cidr": "10.3.0.0/24"}, {"cidr": "fd03::/64"}], options=given
        )
        documents["plug"] = document("Endpoint", "plug", network="lan", sandbox="c", interface="plug0", options=own)
        documents["second"] = document("Endpoint", "other", network="lan", sandbox="b", interface="other0")
        for name in ("a", "b", "c"):
            documents[name]["spec"]["node"] = "n1"
        documents["far"] = document("Node", "n2", addresses=["192.0.2.2"])
        documents["there"] = document("Sandbox", "there", node="n2")
        documents["beyond"] = document("Endpoint", "beyond", network="lan", sandbox="there")

    return add


def option(name: str, value: Any, outcome: str = IN_PLACE, *more: str, **options: Any) -> Case:
    return Case(
        outcome,
        "lan",
        f"spec.options.{name}",
        value,
        before=lan(**options),
        setup=SETUP,
        requires=("ovs", "link:tap", *more),
    )


def part(where: str, many: bool, spec: dict[str, Any], changes: dict[str, tuple[Any, str]]) -> dict[str, Case]:
    """A nested object: it appears, and each of its fields changes."""
    whole: Any = [spec] if many else spec
    found = {where: option(where, whole, EXCHANGE)}
    for name, (value, outcome) in changes.items():
        place = f"{where}.0.{name}" if many else f"{where}.{name}"
        found[f"{where}{'[]' if many else ''}.{name}"] = option(place, value, outcome, **{where: whole})
    return found


_TAGGED = {"vlan": (9, IN_PLACE), "trunks": ([7, 8], IN_PLACE), "vlanMode": ("native-tagged", IN_PLACE)}
_OF_SWITCH: dict[str, Case] = {
    "bridge": option("bridge", "sw1", ANEW),
    "existing": Case(
        ANEW,
        "lan",
        "spec.options",
        {"existing": True, "bridge": "old", "datapath": "netdev"},
        before=lan(),
        setup=SETUP,
        requires=("ovs", "link:tap"),
    ),
    "vlan": option("vlan", 10),
    "interContainer": option("interContainer", False),
    "failMode": option("failMode", "secure", EXCHANGE),
    "protocols": option("protocols", ["OpenFlow13"]),
    **part(
        "controllers",
        True,
        _CONTROLLER,
        {
            "target": ("ptcp:6654:127.0.0.1", EXCHANGE),
            "connectionMode": ("out-of-band", IN_PLACE),
            "inactivityProbe": (9000, IN_PLACE),
            "maxBackoff": (2000, IN_PLACE),
        },
    ),
    "stp": option("stp", True),
    "rstp": option("rstp", True),
    "priority": option("priority", 4096, rstp=True),
    "forwardDelay": option("forwardDelay", 4, rstp=True),
    "helloTime": option("helloTime", 1, stp=True),
    "maxAge": option("maxAge", 10, stp=True),
    "mac": option("mac", "02:00:00:00:00:78"),
    "macTableSize": option("macTableSize", 4096),
    "macAgingTime": option("macAgingTime", 60),
    "multicastSnooping": option("multicastSnooping", True),
    "multicastAgingTime": option("multicastAgingTime", 60),
    "multicastTableSize": option("multicastTableSize", 512),
    "multicastFloodUnregistered": option("multicastFloodUnregistered", False),
    **part(
        "uplinks",
        True,
        _BOND | _NATIVE,
        {
            "interfaces": (["nic0", "nic2"], IN_PLACE),
            "name": ("bond1", EXCHANGE),
            "bondMode": ("balance-slb", IN_PLACE),
            "lacp": ("passive", IN_PLACE),
            "bondUpDelay": (100, IN_PLACE),
            "bondDownDelay": (200, IN_PLACE),
            **_TAGGED,
        },
    ),
    **part("patches", True, _PATCH | _NATIVE, {"bridge": ("older", EXCHANGE), "remoteVlan": (5, IN_PLACE), **_TAGGED}),
    **part(
        "tunnels",
        True,
        _TUNNEL | _NATIVE,
        {
            "type": ("geneve", EXCHANGE),
            "remote": ("192.0.2.8", EXCHANGE),
            "local": ("192.0.2.1", IN_PLACE),
            "key": (8, EXCHANGE),
            "port": (8472, IN_PLACE),
            **_TAGGED,
        },
    ),
    **part("mesh", False, _MESH, {"type": ("geneve", EXCHANGE), "key": (8, EXCHANGE), "port": (8472, IN_PLACE)}),
    **part(
        "mirrors",
        True,
        _MIRROR,
        {
            "name": ("look", EXCHANGE),
            "all": (True, IN_PLACE),
            "receivedFrom": (["other"], IN_PLACE),
            "sentTo": (["plug"], IN_PLACE),
            "vlans": ([5], IN_PLACE),
            "output": ("plug", IN_PLACE),
            "snaplen": (128, IN_PLACE),
        },
    ),
    "mirrors[].outputVlan": option("mirrors.0.outputVlan", 98, mirrors=[{"name": "w", "all": True, "outputVlan": 99}]),
    **part("host", False, _HOST, {"interface": ("lan1", EXCHANGE), "addresses": (["10.3.0.8"], EXCHANGE)}),
}


def _endpoint(name: str, value: Any, outcome: str, **own: Any) -> Case:
    return Case(
        outcome,
        "plug",
        f"spec.options.{name}",
        value,
        before=lan(endpoint=own),
        setup=SETUP,
        requires=("ovs", "link:tap"),
    )


_OF_ENDPOINT = {
    "endpoint.vlan": _endpoint("vlan", 9, IN_PLACE),
    "endpoint.trunks": _endpoint("trunks", [7], EXCHANGE),
    "endpoint.vlanMode": _endpoint("vlanMode", "native-tagged", IN_PLACE, vlan=5, trunks=[6]),
}

CASES: dict[str, Case] = {
    **{f"ovs.{name}": case for name, case in (_OF_SWITCH | _OF_ENDPOINT).items()},
    "ovs.datapath": option("datapath", "system", EXCHANGE, "ovs-datapath"),
    "ovs.port": Case(
        EXCHANGE,
        "lan",
        "spec.options.port",
        "internal",
        before=lan(endpoint={}),
        setup=SETUP,
        requires=("ovs", "link:tap"),
    ),
    "ovs.endpoint.port": _endpoint("port", "internal", EXCHANGE),
}
