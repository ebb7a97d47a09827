"""Policies about a host that are asked before all others: before connections are tracked, and before ports lead elsewhere;
and policies on endpoints that are routed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.private import answers, isolated, run
from tests.kernel.scene import Scene, add_outside
from tests.policy.test_enforce import policy

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth", "ping")

ECHO = str(Path(__file__).parents[1] / "kernel" / "echo.py")
HOST = "kind: Sandbox\nmetadata: {name: here, labels: {role: host}}\nspec: {stack: host}"
BASE = f"""\
{HOST}
---
kind: Network
metadata: {{name: front}}
spec: {{subnets: [{{cidr: 10.1.0.0/24}}]}}
---
kind: Sandbox
metadata: {{name: web}}
---
kind: Endpoint
metadata: {{name: web}}
spec: {{network: front, sandbox: web, publish: [{{port: 80, hostPort: 8080}}]}}"""


def early(name: str, field: str, ingress: str, egress: str = "") -> str:
    more = f"\n  egress: {egress}" if egress else ""
    return (
        f'\n---\nkind: Policy\nmetadata: {{name: {name}}}\nspec:\n  selector: role == "host"\n  {field}: true\n'
        f"  ingress: {ingress}{more}"
    )


def serve(port: int, netns: str = "") -> subprocess.Popen[str]:
    inner = ["ip", "netns", "exec", netns] if netns else []
    process = subprocess.Popen(
        [*inner, sys.executable, ECHO, "serve", "tcp", str(port)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def asked(port: int) -> bool:
    """From outside, whether one of two connections is answered."""
    command = ("ip", "netns", "exec", "outside", sys.executable, ECHO, "ask", "tcp", "192.0.2.1", str(port))
    return answers(*command) or answers(*command)


@isolated
def test_before_ports_lead_elsewhere(tmp_path: Path) -> None:
    """What is denied by the port that the outside knows reaches no sandbox behind it."""
    add_outside()
    deny = "[{action: deny, protocol: tcp, destination: {ports: [8080, 22]}}]"
    with Scene(tmp_path) as scene:
        scene.apply(BASE)
        serve(80, "web"), serve(9090), serve(22)
        assert asked(8080)
        scene.apply(BASE + early("closed", "preDnat", deny))
        assert [asked(8080), asked(9090), asked(22)] == [False, True, True], "22 is a fail-safe port"
        scene.apply(BASE)
        assert asked(8080)
        scene.destroy()


@isolated
def test_before_connections_are_tracked(tmp_path: Path) -> None:
    """What is allowed is not tracked, and no other policy is asked; what is denied is dropped; the rest goes on."""
    add_outside()
    both = {
        "ingress": "[{action: allow, protocol: tcp, destination: {ports: [9090]}}, {action: deny, protocol: icmp}]",
        "egress": "[{action: allow, protocol: tcp, source: {ports: [9090]}}]",
    }
    with Scene(tmp_path) as scene:
        scene.apply(BASE + policy("none", 'role == "host"', "[]"))
        serve(9090), serve(9091)
        assert not asked(9090)
        run("nft", "add table inet probe; add chain inet probe c { type filter hook input priority 0; }")
        run("nft", "add rule inet probe c tcp dport 9090 ct state untracked counter")
        scene.apply(
            BASE + policy("none", 'role == "host"', "[]") + early("fast", "doNotTrack", both["ingress"], both["egress"])
        )
        assert [asked(9090), asked(9091)] == [True, False]
        assert "packets 0" not in run("nft", "list", "table", "inet", "probe")
        run("nft", "delete", "table", "inet", "probe")
        assert not answers("ip", "netns", "exec", "outside", "ping", "-c1", "-W1", "192.0.2.1")
        scene.destroy()


@isolated
def test_routed_endpoints_obey_policies(tmp_path: Path) -> None:
    base = 'kind: Network\nmetadata: {name: app}\nspec: {driver: calico, subnets: [{cidr: 10.48.0.0/24}, {cidr: "fd48::/112"}]}'
    for name in ("a", "b", "c"):
        base += f"\n---\nkind: Sandbox\nmetadata: {{name: {name}}}"
        base += f"\n---\nkind: Endpoint\nmetadata: {{name: {name}}}\nspec: {{network: app, sandbox: {name}}}"
    rules = "[{action: allow, source: {selector: cnm/sandbox == 'b'}}]"
    with Scene(tmp_path) as scene:
        scene.apply(base)
        targets = [scene.address("app/a", version) for version in (4, 6)]
        assert all(scene.reaches(name, target) for name in ("b", "c") for target in targets)
        scene.apply(base + policy("only-b", 'cnm/sandbox == "a"', rules))
        assert [scene.reaches("b", target) for target in targets] == [True, True]
        assert [scene.reaches("c", target) for target in targets] == [False, False]
        assert scene.reaches("a", scene.address("app/c"))
        scene.destroy()
