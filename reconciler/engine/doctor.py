"""What this host can do: each driver, which capability is missing, and how to get it."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from errno import EPERM
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from reconciler.drivers.registry import drivers
from reconciler.engine.result import Check
from reconciler.errors import CnmError, Origin, Problem, UnsupportedError
from reconciler.features.registry import features
from reconciler.host import bird, dpdk
from reconciler.host.capability import bridge_netfilter, bridge_vlan, esp, link_kind, ovs_datapath
from reconciler.host.config import frr_missing
from reconciler.host.files import read_small
from reconciler.host.host import Host
from reconciler.manifest import reader
from reconciler.planner.plan import Action, Plan
from reconciler.topology.view import EndpointView, Topology

if TYPE_CHECKING:
    from reconciler.engine.controller import NetworkController

OLDEST_KERNEL = (6, 1)
CAP_NET_ADMIN, CAP_SYS_ADMIN = 12, 21


def kernel_version() -> tuple[int, int]:
    """(6, 18) of ``6.18.44-anything``."""
    major, minor = os.uname().release.split("-")[0].split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdigit()) or 0)


def require_kernel() -> None:
    """Raise UnsupportedError on a kernel that is too old."""
    if kernel_version() < OLDEST_KERNEL:
        oldest = ".".join(map(str, OLDEST_KERNEL))
        raise UnsupportedError(f"this host runs Linux {os.uname().release}; cnm needs {oldest} or newer")


def missing(host: Host, capability: str) -> str:
    """ "" when the host has it, else what is wrong."""
    kind, _, what = capability.partition(":")
    if kind == "link":
        return link_kind(what)
    if capability == "bird":
        return bird.missing()
    if capability == "frr":
        return frr_missing()
    if capability == "esp":
        return esp()
    if capability == "bridge-vlan":
        return bridge_vlan()
    if capability == "bridge-netfilter":
        return bridge_netfilter()
    if capability == "nft":
        return "" if host.nft.installed else "nft is not installed"
    if capability == "ovs":
        return host.ovsdb.missing() or ("" if host.openflow.installed else "ovs-ofctl is not installed")
    if capability == "ovs-dpdk":
        return host.ovsdb.lacks_dpdk()
    if capability == "ovs-datapath":
        return ovs_datapath()
    if capability == "vfio":
        return "" if Path("/sys/bus/pci/drivers/vfio-pci").is_dir() else "driver vfio-pci is not loaded"
    return f"cnm does not know how to look for {capability}"


_REMEDIES = {
    "ovs": "apt-get install openvswitch-switch, and see that ovsdb-server and ovs-vswitchd run",
    "ovs-dpdk": "apt-get install openvswitch-switch-dpdk, and start its ovs-vswitchd",
    "ovs-datapath": "modprobe openvswitch, or options.datapath: netdev, which every kernel has",
    "vfio": "modprobe vfio-pci, on a host with an IOMMU that is on (intel_iommu=on or amd_iommu=on)",
    "bird": "apt-get install bird2",
    "frr": "apt-get install frr frr-pythontools",
    "esp": "a kernel with CONFIG_XFRM_USER, CONFIG_INET_ESP, CONFIG_INET6_ESP and CONFIG_CRYPTO_GCM",
    "bridge-vlan": "a kernel built with CONFIG_BRIDGE_VLAN_FILTERING",
    "bridge-netfilter": "modprobe br_netfilter, and name it in /etc/modules-load.d; bridges that are not cnm's ask nftables "
    "from then on too, unless net.bridge.bridge-nf-call-* are set to 0. Or a kernel built with CONFIG_BRIDGE_NETFILTER",
    "nft": "apt-get install nftables",
    "link": "a kernel built with it, or its module loaded (modprobe)",
}


def require_capabilities(host: Host, topology: Topology, plan: Plan) -> None:
    """Raise UnsupportedError for what the networks of this plan need and the host lacks, before anything is
    touched. Looked for only when something is to be made; what filters need, when anything is to be done."""
    making = {op.origin.document for op in plan.ops() if op.action is Action.CREATE}
    networks = {document.split("/")[1] for document in making if document.startswith(("Network/", "Endpoint/"))}
    problems = []
    for network in topology.networks:
        if network.name not in networks:
            continue
        for capability in sorted(drivers()[network.driver].requires(network)):
            lacking = missing(host, capability)
            if lacking:
                remedy = _REMEDIES.get(capability.partition(":")[0], "")
                text = f"network {network.name} (driver {network.driver}) needs {capability}: {lacking}"
                problems.append(Problem(network.origin, text, remedy))
    part = _making(topology, making, networks)
    for feature in features().values():
        for capability in sorted(feature.requires(part)):
            lacking = missing(host, capability)
            if lacking:
                remedy = _REMEDIES.get(capability.partition(":")[0], "")
                text = f"{feature.name} needs {capability}: {lacking}"
                problems.append(Problem(Origin(document=feature.name), text, remedy))
    if problems:
        raise UnsupportedError(problems)


def _making(topology: Topology, documents: Set[str], networks: Set[str]) -> Topology:
    """What these documents ask for: of many thousand endpoints those few that something is made for. Of networks that
    policies are about one endpoint in any case: what filters need must be there as long as they stand."""
    names: dict[str, set[str]] = {}
    for kind, network_name, *name in (document.split("/") for document in documents if "/" in document):
        if kind == "Endpoint":
            names.setdefault(network_name, set()).update(name)
    part = []
    for network in topology.networks:
        made, named = network.name in networks, names.get(network.name)
        mine = tuple(_named(network.endpoints, named)) if named else ()
        if network.filtered and not mine:
            mine = tuple(islice((e for e in network.endpoints if e.local), 1))
        if made or mine:
            part.append(replace(network, endpoints=mine))
    return replace(topology, networks=tuple(part))


def _named(endpoints: Sequence[EndpointView], names: Set[str]) -> Iterator[EndpointView]:
    """Few of many, which are by name."""
    for name in sorted(names):
        place = bisect_left(endpoints, name, key=_name)
        if place < len(endpoints) and endpoints[place].name == name:
            yield endpoints[place]


def _name(view: EndpointView) -> str:
    return view.name


def examine(controller: NetworkController) -> tuple[Check, ...]:
    """Looks only; whatever it cannot find out is a finding, not an error."""
    checks = [_kernel(), _privileges()]
    try:
        host = controller.host
    except (CnmError, OSError) as error:
        checks.append(Check("host", "error", f"cannot be opened: {error}", "run cnm as root"))
        return tuple(checks)
    checks.append(
        Check("nftables", "ok", "nft is installed")
        if host.nft.installed
        else Check("nftables", "error", "nft is not installed", _REMEDIES["nft"])
    )
    checks.append(
        Check("YAML", "ok", "libyaml parses manifests")
        if reader.FAST
        else Check(
            "YAML",
            "warning",
            "pure Python parses manifests, several times slower",
            "pip install 'ruamel.yaml[oldlibyaml]'",
        )
    )
    checks.append(_bridge_netfilter())
    checks += [_driver(host, name, driver.summary) for name, driver in sorted(drivers().items())]
    checks.append(_dpdk())
    checks.append(_agreement(host))
    checks.append(Check("inventory", "ok", f"{host.inventory.path}: {len(host.inventory.netns)} namespaces of ours"))
    return tuple(checks)


def _driver(host: Host, name: str, summary: str) -> Check:
    lacking = {
        text: _REMEDIES.get(capability.partition(":")[0], "")
        for capability in sorted(drivers()[name].capabilities)
        if (text := missing(host, capability))
    }
    if not lacking:
        return Check(f"driver {name}", "ok", summary)
    if os.strerror(EPERM) in lacking:  # the kernel may have it: we were not allowed to try
        return Check(f"driver {name}", "error", "cannot be tried without privileges", "run cnm as root")
    return Check(
        f"driver {name}", "error", "; ".join(lacking), "; ".join(dict.fromkeys(filter(None, lacking.values())))
    )


def _kernel() -> Check:
    release = os.uname().release
    if kernel_version() < OLDEST_KERNEL:
        return Check("kernel", "error", f"Linux {release} is too old", "Linux 6.1 or newer")
    return Check("kernel", "ok", f"Linux {release}")


def _privileges() -> Check:
    effective = 0
    for line in read_small("/proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            with suppress(ValueError):
                effective = int(line.split()[1], 16)
    lacking = [
        name for name, bit in (("NET_ADMIN", CAP_NET_ADMIN), ("SYS_ADMIN", CAP_SYS_ADMIN)) if not effective >> bit & 1
    ]
    if lacking:
        return Check("privileges", "error", f"no CAP_{' and no CAP_'.join(lacking)}", "run cnm as root")
    return Check("privileges", "ok", "CAP_NET_ADMIN and CAP_SYS_ADMIN")


def _bridge_netfilter() -> Check:
    value = read_small("/proc/sys/net/bridge/bridge-nf-call-iptables").strip()
    lacking = bridge_netfilter()
    if lacking:
        finding = f"{lacking}; networks without policies need it not, policies about a bridge's endpoints are refused"
        return Check("br_netfilter", "warning", finding, _REMEDIES["bridge-netfilter"])
    state = "on" if value == "1" else "off"
    return Check("br_netfilter", "ok", f"loaded, by default {state}; isolation and policies hold either way")


def _dpdk() -> Check:
    """What a program that drives network cards itself finds here; most hosts need none of it."""
    pages = ", ".join(f"{free} of {whole} pages of {size} free" for size, (free, whole) in dpdk.hugepages().items())
    groups, loaded = dpdk.iommu_groups(), dpdk.drivers()
    parts = (
        pages or "no hugepages (sysctl vm.nr_hugepages)",
        f"{groups} IOMMU groups" if groups else "no IOMMU (intel_iommu=on or amd_iommu=on)",
        f"driver {', '.join(loaded)}" if loaded else "no driver for devices (modprobe vfio-pci)",
    )
    return Check("DPDK", "ok", "; ".join(parts))


def _agreement(host: Host) -> Check:
    """Our selective decoder beside pyroute2's complete one, on this very kernel."""
    from pyroute2 import IPRoute

    host.root.look()
    with IPRoute() as reference:
        theirs = {
            link["index"]: (link.get_attr("IFLA_IFNAME"), link.get_attr("IFLA_MTU")) for link in reference.get_links()
        }
    ours = {link.ifindex: (link.name, link.mtu) for link in host.root.links}
    both = ours.keys() & theirs.keys()
    wrong = [index for index in both if ours[index] != theirs[index]]
    if wrong:
        return Check(
            "netlink",
            "error",
            f"decoded otherwise than pyroute2 {version('pyroute2')} does: links {wrong}",
            "report this",
        )
    return Check("netlink", "ok", f"{len(both)} of {len(both)} links decoded as pyroute2 {version('pyroute2')} does")
