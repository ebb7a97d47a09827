"""Driver ovs, end to end: real daemons, real packets, on the userspace datapath and on the kernel's."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel import switch
from tests.kernel.private import answers, isolated, run
from tests.kernel.scene import Scene
from tests.kernel.switch import vsctl
from tests.kernel.test_rates import LEAST, MBIT, MOST, throughput

pytestmark = pytest.mark.requires("netns", "nft", "ovs", "link:veth", "link:tap", "ping")

datapaths = pytest.mark.parametrize(
    "datapath",
    [pytest.param("netdev"), pytest.param("system", marks=pytest.mark.requires("ovs-datapath"))],
)


def network(name: str, number: int, options: str = "", datapath: str = "netdev", more: str = "") -> str:
    return f"""\
kind: Network
metadata: {{name: {name}}}
spec:
  driver: ovs
  subnets: [{{cidr: 10.{number}.0.0/24}}, {{cidr: "fd0{number}::/64"}}]
  options: {{datapath: {datapath}{", " if options else ""}{options}}}
{more}
---
"""


def endpoints(*places: str, more: str = "") -> str:
    """``network/sandbox`` each, and what else is in its spec after a blank: a sandbox with an endpoint of that name."""
    names = {place.split()[0].split("/")[1] for place in places}
    parts = [f"kind: Sandbox\nmetadata: {{name: {name}}}" for name in sorted(names)]
    for place in places:
        where, _, rest = place.partition(" ")
        net, name = where.split("/")
        rest = f", {rest}" if rest else ""
        parts.append(f"kind: Endpoint\nmetadata: {{name: {name}}}\nspec: {{network: {net}, sandbox: {name}{rest}}}")
    return "\n---\n".join(parts) + more


@contextmanager
def scene_of(folder: Path) -> Iterator[Scene]:
    switch.start()
    with Scene(folder) as scene:
        yield scene


def ops(scene: Scene) -> list[str]:
    return [op.id for op in scene.plan().ops()]


_RECEIVE = """
import socket, sys
own = socket.create_server((sys.argv[1], 5002), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
print("ready", flush=True)
own.settimeout(8)
c, _ = own.accept()
c.settimeout(8)
total = 0
while data := c.recv(1 << 16): total += len(data)
print(total)
"""
_SEND = """
import errno, socket, sys, time
deadline = time.monotonic() + 5
while True:
    try:
        c = socket.create_connection((sys.argv[1], 5002), 8)
        break
    except OSError as error:
        if error.errno != errno.EHOSTUNREACH or time.monotonic() > deadline: raise
        time.sleep(0.1)
c.sendall(bytes(int(sys.argv[2])))
"""


def transfer(source: str, target: str, address: str, size: int = 2_000_000) -> bool:
    """Whether TCP carries this many bytes: it fails in silence where nobody computes checksums.

    Who asked for an address in vain waits for a second after the last of three questions, and then gives up whatever waits
    with it (RFC 4861, 7.2.2; Linux does the same in ARP): "no route to host" soon after a change says nothing about it yet.
    """
    inside = ("ip", "netns", "exec", target, sys.executable, "-c", _RECEIVE, address)
    with subprocess.Popen(inside, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as receiver:
        assert receiver.stdout is not None
        assert receiver.stdout.readline() == "ready\n"
        sent = answers("ip", "netns", "exec", source, sys.executable, "-c", _SEND, address, str(size))
        return receiver.stdout.read().strip() == str(size) and sent


@contextmanager
def heard(netns: str, what: str) -> Iterator[Callable[[], str]]:
    """Listen in a sandbox from before the block on; the first packet of that kind, in tcpdump's words."""
    argv = ("ip", "netns", "exec", netns, "timeout", "10", "tcpdump", "-lnevi", "eth0", "-c1", what)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listener:
        assert listener.stderr is not None
        assert listener.stdout is not None
        assert any("listening" in line for line in listener.stderr)
        yield listener.stdout.read


_COUNT = """
import socket, sys, time
own = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
try:
    own.setsockopt(socket.SOL_SOCKET, 33, 1 << 23)  # SO_RCVBUFFORCE
except PermissionError:  # root in a user namespace only
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
own.bind(("::", 5003))
own.settimeout(10)
print("ready", flush=True)
own.recv(2000)
start = time.monotonic()
while time.monotonic() < start + 0.5: own.recv(2000)  # the first burst passes at once
start, total = time.monotonic(), 0
while (now := time.monotonic()) < start + 1.5: total += len(own.recv(2000)) + 28
print(total * 8 / (now - start))
"""
_FLOOD = """
import socket, sys, time
own = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
own.connect((sys.argv[1], 5003))
start, sent = time.monotonic(), 0
while (now := time.monotonic()) < start + 3:
    if sent * 8 < (now - start) * 60e6:
        try:
            sent += own.send(bytes(1400))
        except OSError:
            pass
    else:
        time.sleep(0.001)
"""


def flood(source: str, target: str, address: str) -> float:
    """Bits a second that arrive of 60 Mbit/s by UDP: a policer drops, and TCP would make less of that."""
    inside = ("ip", "netns", "exec", target, sys.executable, "-c", _COUNT)
    with subprocess.Popen(inside, stdout=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout is not None
        assert receiver.stdout.readline() == "ready\n"
        run("ip", "netns", "exec", source, sys.executable, "-c", _FLOOD, address, check=False)
        return float(receiver.stdout.read())


@datapaths
@isolated
def test_vlans_are_apart_and_members_of_one_together(datapath: str, tmp_path: Path) -> None:
    front = network("front", 1, "bridge: sw, vlan: 10", datapath)
    back = network("back", 2, "bridge: sw, vlan: 20", datapath)
    with scene_of(tmp_path) as scene:
        scene.apply(front + back + endpoints("front/a", "front/b", "back/c guard: false", "back/d"))
        for version in (4, 6):
            assert scene.reaches("a", scene.address("front/b", version))
            assert scene.reaches("c", scene.address("back/d", version))
        for version in (4, 6):
            assert transfer("a", "b", scene.address("front/b", version))
        ping = ("ip", "netns", "exec", "a", "ping", "-c1", "-W1", "-M", "do")
        assert answers(*ping, "-s", str(1500 - 28), scene.address("front/b"))
        assert not answers(*ping, "-s", str(1500 - 27), scene.address("front/b"))
        # c moves to a's subnet by hand: the switch keeps them apart, not their addresses.
        run("ip", "-n", "c", "address", "add", "10.1.0.77/24", "dev", "eth0")
        assert not scene.reaches("a", "10.1.0.77")
        scene.destroy()
        assert vsctl("list-br") == ""
        assert "ve-" not in run("ip", "-o", "link")


@isolated
def test_policies_hold_inside_the_sandbox_whatever_it_is_plugged_into(tmp_path: Path) -> None:
    closed = (
        "\n---\nkind: Policy\nmetadata: {name: closed}\nspec:\n  selector: 'cnm/sandbox == \"b\"'\n  types: [ingress]\n"
    )
    some = "  ingress: [{action: allow, source: {selector: 'cnm/sandbox == \"a\"'}}]"
    with scene_of(tmp_path) as scene:
        scene.apply(network("front", 1) + endpoints("front/a", "front/b", "front/c") + closed + some)
        for version in (4, 6):
            assert scene.reaches("a", scene.address("front/b", version))
            assert not scene.reaches("c", scene.address("front/b", version))


@datapaths
@isolated
def test_internal_ports_protected_ports_and_the_hosts_own(datapath: str, tmp_path: Path) -> None:
    options = (
        'bridge: sw, port: internal, interContainer: false, host: {interface: lan0, addresses: [10.1.0.1, "fd01::1"]}'
    )
    with scene_of(tmp_path) as scene:
        scene.apply(
            network("front", 1, options, datapath) + endpoints("front/a interface: in-a", "front/b interface: in-b")
        )
        assert "in-a" in run("ip", "-n", "a", "-o", "link")
        for version, own in ((4, "10.1.0.1"), (6, "fd01::1")):
            assert scene.reaches("a", own)
            assert not scene.reaches("a", scene.address("front/b", version))
        scene.apply(
            network("front", 1, options.replace("interContainer: false, ", ""), datapath)
            + endpoints("front/a interface: in-a", "front/b interface: in-b")
        )
        assert scene.reaches("a", scene.address("front/b", 6))
        assert transfer("a", "b", scene.address("front/b"))
        scene.destroy()
        assert vsctl("list-br") == ""
        assert "lan0" not in run("ip", "-o", "link")


@pytest.mark.requires("tcpdump")
@datapaths
@isolated
def test_trunks_patches_and_mirrors(datapath: str, tmp_path: Path) -> None:
    """b hears VLANs 10 and 30 tagged; a is in VLAN 10 on another bridge, behind a patch; m hears what c sends."""
    one = network("one", 1, "bridge: sw1, vlan: 10, patches: [{bridge: sw2, trunks: [10, 30]}]", datapath)
    two = network("two", 2, "bridge: sw2, mirrors: [{name: tap, receivedFrom: [c], output: m}]", datapath)
    with scene_of(tmp_path) as scene:
        scene.apply(
            one + two + endpoints("one/a", "two/b options: {trunks: [10, 30]}", "two/c", "two/m options: {vlan: 99}")
        )
        with heard("b", "vlan 10 and arp") as words:
            run("ip", "netns", "exec", "a", "ping", "-c2", "-W1", "10.1.0.99", check=False)
            assert "10.1.0.99" in words()
        with heard("m", "arp") as words:
            run("ip", "netns", "exec", "c", "ping", "-c2", "-W1", "10.2.0.99", check=False)
            assert "10.2.0.99" in words()


@pytest.mark.requires("tcpdump")
@datapaths
@isolated
def test_each_direction_has_its_rate_and_dscp(datapath: str, tmp_path: Path) -> None:
    rates = "rates: {receive: {rate: 40mbit}, send: {rate: 10mbit}, dscp: 46}"
    plain = network("front", 1, "bridge: sw", datapath)
    with scene_of(tmp_path) as scene:
        scene.apply(plain + endpoints(f"front/a {rates}", "front/b"))
        assert LEAST < throughput(scene, "b", "a", 4) / (40 * MBIT) < MOST
        assert LEAST < flood("a", "b", scene.address("front/b", 6)) / (10 * MBIT) < MOST
        with heard("b", "icmp") as words:
            assert scene.reaches("a", scene.address("front/b"))
            assert "tos 0xb8" in words()
        scene.apply(plain + endpoints("front/a rates: {send: {rate: 20mbit}}", "front/b"))
        assert LEAST < flood("a", "b", scene.address("front/b")) / (20 * MBIT) < MOST
        scene.apply(plain + endpoints("front/a", "front/b"))
        assert throughput(scene, "a", "b", 4) > 60 * MBIT, "no limit is left"
        scene.apply(plain + endpoints(f"front/a {rates}", "front/b"))
        scene.destroy()
        assert vsctl("list", "qos") + vsctl("list", "queue") == ""


@isolated
def test_bonds_spanning_tree_snooping_and_controllers_are_what_the_switch_runs(tmp_path: Path) -> None:
    for name in ("n1", "n2"):
        run("ip", "link", "add", name, "up", "type", "veth", "peer", "name", f"{name}p")
        run("ip", "link", "set", f"{name}p", "up")
    bond = "uplinks: [{name: bond0, interfaces: [n1, n2], bondMode: balance-slb, bondUpDelay: 10}]"
    with scene_of(tmp_path) as scene:
        scene.apply(
            network(
                "front",
                1,
                f"bridge: sw, rstp: true, priority: 4096, multicastSnooping: true, macAgingTime: 60, {bond}, "
                'controllers: [{target: "ptcp:6654:127.0.0.1", connectionMode: out-of-band}]',
            )
            + endpoints("front/a")
        )
        assert "balance-slb" in run("ovs-appctl", "bond/show", "bond0")
        assert "4.096" in run("ovs-appctl", "rstp/show", "sw") or "4096" in run("ovs-appctl", "rstp/show", "sw")
        assert "LISTEN" in run("ss", "-ltn", "sport = 6654")
        with socket.create_connection(("127.0.0.1", 6654), 5):
            pass
        assert vsctl("get", "bridge", "sw", "mcast_snooping_enable") == "true"
        scene.apply(network("front", 1, "bridge: sw, stp: true") + endpoints("front/a"))
        assert "forward" in run("ovs-appctl", "stp/show", "sw") or "listen" in run("ovs-appctl", "stp/show", "sw")
        assert "6654" not in run("ss", "-ltn")


@isolated
def test_a_bridge_of_others_is_used_as_it_is_and_what_is_foreign_stays(tmp_path: Path) -> None:
    switch.start()
    vsctl("add-br", "lan", "--", "set", "bridge", "lan", "datapath_type=netdev", "other_config:mac-aging-time=77")
    run("ip", "link", "add", "t0", "up", "type", "veth", "peer", "name", "t1")
    vsctl("add-port", "lan", "t0", "tag=5", "--", "set", "interface", "t0", "external_ids:whose=theirs")
    vsctl(
        "--",
        "--id=@m",
        "create",
        "mirror",
        "name=theirs",
        "select_all=true",
        "output_vlan=9",
        "--",
        "set",
        "bridge",
        "lan",
        "mirrors=@m",
    )
    run("ovs-ofctl", "add-flow", "lan", "table=3,priority=7,cookie=0x99,actions=drop")
    vsctl("create", "queue", "other_config:max-rate=1000000")

    def theirs() -> tuple[str, ...]:
        """But for what counts and what ports are on the bridge."""
        rows = [vsctl("--columns=" + c, "list", t, n) for t, n, c in (
            ("bridge", "lan", "name,other_config,external_ids,mirrors,fail_mode,protocols,controller"),
            ("port", "t0", "_uuid,tag,external_ids,interfaces"), ("interface", "t0", "_uuid,external_ids,ofport"),
        )]  # fmt: skip
        return (
            *rows,
            vsctl("list", "mirror"),
            vsctl("list", "queue"),
            run("ovs-ofctl", "--no-stats", "dump-flows", "lan"),
        )

    before = theirs()
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1, "bridge: lan, existing: true, vlan: 8") + endpoints("front/a", "front/b"))
        assert scene.reaches("a", scene.address("front/b"))
        assert theirs() == before
        # Asked to tidy up, with ours gone and theirs changed by themselves: nothing of theirs is in the plan.
        vsctl("set", "port", "t0", "tag=6")
        assert ops(scene) == []
        vsctl("set", "port", "t0", "tag=5")
        scene.destroy()
        assert theirs() == before
        assert vsctl("list-ports", "lan") == "t0"


@isolated
def test_a_bridge_of_ours_is_not_removed_with_a_port_of_others(tmp_path: Path) -> None:
    with scene_of(tmp_path) as scene:
        scene.apply(network("front", 1, "bridge: sw") + endpoints("front/a"))
        run("ip", "link", "add", "t0", "up", "type", "veth", "peer", "name", "t1")
        vsctl("add-port", "sw", "t0")
        conflicts = [problem.message for problem in scene.controller.plan_destroy().plan.conflicts]
        assert conflicts == ["ovs-bridge/sw is to go, but ovs-port/t0 in it is not ours and would go along"]
        vsctl("del-port", "sw", "t0")
        scene.destroy()


def eventually(check: Callable[[], bool], patience: float = 15.0) -> None:
    deadline = time.monotonic() + patience
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.1)
