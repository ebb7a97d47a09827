"""Published ports, with real packets: from outside, from the host, from the sandbox itself and from its neighbours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from reconciler.errors import ManifestError
from tests.kernel.private import isolated, run
from tests.kernel.scene import OUTSIDE4, OUTSIDE6, Scene, add_outside
from tests.kernel.test_bridge import both_hooks, endpoints, network, set_hooks

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")

ECHO = str(Path(__file__).with_name("echo.py"))
HOST4, HOST6 = "192.0.2.1", "2001:db8::1"


def inside(netns: str) -> tuple[str, ...]:
    return ("ip", "netns", "exec", netns) if netns else ()


def ask(netns: str, protocol: str, address: str, port: int, source: int = 0) -> str:
    """What a client in a namespace ("" is the host) is told; "" when nobody answers."""
    words = (sys.executable, ECHO, "ask", protocol, address, str(port), str(source))
    return subprocess.run([*inside(netns), *words], capture_output=True, text=True, check=False).stdout.strip()


@contextmanager
def serving(netns: str, protocol: str, port: int, word: str = "hello") -> Iterator[None]:
    with helper(netns, "serve", protocol, str(port), word):
        yield


@contextmanager
def helper(netns: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([*inside(netns), sys.executable, ECHO, *words], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()


def published(*entries: str, options: str = "{}", others: tuple[str, ...] = ("front/b",)) -> str:
    """Network front with sandbox a that publishes, and others beside it."""
    publish = "\n    - ".join(("", *entries))
    return (
        network("front", 1, options)
        + endpoints(*others)
        + f"""
---
kind: Sandbox
metadata: {{name: a}}
---
kind: Endpoint
metadata: {{name: a}}
spec:
  network: front
  sandbox: a
  publish:{publish}
