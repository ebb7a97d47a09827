"""Links of one kind, many: bridges, vxlans, veths or macvlans by every tool that makes such links."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import unpack_from
from time import perf_counter, sleep
from typing import Any, NamedTuple

from reconciler.engine.controller import NetworkController
from reconciler.engine.observe import observe, read_facts
from reconciler.engine.result import Planned
from reconciler.planner.diff import make_plan
from reconciler.resources.link import Link, Peer, link_key
from reconciler.resources.linkinfo.registry import infos
from reconciler.resources.netns import Netns, netns_key
from reconciler.resources.resource import Resource
from tests.bench.floor import CREATE, UP, Wire, attr, link, message, number
from tests.bench.scene import ip_batch, wait_for_the_dead
from tests.lab import Host

KINDS = ("bridge", "vxlan", "veth", "macvlan")
LOCAL, PARENT, FIRST = "192.0.2.1", "parent0", 10_000
PATIENCE = 120  # seconds for a daemon


@dataclass(frozen=True)
class Links:
    kind: str
    count: int

    @property
    def title(self) -> str:
        return f"{self.count:,} links: {self.kind}"

    def names(self) -> list[str]:
        return [f"l{n}" for n in range(self.count)]

    @property
    def expected(self) -> int:
        """How many interfaces stand at the end: with loopback, the parent and its other end, and veths' other ends."""
        return 3 + self.count * (2 if self.kind == "veth" else 1)


@contextmanager
def fresh_host() -> Iterator[Host]:
    """A host with what the links ride on."""
    with Host("bench") as host, host.entered():
        ip_batch(
            f"link add {PARENT} type veth peer name parent1\nlink set {PARENT} up\nlink set parent1 up\n"
            f"address add {LOCAL}/24 dev {PARENT}"
        )
        yield host


# -- the bare tools ----------------------------------------------------------------------------------------


def floor(links: Links, host: Host) -> float:
    wire = Wire()
    parent = socket.if_nametoindex(PARENT)
    clock = perf_counter()
    messages = []
    for n, name in enumerate(links.names()):
        data = {
            "bridge": b"",
            "vxlan": number(1, n + 1) + attr(15, b"\x12\xb5") + attr(4, bytes((192, 0, 2, 1))),
            "veth": attr(1, link(0) + attr(3, f"p{n}".encode() + b"\0")),
            "macvlan": number(1, 4),  # bridge mode
        }[links.kind]
        info = attr(18, attr(1, links.kind.encode()) + (attr(2, data) if data else b""))
        lower = number(5, parent) if links.kind == "macvlan" else b""
        messages.append(message(16, CREATE, link(FIRST + n, UP) + attr(3, name.encode() + b"\0") + lower + info))
    wire.send(messages)
    seconds = perf_counter() - clock
    wire.socket.close()
    return seconds


def ip(links: Links, host: Host) -> float:
    more = {
        "bridge": ("", "bridge"),
        "vxlan": ("", f"vxlan id {{n}} local {LOCAL} dstport 4789"),
        "veth": ("", "veth peer name p{n}"),
        "macvlan": (f"link {PARENT} ", "macvlan mode bridge"),
    }[links.kind]
    clock = perf_counter()
    ip_batch(
        "\n".join(
            f"link add {more[0]}name {name} up type {more[1].format(n=n + 1)}" for n, name in enumerate(links.names())
        )
    )
    return perf_counter() - clock


def pyroute2(links: Links, host: Host) -> float:
    from pyroute2 import IPRoute

    parent = socket.if_nametoindex(PARENT)
    clock = perf_counter()
    with IPRoute() as route:
        for n, name in enumerate(links.names()):
            own: dict[str, dict[str, Any]] = {
                "bridge": {},
                "vxlan": {"vxlan_id": n + 1, "vxlan_local": LOCAL, "vxlan_port": 4789},
                "veth": {"peer": {"ifname": f"p{n}"}},
                "macvlan": {"link": parent, "macvlan_mode": "bridge"},
            }
            route.link("add", ifname=name, kind=links.kind, state="up", **own[links.kind])
    return perf_counter() - clock


def cnm(links: Links, host: Host) -> float:
    """What the engine takes to carry out a plan of so many links, and to look again whether they hold."""
    with NetworkController(state_dir=Path("/run/bench-state"), node="bench") as controller:
        _carry_out(controller, [_PEERS])
        return _carry_out(controller, [_PEERS, *_resources(links)])


