"""What this machine can do for tests, found out by trying it in a private host."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from enum import Enum
from functools import cache
from pathlib import Path

from tests.lab.host import ENVIRONMENT, Host

_PARENT = "link add parent0 type veth peer name parent1"
_LINKS = {
    "vxlan": "id 1 dstport 4789",
    "geneve": "id 1 remote 192.0.2.1",
    "gre": "local 192.0.2.1 remote 192.0.2.2",
    "vlan": "id 2",
    "vrf": "table 10",
}
_ON_PARENT = frozenset(("macvlan", "macvtap", "ipvlan", "ipvtap", "vlan"))


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


def _command(name: str) -> str:
    return "" if shutil.which(name, path=ENVIRONMENT["PATH"]) else f"{name} is not installed"


def _link(kind: str) -> str:
    with Host() as host:
        parent = ["link", "parent0"] if kind in _ON_PARENT else []
        if parent:
            host.ip(_PARENT)
        options = _LINKS.get(kind, "").split()
        done = host.run("ip", "link", "add", "probe0", *parent, "type", kind, *options, check=False)
        return done.stderr.strip().splitlines()[-1] if done.returncode else ""


def _nft() -> str:
    absent = _command("nft")
    if absent:
        return absent
    with Host() as host:
        done = host.run("nft", "add", "table", "inet", "probe", check=False)
        return done.stderr.strip().splitlines()[0] if done.returncode else ""


def _ping() -> str:
    absent = _command("ping")
    if absent:
        return absent
    with Host() as host:
        done = host.run("ping", "-c1", "-W1", "127.0.0.1", check=False)
        return (done.stderr or done.stdout).strip() if done.returncode else ""


def _bridge_netfilter() -> str:
    with Host() as host:
        path = "/proc/sys/net/bridge/bridge-nf-call-iptables"
        return "" if host.run("test", "-e", path, check=False).returncode == 0 else f"there is no {path}"


def _strace() -> str:
    absent = _command("strace")
    if absent:
        return absent
    with Host() as host:
        done = host.run("strace", "-o", "/dev/null", "true", check=False)
        return done.stderr.strip() if done.returncode else ""


def _own_kernel() -> str:
    return "" if os.environ.get("CNM_LANE") else "this is the machine's own kernel, whose first namespace is not ours"


def _netdevsim() -> str:
    return "" if Path("/sys/bus/netdevsim").is_dir() else "the kernel has no netdevsim"


def _sriov_nic() -> str:
    for path in Path("/sys/bus/pci/devices").glob("*/sriov_totalvfs"):
        if path.read_text().strip() != "0" and (path.parent / "net").is_dir():
            return ""
    return "there is no NIC with virtual functions"


_PROBES: dict[str, Callable[[], str]] = {
    "netdevsim": _netdevsim,
    "sriov-nic": _sriov_nic,
    "own-kernel": _own_kernel,
    "netns": _netns,
    "root": _root,
    "nft": _nft,
    "ping": _ping,
    "strace": _strace,
    "bridge-netfilter": _bridge_netfilter,
}


class Provider(Enum):
    """Where a capability comes from, and so which lane can bring it."""

    MACHINE = "installed software, and the rights of whom runs the tests"
    KERNEL = "a kernel: this machine's, or that of the lane (tests/lane)"
    HARDWARE = "a device: this machine's, or one that QEMU models"


_MACHINE = frozenset(("netns", "root", "nft", "ping", "strace"))
_HARDWARE = frozenset(("sriov-nic",))


def provider(capability: str) -> Provider:
    """Where it comes from. Raises ValueError when there is no such capability."""
    what, _, name = capability.partition(":")
    if capability in _MACHINE or (what == "command" and name):
        return Provider.MACHINE
    if capability in _HARDWARE:
        return Provider.HARDWARE
    if capability in _PROBES or (what == "link" and name):
        return Provider.KERNEL
    raise ValueError(f"no such capability: {capability}")


@cache
def missing(capability: str) -> str:
    """Why this machine lacks a capability; "" when it has it.

    ``netns``, ``root`` (the machine's, not a user namespace's), ``nft``, ``ping``, ``strace``,
    ``bridge-netfilter``, ``link:KIND`` (as ip-link(8) names it) and ``command:NAME``. Raises ValueError for others.
    """
    if capability not in ("netns", "root") and not capability.startswith("command:") and missing("netns"):
        return missing("netns")
    what, _, name = capability.partition(":")
    if what == "link" and name:
        return _link(name)
    if what == "command" and name:
        return _command(name)
    if capability in _PROBES:
        return _PROBES[capability]()
    raise ValueError(f"no such capability: {capability}")
