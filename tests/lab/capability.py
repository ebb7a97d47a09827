"""What this machine can do for tests, found out by trying it in a private host."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from enum import Enum
from functools import cache
from pathlib import Path

from tests.lab.host import ENVIRONMENT, Host
from tests.lane.kernel import NoKernel, kernel


class Provider(Enum):
    """Where a capability comes from, and so which lane can bring it."""

    MACHINE = "installed software, and the rights of whom runs the tests"
    KERNEL = "a kernel: this machine's, or that of the lane (tests/lane)"
    HARDWARE = "a device: this machine's, or one that QEMU models"


# Kinds of interface that need more words than `ip link add probe0 type KIND`.
_ENDS = "local 192.0.2.1 remote 192.0.2.2"
_LINKS = {
    "amt": "discovery 192.0.2.1 mode gateway local 192.0.2.2 dev parent0 relay_port 2268",
    "bareudp": "dstport 6635 ethertype mpls_uc",
    "erspan": f"seq key 1 {_ENDS} erspan_ver 1 erspan 5",
    "geneve": "id 1 remote 192.0.2.1",
    "gre": _ENDS,
    "gretap": _ENDS,
    "hsr": "slave1 parent0 slave2 parent1",
    "ip6gre": "local 2001:db8::1 remote 2001:db8::2",
    "ip6tnl": "local 2001:db8::1 remote 2001:db8::2",
    "ipip": _ENDS,
    "macsec": "encrypt on",
    "sit": _ENDS,
    "vlan": "id 2",
    "vrf": "table 10",
    "vti": f"key 1 {_ENDS}",
    "vxlan": "id 1 dstport 4789",
    "xfrm": "dev lo if_id 1",
}
_ON_PARENT = frozenset(("macvlan", "macvtap", "ipvlan", "ipvtap", "macsec", "vlan"))
_WITH_PARENT = _ON_PARENT | {"amt", "hsr"}
_PARENT = "ip link add parent0 type veth peer name parent1; ip link set parent0 up; ip link set parent1 up"

_QDISCS = {
    "hfsc": "default 1",
    "htb": "default 1",
    "ingress": "",
    "netem": "delay 1ms",
    "tbf": "rate 1mbit burst 10kb latency 10ms",
}
FILTERS = {
    "basic": "basic action drop",
    "bpf": "bpf bytecode '1,6 0 0 0,' action drop",
    "flower": "protocol ip flower dst_ip 192.0.2.1 action drop",
    "fw": "handle 1 fw action drop",
    "matchall": "matchall action drop",
    "u32": "protocol ip u32 match ip dst 192.0.2.1 action drop",
}
ACTIONS = {
    "ct": "ct zone 1",
    "gact": "drop",
    "mirred": "mirred egress redirect dev lo",
    "pedit": "pedit ex munge eth dst set 02:00:00:00:00:01",
    "police": "police rate 1mbit burst 10k drop",
    "skbedit": "skbedit priority 1",
    "tunnel_key": "tunnel_key unset",
    "vlan": "vlan pop",
}

# What is tried in a private host; a shell's exit status is the answer and its last line the reason.
_BRIDGE = (
    "nft 'add table bridge probe; add chain bridge probe c { type filter hook forward priority 0; }; add rule bridge"
)
_ESP = "spi 0x100 mode transport reqid 1 aead 'rfc4106(gcm(aes))' 0x000102030405060708090a0b0c0d0e0f10111213 128 2>&1"
VSWITCHD = "/usr/lib/openvswitch-switch/ovs-vswitchd"
VSWITCHD_DPDK = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
_SCRIPTS = {
    "bridge-meta": f"{_BRIDGE} probe c meta ibrname br0 drop'",
    "bridge-netfilter": "ls /proc/sys/net/bridge/bridge-nf-call-iptables",
    "bridge-vlan": "ip link add br0 type bridge vlan_filtering 1 vlan_default_pvid 0; bridge vlan add dev br0 vid 2 self",
    "conntrack-bridge": f"{_BRIDGE} probe c ct state established accept'",
    "esp": (
        f"ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp {_ESP}; "
        f"ip xfrm state add src 2001:db8::1 dst 2001:db8::2 proto esp {_ESP}"
    ),
    "flowtable": "nft 'add table inet probe; add flowtable inet probe f { hook ingress priority 0; devices = { lo }; }'",
    "ipset": "ipset create probe hash:net",
    "ipvs": "ls /proc/net/ip_vs",
    "mpls": "ls /proc/sys/net/mpls/platform_labels",
    "netdevsim": "ls /sys/bus/netdevsim/new_device",
    "nft": "nft add table inet probe",
    "nft-egress": "nft 'add table netdev probe; add chain netdev probe c { type filter hook egress device lo priority 0; }'",
    "ovs-datapath": "genl ctrl get name ovs_datapath 2>&1",
    "ping": "ping -c1 -W1 127.0.0.1 2>&1",
    "strace": "strace -o /dev/null true",
    "xtables": "iptables-legacy -t nat -A POSTROUTING -j MASQUERADE",
}


def _tried(script: str) -> str:
    """In less than a private host, of which each process that runs tests would make half a hundred for this alone."""
    prepared = f"mount -t tmpfs tmpfs /run; ip link set lo up; {script}"
    argv = ("unshare", "--net", "--mount", "--", "sh", "-ec", prepared)
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60, env=ENVIRONMENT
    )
    if not done.returncode:
        return ""
    words = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()
    return next((line for line in words if "rror" in line), words[-1])


def _link(kind: str) -> str:
    if kind in ("tun", "tap"):
        return _tried(f"ip tuntap add dev probe0 mode {kind}")
    parent = "link parent0" if kind in _ON_PARENT else ""
    add = f"ip link add {parent} name probe0 type {kind} {_LINKS.get(kind, '')}"
    return _tried(f"{_PARENT}; {add}" if kind in _WITH_PARENT else add)


def _qdisc(kind: str) -> str:
    where = "root handle 1:" if kind not in ("ingress", "clsact") else ""
    return _tried(f"{_PARENT}; tc qdisc add dev parent0 {where} {kind} {_QDISCS.get(kind, '')}")


def _filter(kind: str) -> str:
    return _tried(f"{_PARENT}; tc qdisc add dev parent0 clsact; tc filter add dev parent0 ingress {FILTERS[kind]}")


def _action(kind: str) -> str:
    return _tried(f"tc actions add action {ACTIONS[kind]}")


def _command(name: str) -> str:
    return "" if shutil.which(name, path=ENVIRONMENT["PATH"]) else f"{name} is not installed"


def _netns() -> str:
    try:
        Host().close()
    except OSError as error:
        return str(error)
    return ""


def _root() -> str:
    if os.geteuid() or Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]:
        return "you are not root, or root in a user namespace only"
    return ""


def _own_kernel() -> str:
    return "" if os.environ.get("CNM_LANE") else "this is the machine's own kernel, whose first namespace is not ours"


def _lane() -> str:
    if os.environ.get("CNM_LANE"):
        return "a guest of the lane starts no guests"
    try:
        kernel()
    except NoKernel as error:
        return str(error)
    return ""


def _sctp() -> str:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError as error:
        return str(error)
    return ""


def _sriov_nic() -> str:
    found = [
        path for path in Path("/sys/bus/pci/devices").glob("*/sriov_totalvfs") if path.parent.joinpath("net").is_dir()
    ]
    return "" if found else "no PCI device here is a network card with VFs"


def _frr() -> str:
    if reason := _root():  # its daemons run as a user of their own
        return reason
    tools = ("/usr/lib/frr/zebra", "/usr/lib/frr/bgpd", "/usr/lib/frr/frr-reload.py")
    return _command("vtysh") or next((f"{tool} is not installed" for tool in tools if not Path(tool).exists()), "")


def _tcpdump() -> str:
    return _root() or _command("tcpdump")  # it becomes a user of its own


def _esp() -> str:
    with Host() as host:
        state = "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1000 mode transport aead rfc4106(gcm(aes))"
        done = host.run("ip", "xfrm", "state", "add", *state.split(), "0x" + "00" * 36, "128", check=False)
        return done.stderr.strip().splitlines()[-1] if done.returncode else ""


def _ovs() -> str:
    tools = ("ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-ofctl", "ethtool")
    return next(filter(None, map(_command, tools)), "") or (
        "" if Path(VSWITCHD).exists() else f"{VSWITCHD} is not installed"
    )


def _ovs_dpdk() -> str:
    tools = ("dpdk-testpmd",)
    absent = next(filter(None, map(_command, tools)), "")
    return _ovs() or absent or ("" if Path(VSWITCHD_DPDK).exists() else f"{VSWITCHD_DPDK} is not installed")


def _systemd() -> str:
    """Whether one can be the first process of a private process namespace, with a control group of its own."""
    if not Path("/lib/systemd/systemd").exists():
        return "/lib/systemd/systemd is not installed"
    group = "/run/groups/cnm-probe-$$"
    return _command("systemctl") or _tried(
        f"mkdir -p /run/groups; mount -t cgroup2 cgroup2 /run/groups; mkdir {group}; rmdir {group}"
    )


_PROBES: dict[str, Callable[[], str]] = {
    "esp": _esp,
    "bird": lambda: _command("bird"),
    "frr": _frr,
    "lane": _lane,
    "netns": _netns,
    "ovs": _ovs,
    "ovs-dpdk": _ovs_dpdk,
    "own-kernel": _own_kernel,
    "root": _root,
    "sctp": _sctp,
    "sriov-nic": _sriov_nic,
    "systemd": _systemd,
    "tcpdump": _tcpdump,
}
_FAMILIES: dict[str, Callable[[str], str]] = {
    "action": _action,
    "command": _command,
    "filter": _filter,
    "link": _link,
    "qdisc": _qdisc,
}
_TOOLS = {"ipset": "ipset", "nft": "nft", "ping": "ping", "strace": "strace", "xtables": "iptables-legacy"}
_PROVIDERS = {
    **dict.fromkeys(
        (
            "lane",
            "netns",
            "root",
            "nft",
            "ping",
            "strace",
            "command",
            "bird",
            "frr",
            "ovs",
            "ovs-dpdk",
            "systemd",
            "tcpdump",
        ),
        Provider.MACHINE,
    ),
    "sriov-nic": Provider.HARDWARE,
}


def provider(capability: str) -> Provider:
    """Where it comes from. Raises ValueError when there is no such capability."""
    family, _, name = capability.partition(":")
    known = name and family in _FAMILIES if ":" in capability else capability in _PROBES or capability in _SCRIPTS
    if family in ("action", "filter"):
        known = name in {"action": ACTIONS, "filter": FILTERS}[family]
    if not known:
        raise ValueError(f"no such capability: {capability}")
    return _PROVIDERS.get(family, Provider.KERNEL)


@cache
def missing(capability: str) -> str:
    """Why this machine lacks a capability; "" when it has it.

    Of the machine: ``netns`` (namespaces may be made), ``root`` (the machine's, not a user namespace's), ``nft``,
    ``ping``, ``strace``, ``tcpdump`` (they work), ``ovs`` (Open vSwitch's daemons and ethtool are installed), ``ovs-dpdk`` (the same with
    DPDK, and dpdk-testpmd), ``systemd`` (one can be started in namespaces), ``lane`` (a guest can be started) and
    ``command:NAME``.
    Of the kernel: ``link:KIND`` as ip-link(8) names it, also ``link:tun`` and ``link:tap``; ``qdisc:``, ``filter:``
    and ``action:KIND`` as tc(8) does; ``bridge-vlan`` (VLAN filtering), ``bridge-netfilter`` (bridge-nf-call-*),
    ``bridge-meta`` and ``conntrack-bridge`` (in nft's bridge family), ``nft-egress``, ``flowtable``, ``ipset``, ``xtables``
    (iptables-legacy), ``ipvs``, ``esp`` (AES-GCM, both families), ``mpls``, ``sctp``, ``ovs-datapath``, ``netdevsim``
    (VFs without hardware), ``own-kernel`` (tests may change its first namespace).
    Of hardware: ``sriov-nic``.
    Raises ValueError for others.
    """
    provider(capability)
    if capability not in ("lane", "netns", "root", "own-kernel", "sriov-nic") and not capability.startswith("command:"):
        reason = missing("netns") or (_command(_TOOLS[capability]) if capability in _TOOLS else "")
        if reason:
            return reason
    family, _, name = capability.partition(":")
    if name:
        return _FAMILIES[family](name)
    return _PROBES[capability]() if capability in _PROBES else _tried(_SCRIPTS[capability])
