"""Hosts that speak BGP with each other: a scene for routed networks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from tests.kernel.overlay import Cluster

POOLS = """\
kind: IPPool
metadata: {name: v4}
spec: {cidr: 10.48.0.0/16, blockSize: 28}
---
apiVersion: cnm/v1alpha1
kind: IPPool
metadata: {name: v6}
spec: {cidr: "fd48::/112"}"""


def wait(condition: Callable[[], bool], seconds: float = 30) -> bool:
    """Whether it came to hold before the time was up."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def calico(name: str = "app", options: str = "{}", labels: str = "{}") -> str:
    return f"kind: Network\nmetadata: {{name: {name}, labels: {labels}}}\nspec: {{driver: calico, options: {options}}}"


class Routed(Cluster):
    """A cluster whose nodes all have ``spec.bgp``."""

    def declare(
        self,
        endpoints: list[str],
        documents: list[str] | None = None,
        bgp: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """``bgp`` and ``labels`` are what Node documents say there, by node."""
        self.write(documents if documents is not None else [POOLS, calico()], endpoints)
        path = self.folder / "all.yaml"
        text = path.read_text()
        for node in self.fabric.names:
            said, own = (bgp or {}).get(node, "{}"), (labels or {}).get(node, "{}")
            head = f"name: {node}, labels: {own}}}\nspec: {{bgp: {said}, addresses"
            text = text.replace(f"name: {node}}}\nspec: {{addresses", head)
        path.write_text(text)

    def birdc(self, node: str, command: str) -> str:
        """What the BIRD of a node answers."""
        socket = self.fabric[node].run("sh", "-c", "echo /run/cnm/*/bird/bird.ctl").stdout.strip()
        return self.fabric[node].run("birdc", "-s", socket, command).stdout

    def established(self, node: str) -> int:
        """How many sessions of a node are up."""
        return self.birdc(node, "show protocols").count("Established")
