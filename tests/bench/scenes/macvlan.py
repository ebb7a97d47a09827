"""Endpoints on one macvlan parent: as many MAC addresses on one wire."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.scene import Bridge, Scene, ip_batch

PARENT = "parent0"


@dataclass(frozen=True)
class Macvlan(Scene):
    @property
    def title(self) -> str:
        return f"{self.size:,} endpoints on a macvlan parent"

    @property
    def family(self) -> str:
        return "endpoints on a macvlan parent"

    def prepare(self) -> None:
        ip_batch(f"link add {PARENT} type veth peer name parent1\nlink set {PARENT} up\nlink set parent1 up")

    def network(self, bridge: Bridge) -> str:
        subnet = f"{{cidr: {bridge.subnet}, gateway: {bridge.gateway}}}"
        return f"{{driver: macvlan, subnets: [{subnet}], options: {{parent: {PARENT}}}}}"

    def works(self) -> None:
        """There is no router at the parent's other end."""


SCENES = (Macvlan(100, 1), Macvlan(1_000, 1))