"""
    )


@both_hooks
@isolated
def test_from_outside_from_the_host_and_hairpin(hooks: str, tmp_path: Path) -> None:
    set_hooks(hooks)
    add_outside()
    with Scene(tmp_path) as scene:
        scene.apply(
            published("{port: 80, hostPort: 8080}", "{port: 53, protocol: udp}", others=("front/b", "back/c")).replace(
                "kind: Sandbox\n", network("back", 2) + "kind: Sandbox\n", 1
            )
        )
        with serving("a", "tcp", 80), serving("a", "udp", 53):
            for protocol, port in (("tcp", 8080), ("udp", 53)):
                assert ask("outside", protocol, HOST4, port) == f"hello from {OUTSIDE4}", "the source is kept"
                assert ask("outside", protocol, HOST6, port) == f"hello from {OUTSIDE6}"
                for address in (HOST4, HOST6, "127.0.0.1", "::1"):
                    assert ask("", protocol, address, port).startswith("hello from "), (protocol, address)
                for sandbox in ("a", "b", "c"):
                    for address in (HOST4, HOST6, "10.1.0.1", "fd01::1"):
                        assert ask(sandbox, protocol, address, port).startswith("hello from "), (sandbox, address)
            assert ask("outside", "tcp", HOST4, 80) == "", "only what is published"
            run("ip", "-n", "outside", "route", "add", "10.1.0.0/24", "via", HOST4)
            assert ask("outside", "tcp", scene.address("front/a"), 80) == "", "and only by the host's address"
            assert ask("b", "tcp", "10.1.0.1", 80) == ""
        before = scene.plan()
        assert before.empty
        scene.destroy()
        assert "cnm" not in run("nft", "list", "tables")


def send_loopback_away(netns: str, gateway: str) -> None:
    """From now on 127.0.0.1 is somewhere else for this namespace: what an attacker on the same wire does."""
    run(*inside(netns), "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1", "net.ipv4.conf.all.rp_filter=0")
    for local in ("127.0.0.1", "127.0.0.0/8"):
        run("ip", "-n", netns, "route", "delete", "local", local, "table", "local", check=False)  # not with lo down
    run("ip", "-n", netns, "route", "add", "127.0.0.0/8", "via", gateway)


@both_hooks
@isolated
def test_nobody_reaches_the_hosts_loopback_from_outside(hooks: str, tmp_path: Path) -> None:
    """CVE-2020-8558, and the same from a sandbox, whose bridge takes such packets (route_localnet)."""
    set_hooks(hooks)
    add_outside()
    with Scene(tmp_path) as scene:
        scene.apply(published("{port: 80, hostPort: 8080, hostAddresses: [127.0.0.1]}"))
        send_loopback_away("outside", HOST4)
        send_loopback_away("b", "10.1.0.1")
        with serving("", "tcp", 9000), serving("a", "tcp", 80):
            assert ask("", "tcp", "127.0.0.1", 9000)
            assert ask("", "tcp", "127.0.0.1", 8080)
            assert ask("outside", "tcp", "127.0.0.1", 8080) == ""
            assert ask("b", "tcp", "127.0.0.1", 9000) == ""
            run("nft", "flush", "chain", "inet", "cnm", "loopback")
            assert ask("outside", "tcp", "127.0.0.1", 8080), "it was that rule"
            assert ask("b", "tcp", "127.0.0.1", 9000)


@isolated
def test_udp_reaches_the_new_endpoint_at_once(tmp_path: Path) -> None:
    """Although the client keeps its port, so that the kernel takes all for one connection."""
    add_outside()
    with Scene(tmp_path) as scene:
        scene.apply(published("{port: 53, protocol: udp}"))
        with serving("a", "udp", 53, "old"), serving("b", "udp", 53, "new"):
            for host in (HOST4, HOST6):
                assert ask("outside", "udp", host, 53, 40000).startswith("old")
            text = (tmp_path / "all.yaml").read_text()
            (tmp_path / "all.yaml").write_text(
                text.replace("sandbox: b}", "sandbox: a}").replace("sandbox: a\n", "sandbox: b\n")
            )
            scene.apply()
            for host in (HOST4, HOST6):
                assert ask("outside", "udp", host, 53, 40000).startswith("new")


@isolated
def test_what_was_asked_before_the_port_was_published_reaches_it(tmp_path: Path) -> None:
    add_outside()
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1) + endpoints("front/a"))
        with serving("a", "udp", 53):
            assert ask("outside", "udp", HOST4, 53, 40000) == ""
            scene.apply(published("{port: 53, protocol: udp}"))
            assert ask("outside", "udp", HOST4, 53, 40000) == f"hello from {OUTSIDE4}"
            scene.apply(network("front", 1) + endpoints("front/a"))
            assert ask("outside", "udp", HOST4, 53, 40000) == "", "and not any more when it is not"


@both_hooks
@isolated
def test_lists_ranges_and_addresses(hooks: str, tmp_path: Path) -> None:
    set_hooks(hooks)
    add_outside()
    run("ip", "address", "add", "192.0.2.7/24", "dev", "uplink")
    entries = (
        "{port: [80, 90], hostPort: [8080, 8090]}",
        '{port: "5000-5009", protocol: udp}',
        '{port: "6000-6002", hostPort: "7000-7002"}',
        "{port: 99, hostAddresses: [192.0.2.7]}",
        '{port: 100, hostAddresses: [127.0.0.1, "::1"]}',
    )
    with Scene(tmp_path) as scene:
        scene.apply(published(*entries))
        for protocol, port, outer in (
            ("tcp", 80, 8080),
            ("tcp", 90, 8090),
            ("udp", 5000, 5000),
            ("udp", 5009, 5009),
            ("tcp", 6002, 7002),
        ):
            with serving("a", protocol, port):
                assert ask("outside", protocol, HOST4, outer) == f"hello from {OUTSIDE4}"
                assert ask("outside", protocol, HOST6, outer) == f"hello from {OUTSIDE6}"
                assert ask("b", protocol, HOST4, outer)
                assert ask("", protocol, "::1", outer)
        with serving("a", "tcp", 99):
            assert ask("outside", "tcp", "192.0.2.7", 99) == f"hello from {OUTSIDE4}"
            assert ask("outside", "tcp", HOST4, 99) == ""
            assert ask("a", "tcp", "192.0.2.7", 99)
        with serving("a", "tcp", 100):
            assert ask("", "tcp", "127.0.0.1", 100)
            assert ask("", "tcp", "::1", 100)
            assert ask("outside", "tcp", HOST4, 100) == ""
            assert ask("", "tcp", HOST4, 100) == ""


@both_hooks
@isolated
def test_sctp(hooks: str, tmp_path: Path) -> None:
    """This kernel may have no SCTP sockets: an INIT by hand arrives where it should, with its source."""
    set_hooks(hooks)
    add_outside()
    with Scene(tmp_path) as scene:
        scene.apply(published("{port: 36412, hostPort: 36413, protocol: sctp}"))
        for target, source in ((HOST4, OUTSIDE4), (HOST6, OUTSIDE6)):
            with helper("a", "hear", "36412") as heard:
                run(*inside("outside"), sys.executable, ECHO, "init", target, "36413")
                assert heard.stdout is not None
                assert heard.stdout.readline().strip() == source


@isolated
def test_gateway_modes(tmp_path: Path) -> None:
    add_outside(routed=True)
    with Scene(tmp_path) as scene:
        scene.apply(
            published("{port: 80, hostPort: 8080}", options="{gatewayMode: {ipv4: routed, ipv6: nat-unprotected}}")
        )
        own4, own6 = scene.address("front/a"), scene.address("front/a", 6)
        with serving("a", "tcp", 80), serving("a", "tcp", 81):
            assert ask("outside", "tcp", own4, 80) == f"hello from {OUTSIDE4}", "routed: opened, without translation"
            assert ask("outside", "tcp", own4, 81) == ""
            assert ask("outside", "tcp", HOST4, 8080) == ""
            assert ask("outside", "tcp", HOST6, 8080) == f"hello from {OUTSIDE6}"
            assert ask("outside", "tcp", own6, 80) == f"hello from {OUTSIDE6}"
            assert ask("outside", "tcp", own6, 81) == f"hello from {OUTSIDE6}", "nat-unprotected: anybody in"


@isolated
def test_a_family_that_the_endpoint_lacks_is_relayed(tmp_path: Path) -> None:
    add_outside()
    with Scene(tmp_path) as scene:
        scene.apply(
            published("{port: 80, hostPort: 8080}", "{port: 53, protocol: udp}").replace(', {cidr: "fd01::/64"}', "")
        )
        with serving("a", "tcp", 80), serving("a", "udp", 53):
            assert ask("outside", "tcp", HOST4, 8080) == f"hello from {OUTSIDE4}"
            assert ask("outside", "tcp", HOST6, 8080) == "hello from 10.1.0.1"
            assert ask("outside", "udp", HOST6, 53) == "hello from 10.1.0.1"
            assert ask("", "tcp", "::1", 8080) == "hello from 10.1.0.1"


@isolated
def test_the_port_is_held_and_a_taken_one_is_refused_when_planning(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.write(published("{port: 80, hostPort: 8080}"))
        with serving("", "tcp", 8080), pytest.raises(ManifestError, match="port 8080/tcp is taken"):
            scene.plan()
        scene.apply()
        done = subprocess.run(
            [sys.executable, ECHO, "serve", "tcp", "8080"], capture_output=True, text=True, check=False
        )
        assert "Address already in use" in done.stderr
        scene.destroy()
        with serving("", "tcp", 8080):
            pass


@isolated
def test_an_attendant_that_was_killed_comes_back(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.apply(published("{port: 80, hostPort: 8080}"))
        with serving("a", "tcp", 80):
            assert ask("", "tcp", "::1", 8080)
            run(
                "sh",
                "-c",
                "kill -KILL $(tr -dc 0-9 < /dev/null; sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/' /run/cnm/*/attendant.pid)",
            )
            assert ask("", "tcp", "::1", 8080) == ""
            assert not scene.plan().empty
            scene.apply()
            assert ask("", "tcp", "::1", 8080)


@pytest.mark.requires("link:vxlan")
@both_hooks
@isolated
def test_on_an_overlay(hooks: str, tmp_path: Path) -> None:
    set_hooks(hooks)
    add_outside()
    node = "kind: Node\nmetadata: {name: here}\nspec: {addresses: [192.0.2.1]}\n---\n"
    text = published("{port: 80, hostPort: 8080}").replace("spec:\n  subnets", "spec:\n  driver: overlay\n  subnets", 1)
    text = text.replace("metadata: {name: a}\n---", "metadata: {name: a}\nspec: {node: here}\n---")
    text = text.replace("metadata: {name: b}\n---", "metadata: {name: b}\nspec: {node: here}\n---", 1)
    with Scene(tmp_path) as scene:
        scene.apply(node + text)
        with serving("a", "tcp", 80):
            for host, source in ((HOST4, OUTSIDE4), (HOST6, OUTSIDE6)):
                assert ask("outside", "tcp", host, 8080) == f"hello from {source}"
                assert ask("a", "tcp", host, 8080)
                assert ask("b", "tcp", host, 8080)
            assert ask("", "tcp", "127.0.0.1", 8080)
            assert ask("", "tcp", "::1", 8080)


@both_hooks
@isolated
def test_policies_hold_for_published_ports(hooks: str, tmp_path: Path) -> None:
    """They see who really asks, whatever address he asks by: the translation comes before them and his own address stays
    until after them."""
    set_hooks(hooks)
    add_outside()
    text = published("{port: 80, hostPort: 8080}", "{port: 53, protocol: udp}", others=("front/b", "back/c")).replace(
        "kind: Sandbox\n", network("back", 2) + "kind: Sandbox\n", 1
    )
    doors = {"outside": (HOST4, HOST6), "b": (HOST4, HOST6), "c": (HOST4, HOST6), "": ("127.0.0.1", "::1")}
    with Scene(tmp_path) as scene, ExitStack() as servers:
        scene.apply(text)
        for protocol, port in (("tcp", 80), ("udp", 53)):
            servers.enter_context(serving("a", protocol, port))
        for peer, allowed in (
            (f'nets: [{OUTSIDE4}/32, "{OUTSIDE6}/128"]', {"outside"}),
            ('selector: cnm/sandbox == "b"', {"b"}),
            ('networks: cnm/network == "back"', {"c"}),
            ("nodes: all()", {""}),
        ):
            policy = '\n---\nkind: Policy\nmetadata: {name: p}\nspec:\n  selector: cnm/sandbox == "a"\n  ingress:\n'
            policy += "".join(
                f"    - {{action: allow, protocol: {protocol}, destination: {{ports: [{port}]}}, source: {{{peer}}}}}\n"
                for protocol, port in (("tcp", 80), ("udp", 53))
            )
            scene.apply(text + policy)
            tries = [
                (who, protocol, address, port)
                for who, addresses in doors.items()
                for address in addresses
                for protocol, port in (("tcp", 8080), ("udp", 53))
                if protocol == "tcp" or who in allowed
            ]
            with ThreadPoolExecutor(8) as pool:  # a client that nobody answers waits for a second
                heard = list(pool.map(lambda one: ask(*one).startswith("hello"), tries))
            wrong = [one for one, answered in zip(tries, heard, strict=True) if answered != (one[0] in allowed)]
            assert not wrong, peer