# A sandbox for the other ends of veths: both ends in one namespace is nothing that cnm makes.
_PEERS = Netns(key=netns_key("peers"), lo=True)


def _carry_out(controller: NetworkController, wanted: list[Resource]) -> float:
    observation = observe(controller.host, wanted, read_facts(controller.host, "bench"))
    plan = make_plan(wanted, observation, owner="cnm", node="bench")
    with controller.changing():
        report = controller.execute(Planned(plan, observation, tuple(wanted)))
    if not report.ok:
        raise RuntimeError(f"cnm: {report.failed[:2]} {report.left[:2]}")
    return sum(report.seconds.values())


def _resources(links: Links) -> Iterator[Resource]:
    for n, name in enumerate(links.names()):
        key = link_key("", name)
        match links.kind:
            case "bridge":
                yield Link(key=key, type="bridge", up=True)
            case "vxlan":
                yield Link(key=key, type="vxlan", up=True, info=infos()["vxlan"](vni=n + 1, local=LOCAL, port=4789))
            case "veth":
                other = link_key("peers", f"p{n}")
                yield Link(key=key, type="veth", up=True, peer=Peer(netns="peers", name=f"p{n}"))
                yield Link(key=other, type="veth", maker=key)
            case _:
                info = infos()["macvlan"](mode="bridge")
                yield Link(key=key, type="macvlan", up=True, parent=link_key("", PARENT), info=info)


# -- the daemons and ifupdown2 ------------------------------------------------------------------------------


def _until_there(links: Links, process: subprocess.Popen[bytes]) -> None:
    """Wait for the interfaces to stand. Raises RuntimeError with what the daemon said."""
    wire = Wire()
    clock = perf_counter()
    while (count := _count(wire)) < links.expected:
        if process.poll() is not None or perf_counter() - clock > PATIENCE:
            process.kill()
            said = process.communicate()[1].decode(errors="replace")[-400:]
            raise RuntimeError(f"{count} of {links.expected} interfaces after {perf_counter() - clock:.0f} s: {said}")
        sleep(0.005)
    wire.socket.close()


def _count(wire: Wire) -> int:
    wire.socket.send(message(18, 0x301, link(0) + number(29, 8)))
    found = 0
    while True:
        data = wire.socket.recv(65536)
        offset = 0
        while offset < len(data):
            length, answer = unpack_from("=IH", data, offset)
            if answer in (2, 3):
                return found
            found += 1
            offset += length + 3 & ~3


def _daemon(host: Host, links: Links, script: str) -> float:
    clock = perf_counter()
    process = subprocess.Popen(host.argv("sh", "-ec", script), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _until_there(links, process)
        return perf_counter() - clock
    finally:
        process.terminate()
        process.communicate()


# Where /sys is read-only networkd knows that no udev will tell it of new interfaces.
_NETWORKD = (
    "mount -t sysfs -o ro sysfs /sys; mkdir -p /run/systemd/netif; "
    "chown systemd-network /run/systemd/netif; exec /lib/systemd/systemd-networkd"
)


def _files(host: Host, folder: str, files: dict[str, str], mode: int = 0o644) -> None:
    """Write them into the host's own /run."""
    root = Path(f"/proc/{host.pid}/root{folder}")
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / name).write_text(text)
        (root / name).chmod(mode)


def networkd(links: Links, host: Host) -> float:
    files = {}
    for n, name in enumerate(links.names()):
        more = {
            "bridge": "",
            "vxlan": f"[VXLAN]\nVNI={n + 1}\nLocal={LOCAL}\nDestinationPort=4789\nIndependent=yes\n",
            "veth": f"[Peer]\nName=p{n}\n",
            "macvlan": "[MACVLAN]\nMode=bridge\n",
        }[links.kind]
        files[f"{name}.netdev"] = f"[NetDev]\nName={name}\nKind={links.kind}\n{more}"
    if links.kind == "macvlan":
        riders = "".join(f"MACVLAN={name}\n" for name in links.names())
        files["parent.network"] = f"[Match]\nName={PARENT}\n[Network]\nLinkLocalAddressing=no\n{riders}"
    _files(host, "/run/systemd/network", files)
    return _daemon(host, links, _NETWORKD)


