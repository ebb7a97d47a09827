"""Policies on a host: what holds while they change, after somebody flushed them, towards the host, and in sandboxes
that the host does not see."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import pytest

from reconciler.planner.plan import Action
from tests.kernel.private import isolated, run
from tests.kernel.scene import Scene
from tests.kernel.test_bridge import both_hooks, endpoints, network, set_hooks
from tests.policy.prober import Probe, Prober
from tests.policy.test_guard import inside

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth", "ping")


def policy(name: str, selector: str, rules: str, more: str = "") -> str:
    return f"\n---\nkind: Policy\nmetadata: {{name: {name}}}\nspec:\n  selector: {selector}\n{more}  ingress: {rules}"


class Stream:
    """Datagrams one way, numbered, as fast as every millisecond; what arrived is counted."""

    def __init__(self, source: str, destination: str, address: str) -> None:
        with inside(destination):
            self._server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            self._server.bind((address, 7000))
        with inside(source):
            self._client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._client.connect((address, 7000))
        self.sent = 0

    def send(self) -> None:
        with suppress(OSError):
            self._client.send(self.sent.to_bytes(4, "big"))
            self.sent += 1

    def arrived(self) -> int:
        count = 0
        with suppress(BlockingIOError):
            while True:
                self._server.recv(64)
                count += 1
        return count


@both_hooks
@isolated
def test_no_packet_is_lost_or_let_through_by_a_change(hooks: str, tmp_path: Path) -> None:
    """Beside a control run of the same length without changes: allowed pairs lose as much as there, denied ones nothing
    passes; while policies come, change and go, and endpoints are selected by more and by fewer."""
    set_hooks(hooks)
    base = network("front", 1) + endpoints("front/a", "front/b", "front/c")
    deny = policy("closed", 'cnm/sandbox == "c"', "[]")
    allow = '[{action: allow, source: {selector: cnm/sandbox == "a"}}]'
    worlds = [
        base + deny + policy("b1", 'cnm/sandbox == "b"', allow),
        base + deny + policy("b1", 'cnm/sandbox == "b"', "[{action: allow, protocol: udp}]"),
        base + deny + policy("b2", 'cnm/sandbox != "c"', allow, "  order: 1\n"),
        base + policy("closed", 'cnm/sandbox == "c"', "[{action: deny, protocol: udp}]"),
        base + deny,
    ]
    with Scene(tmp_path) as scene:
        scene.apply(base + deny)
        good = Stream("a", "b", scene.address("front/b"))
        bad = Stream("a", "c", scene.address("front/c"))
        stop = threading.Event()

        def pump() -> None:
            while not stop.is_set():
                good.send()
                bad.send()
                sleep(0.001)

        results = []
        for change in (False, True):
            stop.clear()
            good.arrived()
            good.sent = bad.sent = 0
            thread = threading.Thread(target=pump)
            thread.start()
            end = monotonic() + 1.5
            while change and monotonic() < end + 3:
                for text in worlds:
                    scene.write(text)
                    report = scene.controller.execute(scene.controller.plan([str(scene.folder)]))
                    assert report.ok, (report.failed, report.left)
                break
            while not change and monotonic() < end:
                sleep(0.1)
            stop.set()
            thread.join()
            sleep(0.3)
            results.append((good.sent, good.sent - good.arrived(), bad.arrived()))
    assert min(sent for sent, _lost, _passed in results) > 100, results
    assert [(lost, passed) for _sent, lost, passed in results] == [(0, 0), (0, 0)], results


@isolated
def test_flushed_by_hand_and_put_back_in_one_transaction(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1) + endpoints("front/a", "front/b") + policy("b", 'cnm/sandbox == "b"', "[]"))
        assert not scene.reaches("a", scene.address("front/b"))
        run("nft", "flush", "ruleset")
        plan = scene.plan()
        assert {op.action for op in plan.ops()} == {Action.CREATE}
        assert {op.key.kind.partition("-")[0] for op in plan.ops()} == {"nft"}
        assert [[batch.actuator for batch in stage] for stage in plan.stages] == [["nft"]], "one transaction"
        scene.apply()
        assert not scene.reaches("a", scene.address("front/b"))


@isolated
def test_rules_of_the_admin_survive_and_decide_first(tmp_path: Path) -> None:
    world = network("front", 1) + network("back", 2) + endpoints("front/a", "back/b")
    closed = policy("b", 'cnm/sandbox == "b"', "[]")
    with Scene(tmp_path) as scene:
        scene.apply(world + closed)
        assert not scene.reaches("a", scene.address("back/b"))
        run("nft", "add rule inet cnm user ip saddr 10.1.0.0/24 meta mark set meta mark or 0x80000")
        run("nft", "add chain inet cnm user-mine")
        assert scene.plan().empty
        assert scene.reaches("a", scene.address("back/b")), "the mark lets through walls and policies"
        scene.apply(world)
        run("nft", "insert rule inet cnm user ip saddr 10.1.0.0/24 drop")
        scene.apply(world + closed)
        rules = run("nft", "list", "chain", "inet", "cnm", "user")
        assert "0x00080000" in rules
        assert "drop" in rules
        run("nft", "list", "chain", "inet", "cnm", "user-mine")
        assert not scene.reaches("a", scene.address("back/b"))


@both_hooks
@isolated
def test_to_and_from_the_host(hooks: str, tmp_path: Path) -> None:
    """Endpoints' policies hold towards the host, the host's own too, and nobody locks himself out of port 22."""
    set_hooks(hooks)
    base = network("front", 1) + endpoints("front/a", "front/b")
    rule = '[{action: allow, protocol: tcp, source: {selector: cnm/sandbox == "b"}}]'
    host = "\n---\nkind: Sandbox\nmetadata: {name: here, labels: {role: host}}\nspec: {stack: host}"
    with Scene(tmp_path) as scene:
        scene.apply(base)
        assert scene.reaches("a", "10.1.0.1")
        scene.apply(
            base
            + "\n---\nkind: Policy\nmetadata: {name: out}\nspec: {selector: 'cnm/sandbox == \"a\"', types: [egress]}"
        )
        for gateway in ("10.1.0.1", "fd01::1", "fe80::1%eth0"):
            assert not scene.reaches("a", gateway), gateway
            assert scene.reaches("b", gateway), gateway
        scene.apply(base + policy("in", 'cnm/sandbox == "a"', "[{action: allow, source: {nodes: all()}}]"))
        assert _host_reaches(scene.address("front/a"))
        assert not scene.reaches("b", scene.address("front/a"))
        scene.apply(base + policy("in", 'cnm/sandbox == "a"', "[]"))
        assert not _host_reaches(scene.address("front/a"))
        scene.apply(base + host + policy("h", 'role == "host"', rule))
        assert not scene.reaches("a", "10.1.0.1")
        listening = []
        for port in (22, 80):
            server = socket.create_server(("10.1.0.1", port))
            listening.append(server)
        assert [_connects("a", "10.1.0.1", 22), _connects("a", "10.1.0.1", 80), _connects("b", "10.1.0.1", 80)] == [
            True,
            False,
            True,
        ]


def _host_reaches(address: str) -> bool:
    return " 0% packet loss" in run("ping", "-c1", "-W1", address, check=False)


def _connects(sandbox: str, address: str, port: int) -> bool:
    with inside(sandbox):
        client = socket.socket()
    client.settimeout(0.8)
    try:
        client.connect((address, port))
    except OSError:
        return False
    finally:
        client.close()
    return True


@pytest.mark.requires("link:macvlan")
@isolated
def test_where_the_host_sees_nothing_the_sandbox_filters_itself(tmp_path: Path) -> None:
    """macvlan: packets pass no hook of the host. What root inside took away is seen, and put back."""
    run("ip", "link", "add", "uplink", "up", "type", "veth", "peer", "name", "far")
    run("ip", "link", "set", "far", "up")
    lan = (
        "kind: Network\nmetadata: {name: lan}\nspec:\n  driver: macvlan\n"
        '  subnets: [{cidr: 10.9.0.0/24}, {cidr: "fd09::/64"}]\n  options: {parent: uplink}\n---\n'
    )
    world = lan + endpoints("lan/a", "lan/b", "lan/c")
    rules = '[{action: allow, protocol: tcp, source: {selector: cnm/sandbox == "a"}, destination: {ports: [80]}}]'
    with Scene(tmp_path) as scene:
        scene.apply(world + policy("b", 'cnm/sandbox == "b"', rules))
        where = {name: {v: scene.address(f"lan/{name}", v) for v in (4, 6)} for name in "abc"}
        probes = [
            Probe(s, d, v, p, port)
            for s in "abc"
            for d in "abc"
            if s != d
            for v in (4, 6)
            for p, port in (("tcp", 80), ("tcp", 81), ("icmp", 0))
        ]
        allowed = {p for p in probes if p.destination != "b" or (p.source, p.port) == ("a", 80)}
        with Prober(where, (80, 81)) as prober:
            assert prober.arrived(probes, 1.0) == allowed
            run("ip", "netns", "exec", "b", "nft", "flush", "ruleset")
            assert prober.arrived(probes, 1.0) == set(probes)
            plan = scene.plan()
            assert plan.drift or not plan.empty
            assert {op.key.netns for op in plan.ops()} == {"b"}
            scene.apply()
            assert prober.arrived(probes, 1.0) == allowed
            scene.apply(world)
            assert prober.arrived(probes, 1.0) == set(probes)
        assert "cnm" not in run("ip", "netns", "exec", "b", "nft", "list", "ruleset")
