"""Endpoints of a network over ten hosts: a tenth of them here, the others known as remote peers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from tests.bench.scene import Bridge, Endpoint, Scene, document, ip_batch

HOSTS = 10


@dataclass(frozen=True)
class Overlay(Scene):
    node: ClassVar[str] = "host0"

    @property
    def title(self) -> str:
        return f"{self.size:,} endpoints of an overlay, {self.size // HOSTS:,} of them here"

    @property
    def family(self) -> str:
        return "endpoints of an overlay over ten hosts"

    def prepare(self) -> None:
        ip_batch("link add uplink type veth peer name wire\nlink set uplink up\nlink set wire up")
        ip_batch("address add 192.0.2.10/24 dev uplink")

    def network(self, bridge: Bridge) -> str:
        return f"{{driver: overlay, subnets: [{{cidr: {bridge.subnet}}}]}}"

    def sandbox(self, endpoint: Endpoint) -> str:
        number = int(endpoint.netns[1:])
        stack = f"stack: {{path: /run/netns/{endpoint.netns}}}, " if number % HOSTS == 0 else ""
        return f"{{{stack}node: host{number % HOSTS}}}"

    def more(self) -> Iterable[tuple[str, str]]:
        nodes = [document("Node", f"host{n}", f"{{addresses: [192.0.2.{10 + n}]}}") for n in range(HOSTS)]
        yield "nodes.yaml", "---\n".join(nodes)

    def works(self) -> None:
        """The other hosts are not there."""


SCENES = (Overlay(100, 1), Overlay(1_000, 1), Overlay(4_000, 1))
