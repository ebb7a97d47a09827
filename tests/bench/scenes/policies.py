"""Endpoints on ten bridges under policies that select them by label: a policy for every ten endpoints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tests.bench.scene import Scene, document


@dataclass(frozen=True)
class Policies(Scene):
    @property
    def title(self) -> str:
        return f"{self.size:,} endpoints under {self.size // 10:,} policies"

    @property
    def family(self) -> str:
        return "endpoints under policies"

    def labels(self, number: int) -> str:
        return f"{{role: r{number // 10}, zone: z{number % 10}}}"

    def more(self) -> Iterable[tuple[str, str]]:
        rule = "{action: allow, protocol: tcp, source: {selector: 'zone == \"z1\"'}, destination: {ports: [443, 8000-8010]}}"
        yield (
            "policies.yaml",
            "---\n".join(
                document("Policy", f"p{n}", f'{{selector: role == "r{n}", types: [ingress], ingress: [{rule}]}}')
                for n in range(self.size // 10)
            ),
        )

    def works(self) -> None:
        """The host itself may be kept out."""


SCENES = (Policies(100, 10), Policies(1_000, 10))
