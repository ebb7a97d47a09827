"""Routes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from reconciler.resources.link import link_key
from reconciler.resources.netns import netns_key
from reconciler.resources.resource import Key, Need, Resource

MAIN_TABLE = 254


def route_key(netns: str, to: str, metric: int = 0, table: int = MAIN_TABLE) -> Key:
    """The key of a route: ``route/@web/0.0.0.0/0``, ``route/10.0.0.0/8,metric=50,table=100``.

    ``to`` is a CIDR (``0.0.0.0/0`` and ``::/0`` are the default routes). The kernel's default metric is 0 for
    IPv4 and 1024 for IPv6; both are left out of the name.
    """
    if metric == 1024 and ":" in to:
        metric = 0
    name = to + (f",metric={metric}" if metric else "") + (f",table={table}" if table != MAIN_TABLE else "")
    return Key("route", netns, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Resource):
    """A route. ``type`` is ``unicast``, ``blackhole``, ``unreachable`` or ``prohibit``; ``dev`` and ``via`` as in ip-route(8)."""

    kind: ClassVar[str] = "route"
    batch: ClassVar[str] = "route"
    follows: ClassVar[tuple[str, ...]] = ("address", "sysctl", "neighbour")

    to: str
    metric: int = 0
    table: int = MAIN_TABLE
    type: str = "unicast"
    dev: str | None = None
    via: str | None = None
    src: str | None = None
    onlink: bool | None = None

    def needs(self) -> Iterable[Need]:
        if self.dev is not None:
            yield Need((link_key(self.key.netns, self.dev),))
        elif self.key.netns:
            yield Need((netns_key(self.key.netns),))

    def hangs_on(self) -> Iterable[Key]:
        if self.dev is not None:
            yield link_key(self.key.netns, self.dev)
        elif self.key.netns:
            yield netns_key(self.key.netns)

    def group(self) -> Key | None:
        return link_key(self.key.netns, self.dev) if self.dev is not None else None


KINDS = (Route,)
