"""Permanent neighbour entries (ARP and ND)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from reconciler.resources.link import link_key
from reconciler.resources.resource import Key, Need, Resource


def neighbour_key(netns: str, dev: str, address: str) -> Key:
    """The key of a neighbour entry."""
    return Key("neighbour", netns, f"{dev}/{address}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour(Resource):
    """``address`` is at ``mac`` on ``dev``. ``state`` is always wanted ``permanent``; a learned entry in its place is drift."""

    kind: ClassVar[str] = "neighbour"
    batch: ClassVar[str] = "neighbour"
    follows: ClassVar[tuple[str, ...]] = ("address", "sysctl")

    dev: str
    address: str
    mac: str | None = None
    state: str = "permanent"

    def needs(self) -> Iterable[Need]:
        yield Need((link_key(self.key.netns, self.dev),))

    def hangs_on(self) -> Iterable[Key]:
        yield link_key(self.key.netns, self.dev)

    def group(self) -> Key | None:
        return link_key(self.key.netns, self.dev)


KINDS = (Neighbour,)
