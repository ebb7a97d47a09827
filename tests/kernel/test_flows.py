"""Flows that a change is not about lose no packet by it: measured beside a control run of the same length without changes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kernel.private import isolated, run
from tests.kernel.scene import OUTSIDE4, Scene, add_outside
from tests.kernel.test_bridge import both_hooks, network, set_hooks

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")
FLOW = str(Path(__file__).with_name("flow.py"))
PORT, SECONDS = 7000, 4.0

STEADY = (
    network("front", 1)
    + """\
kind: Sandbox
metadata: {name: a}
---
kind: Endpoint
metadata: {name: a}
spec:
  network: front
  sandbox: a
  publish: [{port: 7000, protocol: tcp}, {port: 7000, protocol: udp}]
---
kind: Sandbox
metadata: {name: b}
---
kind: Endpoint
metadata: {name: b}
spec: {network: front, sandbox: b}
"""
)


def other(name: str, host_port: int, policy: str) -> str:
    """Another network with an endpoint that publishes a port, and a policy for it."""
    return f"""\
---
kind: Sandbox
metadata: {{name: {name}}}
---
kind: Endpoint
metadata: {{name: {name}}}
spec: {{network: back, sandbox: {name}, publish: [{{port: 80, hostPort: {host_port}}}]}}
---
kind: Policy
metadata: {{name: {name}}}
spec: {{selector: 'cnm/sandbox == "{name}"', ingress: [{policy}]}}
"""


BACK = "---\n" + network("back", 2).removesuffix("---\n")
# Others come, change, go, are made anew: networks, namespaces, filters, published ports, policies, an MTU.
CHANGES = (
    STEADY + BACK + other("c", 8001, "{action: allow}"),
    STEADY + BACK + other("c", 8002, "{action: deny, protocol: udp}") + other("d", 8003, "{action: allow}"),
    STEADY
    + "---\n"
    + network("back", 2, more="  mtu: 1400").removesuffix("---\n")
    + other("d", 8003, "{action: allow}"),
    STEADY + "---\n" + network("side", 3).removesuffix("---\n"),
    STEADY,
)


def measure(scene: Scene, changes: bool) -> tuple[dict[str, dict[str, float]], int]:
    """What became of each flow, and how often something else was applied meanwhile."""
    ways = {
        "neighbours, IPv4": ("a", scene.address("front/b")),
        "neighbours, IPv6": ("a", scene.address("front/b", 6)),
        "to the outside": ("b", OUTSIDE4),
        "from the outside, a published port": ("outside", "192.0.2.1"),
    }
    senders = {
        name: subprocess.Popen(
            ["ip", "netns", "exec", netns, sys.executable, FLOW, "send", address, str(PORT)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name, (netns, address) in ways.items()
    }  # fmt: skip
    count, end = 0, time.monotonic() + SECONDS
    while time.monotonic() < end or (changes and count < len(CHANGES)):
        if changes:
            scene.write(CHANGES[count % len(CHANGES)])
            report = scene.controller.execute(scene.controller.plan([str(scene.folder)]))
            assert report.ok, (report.failed, report.left)
            assert report.done
            count += 1
        else:
            time.sleep(0.1)
    return {name: json.loads(process.communicate("")[0]) for name, process in senders.items()}, count


@both_hooks
@isolated
def test_unrelated_flows_lose_no_packet(hooks: str, tmp_path: Path) -> None:
    set_hooks(hooks)
    add_outside()
    with Scene(tmp_path) as scene, ExitStack() as servers:
        scene.apply(STEADY)
        for netns in ("a", "b", "outside"):
            process = servers.enter_context(
                subprocess.Popen(
                    ["ip", "netns", "exec", netns, sys.executable, FLOW, "echo", str(PORT)], stdout=subprocess.PIPE
                )
            )
            servers.callback(process.kill)
            assert process.stdout is not None
            process.stdout.readline()
        run("ip", "netns", "exec", "b", "ping", "-c1", "-W2", OUTSIDE4)
        control, _none = measure(scene, changes=False)
        changed, count = measure(scene, changes=True)
    for name, figures in control.items():
        print(f"{name}: without changes {figures}, beside {count} applies {changed[name]}")
    assert all(figures["sent"] > 100 for figures in changed.values()), changed
    lost = {name: figures["lost"] - control[name]["lost"] for name, figures in changed.items()}
    assert not any(number > 0 for number in lost.values()), (control, changed)
