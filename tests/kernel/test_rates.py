"""Rates, measured: what a receiver gets of a sender that is faster."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.private import answers, isolated, run
from tests.kernel.scene import OUTSIDE4, OUTSIDE6, Scene, add_outside
from tests.kernel.test_bridge import both_hooks, endpoints, network, set_hooks

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")

MBIT = 1_000_000
# Both ends count payload; the bucket counts frames too. The machine that measures may be busy, so that less arrives.
LEAST, MOST = 0.5, 1.1

_RECEIVE = """
import socket, sys, time
own = socket.create_server((sys.argv[1], 5001), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
print("ready", flush=True)
connection, _ = own.accept()
start, total = None, 0
while data := connection.recv(1 << 18):
    total += len(data)
    if start is None and total > 1 << 18:  # the first burst passes at once
        start, total = time.monotonic(), 0
print(total * 8 / (time.monotonic() - start))
"""
_SEND = """
import socket, sys, time
own = socket.create_connection((sys.argv[1], 5001))
end = time.monotonic() + 2
while time.monotonic() < end:
    own.sendall(bytes(1 << 15))
"""


def throughput(scene: Scene, source: str, target: str, version: int) -> float:
    """Bits a second that arrive by TCP."""
    address = scene.address(f"front/{target}", version)
    inside = ("ip", "netns", "exec", target, sys.executable, "-c", _RECEIVE, address)
    with subprocess.Popen(inside, stdout=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout is not None
        assert receiver.stdout.readline() == "ready\n"
        run("ip", "netns", "exec", source, sys.executable, "-c", _SEND, address)
        return float(receiver.stdout.read())


def limited(rates: str) -> str:
    text = network("front", 1) + endpoints("front/a", "front/b")
    return text.replace("spec: {network: front, sandbox: a}", f"spec: {{network: front, sandbox: a, rates: {rates}}}")


@both_hooks
@isolated
def test_each_direction_has_its_rate(hooks: str, tmp_path: Path) -> None:
    set_hooks(hooks)
    with Scene(tmp_path) as scene:
        scene.apply(limited("{receive: {rate: 40mbit}, send: {rate: 10mbit}}"))
        for version in (4, 6):
            assert LEAST < throughput(scene, "b", "a", version) / (40 * MBIT) < MOST
            assert LEAST < throughput(scene, "a", "b", version) / (10 * MBIT) < MOST
        scene.apply(limited("{send: {rate: 20mbit}}"))
        assert LEAST < throughput(scene, "a", "b", 4) / (20 * MBIT) < MOST
        assert throughput(scene, "b", "a", 4) > 60 * MBIT, "no limit is left"


@isolated
def test_what_a_sandbox_takes_away_is_put_back(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.apply(limited("{send: {rate: 10mbit}}"))
        run("ip", "netns", "exec", "a", "tc", "qdisc", "delete", "dev", "eth0", "root")
        assert [str(op.key) for op in scene.plan().ops()] == ["qdisc/@a/eth0"]
        scene.apply()
        assert "qdisc tbf 636e: root refcnt" in run("ip", "netns", "exec", "a", "tc", "qdisc", "show", "dev", "eth0")
        run("ip", "netns", "exec", "a", "tc", "qdisc", "change", "dev", "eth0", "root", "handle", "636e:",
            "tbf", "rate", "1gbit", "burst", "1mb", "limit", "1mb")  # fmt: skip
        assert [str(op.action) for op in scene.plan().ops()] == ["update"]
        scene.apply()
        scene.apply(limited("{}"))
        assert "tbf" not in run("ip", "netns", "exec", "a", "tc", "qdisc", "show")


@isolated
def test_connections_are_counted_through_the_host(tmp_path: Path) -> None:
    add_outside()
    hold = "import socket, sys; own = [socket.create_connection((sys.argv[1], 5001), timeout=1) for _ in range(int(sys.argv[2]))]"
    listen = "import socket, time; own = socket.create_server(('::', 5001), family=socket.AF_INET6, dualstack_ipv6=True); print('ready', flush=True); time.sleep(60)"  # noqa: E501
    with Scene(tmp_path) as scene:
        scene.apply(limited("{connectionsOut: 3}"))
        command = ["ip", "netns", "exec", "outside", sys.executable, "-c", listen]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            for address in (OUTSIDE4, OUTSIDE6):
                assert answers("ip", "netns", "exec", "b", sys.executable, "-c", hold, address, "6"), "others are free"
                assert not answers("ip", "netns", "exec", "a", sys.executable, "-c", hold, address, "4")
            scene.apply(limited("{}"))
            assert answers("ip", "netns", "exec", "a", sys.executable, "-c", hold, OUTSIDE4, "4")
            server.kill()


@isolated
def test_dscp_of_what_leaves(tmp_path: Path) -> None:
    add_outside()
    listen = """
import socket
for family, level, option in ((socket.AF_INET, socket.IPPROTO_IP, 13), (socket.AF_INET6, socket.IPPROTO_IPV6, 66)):
    own = socket.socket(family, socket.SOCK_DGRAM)
    own.setsockopt(level, option, 1)  # IP_RECVTOS, IPV6_RECVTCLASS
    own.bind(("", 5001))
    own.settimeout(10)
    print("ready", flush=True)
    _, ancillary, _, _ = own.recvmsg(10, 100)
    print(ancillary[0][2][0] >> 2, flush=True)
    own.close()
"""
    send = "import socket, sys; socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', (sys.argv[1], 5001))"  # noqa: E501
    with Scene(tmp_path) as scene:
        scene.apply(limited("{dscp: 46}"))
        command = ["ip", "netns", "exec", "outside", sys.executable, "-c", listen]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            for address in (OUTSIDE4, OUTSIDE6):
                assert server.stdout.readline() == "ready\n"
                run("ip", "netns", "exec", "a", sys.executable, "-c", send, address)
                assert server.stdout.readline() == "46\n"
        for number in (5, 10, 44, 1, 0):
            scene.apply(limited(f"{{dscp: {number}}}"))  # whatever nft calls it
