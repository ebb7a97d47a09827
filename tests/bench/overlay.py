"""``python -m tests.bench.overlay [PEERS...]``: one node of an overlay whose other endpoints are elsewhere (root).

Beside cnm: `ip -batch` and `bridge -batch` write the same forwarding entries and neighbours, and nothing else.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from reconciler.drivers.overlay import OverlayDriver
from reconciler.engine.controller import NetworkController
from reconciler.resources.fdb import Fdb
from reconciler.resources.neighbour import Neighbour
from tests.bench.scene import ip_batch
from tests.lab import Host

_NODES = """\
apiVersion: cnm/v1alpha1
kind: Node
metadata: {name: here}
spec: {addresses: [192.0.2.1]}
---
apiVersion: cnm/v1alpha1
kind: Node
metadata: {name: there}
spec: {addresses: [192.0.2.2]}
---
apiVersion: cnm/v1alpha1
kind: Network
metadata: {name: app}
spec: {driver: overlay, subnets: [{cidr: 10.0.0.0/8}, {cidr: "fd00::/64"}]}
"""


def manifests(peers: int) -> str:
    """One endpoint here, ``peers`` on the other node, all in one sandbox of theirs or in this one."""
    texts = [_NODES]
    for number in range(peers + 1):
        node = "there" if number else "here"
        texts.append(
            f"apiVersion: cnm/v1alpha1\nkind: Sandbox\nmetadata: {{name: s{number}}}\nspec: {{node: {node}}}\n---\n"
            f"apiVersion: cnm/v1alpha1\nkind: Endpoint\nmetadata: {{name: e{number}}}\n"
            f"spec: {{network: app, sandbox: s{number}}}\n"
        )
    return "---\n".join(texts)


def timed(what: str, act: Callable[[], object]) -> None:
    clock = perf_counter()
    act()
    print(f"  {what:28} {(perf_counter() - clock) * 1000:8.0f} ms", flush=True)


def play(peers: int) -> None:
    print(f"{peers:,} remote endpoints ({OverlayDriver.summary}):")
    with tempfile.TemporaryDirectory() as name, Host("bench") as host, host.entered():
        folder = Path(name)
        (folder / "all.yaml").write_text(manifests(peers))
        with NetworkController(node="here") as controller:
            sources = [name]
            planned = controller.plan(sources)
            print("  plan, from nothing:", {stage: f"{s * 1000:.0f} ms" for stage, s in planned.seconds.items()})
            timed("cnm apply and verify", lambda: controller.execute(planned))
            again = controller.plan(sources)
            assert again.plan.empty
            print("  plan, nothing to do:", {stage: f"{s * 1000:.0f} ms" for stage, s in again.seconds.items()})
            entries = [spec for spec in planned.desired if isinstance(spec, Fdb) and spec.dst is not None]
            neighbours = [spec for spec in planned.desired if isinstance(spec, Neighbour)]
            timed("cnm destroy", lambda: controller.execute(controller.plan_destroy()))
        ip_batch(
            "link add br-app up type bridge\n"
            "link add vx-4096 up master br-app type vxlan id 4096 local 192.0.2.1 dstport 4789 nolearning"
        )
        fdb = "\n".join(f"fdb replace {e.mac} dev vx-4096 dst {e.dst} self master static" for e in entries)
        lines = "\n".join(f"neighbour replace {n.address} dev br-app lladdr {n.mac} nud permanent" for n in neighbours)
        timed("bridge -batch", lambda: _bridge_batch(fdb))
        timed("ip -batch", lambda: ip_batch(lines))


def _bridge_batch(lines: str) -> None:
    subprocess.run(["bridge", "-batch", "-"], input=lines + "\n", text=True, check=True, capture_output=True)


if __name__ == "__main__":
    for size in sys.argv[1:] or ["1000", "10000"]:
        play(int(size))
