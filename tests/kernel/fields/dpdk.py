"""Options that only driver ovs-dpdk has, on network fast with endpoint vm. The others are driver ovs's: same class, same code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from reconciler.drivers.ovsoptions import SwitchEndpointOptions, SwitchOptions
from tests.kernel.fields.case import EXCHANGE, IN_PLACE, Case, Documents, document
from tests.kernel.switch import START_DPDK

SHARED = {"ovs-dpdk": ("ovs", SwitchOptions, SwitchEndpointOptions)}
_NICS = "for n in 0 1; do ip link add nic$n up type veth peer name far$n; ip link set far$n up; done"
_ENGINE = {
    "extra": "--no-huge --legacy-mem --no-pci -m 512 --file-prefix=fields",
    "pmdMaxSleep": 500,
    "perPortMemory": True,
}
_PORT = {"name": "phy0", "device": "net_af_packet0,iface=nic0", "vlan": 5, "trunks": [6]}
_SOCKETS = {"path": "/run/vhost/one"}


def fast(**options: Any) -> Callable[[Documents], None]:
    def add(documents: Documents) -> None:
        given = {"bridge": "sw0", "engine": _ENGINE} | options
        documents["fast"] = document(
            "Network", "fast", driver="ovs-dpdk", subnets=[{"cidr": "10.8.0.0/24"}], options=given
        )
        documents["vm"] = document("Endpoint", "vm", network="fast", sandbox="c")

    return add


def option(name: str, value: Any, outcome: str = IN_PLACE, where: str = "fast", **options: Any) -> Case:
    return Case(
        outcome,
        where,
        f"spec.options.{name}",
        value,
        before=fast(**options),
        setup=f"{START_DPDK}{_NICS}",
        requires=("ovs-dpdk", "link:tap"),
    )


def _as_root(case: Case) -> Case:
    """There are others to give a file to where root is the machine's only."""
    return replace(case, requires=(*case.requires, "root"))


CASES: dict[str, Case] = {
    "ovs-dpdk.sockets": option("sockets", {"path": "/run/vhost/two"}, EXCHANGE),
    "ovs-dpdk.sockets.path": option("sockets.path", "/run/vhost/two", EXCHANGE, sockets=_SOCKETS),
    "ovs-dpdk.sockets.uid": _as_root(option("sockets.uid", 1000, sockets=_SOCKETS)),
    "ovs-dpdk.sockets.gid": _as_root(option("sockets.gid", 1000, sockets=_SOCKETS)),
    "ovs-dpdk.sockets.mode": option("sockets.mode", "0700", sockets=_SOCKETS),
    "ovs-dpdk.dpdkPorts": option("dpdkPorts", [_PORT], EXCHANGE),
    "ovs-dpdk.dpdkPorts[].name": option("dpdkPorts.0.name", "phy1", EXCHANGE, dpdkPorts=[_PORT]),
    "ovs-dpdk.dpdkPorts[].device": option("dpdkPorts.0.device", "net_af_packet1,iface=nic1", dpdkPorts=[_PORT]),
    "ovs-dpdk.dpdkPorts[].queues": option("dpdkPorts.0.queues", 1, dpdkPorts=[_PORT]),
    "ovs-dpdk.dpdkPorts[].descriptors": option("dpdkPorts.0.descriptors", 1024, dpdkPorts=[_PORT]),
    "ovs-dpdk.dpdkPorts[].vlan": option("dpdkPorts.0.vlan", 7, dpdkPorts=[_PORT]),
    "ovs-dpdk.dpdkPorts[].trunks": option("dpdkPorts.0.trunks", [8], dpdkPorts=[_PORT]),
    "ovs-dpdk.dpdkPorts[].vlanMode": option("dpdkPorts.0.vlanMode", "native-tagged", dpdkPorts=[_PORT]),
    "ovs-dpdk.engine": option("engine", _ENGINE | {"pmdMaxSleep": 400}),
    "ovs-dpdk.engine.pmdCpuMask": option("engine.pmdCpuMask", "0x1"),
    "ovs-dpdk.engine.lcoreMask": option("engine.lcoreMask", "0x1"),
    "ovs-dpdk.engine.socketMemory": option("engine.socketMemory", [256]),
    "ovs-dpdk.engine.pmdMaxSleep": option("engine.pmdMaxSleep", 400),
    "ovs-dpdk.engine.perPortMemory": option("engine.perPortMemory", False, engine=_ENGINE | {"perPortMemory": True}),
    "ovs-dpdk.engine.extra": option("engine.extra", f"{_ENGINE['extra']} --no-telemetry"),
    "ovs-dpdk.endpoint.socket": option("socket", "other.sock", where="vm"),
}