def netplan(links: Links, host: Host) -> float:
    if links.kind == "bridge":
        body = "  bridges:\n" + "".join(f"    {name}: {{link-local: []}}\n" for name in links.names())
    else:
        body = "  tunnels:\n" + "".join(
            f"    {name}: {{mode: vxlan, id: {n + 1}, local: {LOCAL}, port: 4789, link-local: []}}\n"
            for n, name in enumerate(links.names())
        )
    _files(
        host, "/run/root/etc/netplan", {"bench.yaml": f"network:\n  version: 2\n  renderer: networkd\n{body}"}, 0o600
    )
    generate = "netplan generate --root-dir /run/root; mkdir -p /run/systemd; ln -s /run/root/run/systemd/network /run/systemd/network; "
    return _daemon(host, links, generate + _NETWORKD)


def network_manager(links: Links, host: Host) -> float:
    files = {}
    for n, name in enumerate(links.names()):
        more = {
            "bridge": "[bridge]\nstp=false\n",
            "vxlan": f"[vxlan]\nid={n + 1}\nlocal={LOCAL}\nremote=192.0.2.2\ndestination-port=4789\n",
            "veth": f"[veth]\npeer=p{n}\n",
            "macvlan": f"[macvlan]\nmode=2\nparent={PARENT}\n",
        }[links.kind]
        head = f"[connection]\nid={name}\nuuid=00000000-0000-4000-8000-{n:012d}\ntype={links.kind}\ninterface-name={name}\n"
        files[f"{name}.nmconnection"] = f"{head}{more}[ipv4]\nmethod=disabled\n[ipv6]\nmethod=disabled\n"
    _files(host, "/run/nm/connections", files, 0o600)
    config = "[main]\nplugins=keyfile\nno-auto-default=*\ndns=none\n[keyfile]\npath=/run/nm/connections\n[device]\nwifi.backend=none\n"
    _files(host, "/run/nm", {"nm.conf": config})
    script = (
        "mkdir -p /run/dbus; mount -t tmpfs none /var/lib/NetworkManager; "
        "dbus-daemon --system --nofork --nopidfile & bus=$!; trap 'kill $bus' EXIT; "
        "until [ -S /run/dbus/system_bus_socket ]; do sleep 0.01; done; "
        "NetworkManager --no-daemon --config /run/nm/nm.conf --pid-file /run/nm/pid --state-file /run/nm/state & nm=$!; "
        "trap 'kill $nm $bus' EXIT TERM; wait $nm"
    )
    return _daemon(host, links, script)


def ifupdown2(links: Links, host: Host) -> float:
    more = {
        "bridge": "bridge-ports none",
        "vxlan": f"vxlan-id {{n}}\n    vxlan-local-tunnelip {LOCAL}",
        "veth": "link-type veth\n    veth-peer-name p{n}",
    }[links.kind]
    text = "".join(f"auto {name}\niface {name}\n    {more.format(n=n + 1)}\n" for n, name in enumerate(links.names()))
    _files(host, "/run/network", {"bench": text})
    host.run("mount", "-t", "sysfs", "sysfs", "/sys")  # where it looks up what it has just made
    clock = perf_counter()
    host.run("/usr/sbin/ifup", "-a", "-i", "/run/network/bench")
    return perf_counter() - clock


class Tool(NamedTuple):
    """``absent`` says why it is not measured; ``largest`` is the number of links up to which it is."""

    name: str
    make: Callable[[Links, Host], float]
    kinds: tuple[str, ...] = KINDS
    largest: int = 1_000
    absent: str = ""


def _needs(program: str, package: str) -> str:
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/lib/systemd")
    return "" if found else f"{program} is not installed (Debian: {package})"


def tools() -> list[Tool]:
    networkd_absent = _needs("systemd-networkd", "systemd")
    return [
        Tool("raw netlink", floor),
        Tool("cnm", cnm),
        Tool("ip", ip),
        Tool("pyroute2", pyroute2),
        Tool("systemd-networkd", networkd, absent=networkd_absent),
        Tool("netplan", netplan, ("bridge", "vxlan"), 1_000, _needs("netplan", "netplan.io") or networkd_absent),
        Tool("NetworkManager", network_manager, largest=100, absent=_needs("NetworkManager", "network-manager")),
        Tool("ifupdown2", ifupdown2, ("bridge", "vxlan", "veth"), 100, _needs("ifreload", "ifupdown2")),
    ]


def play(links: Links, tool: Tool) -> float:
    """Seconds from nothing to all links, in a host of its own, when that of the one before has ended: 1,000 bridges take
    the kernel 20 s."""
    with fresh_host() as host:
        wait_for_the_dead()
        return tool.make(links, host)
