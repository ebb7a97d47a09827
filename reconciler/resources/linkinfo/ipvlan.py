"""Ipvlan interfaces: further IP addresses on a parent, under its MAC address."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from reconciler.netlink.table import U16, Attribute, Table, choice
from reconciler.resources.linkinfo.info import LinkInfo
from reconciler.resources.resource import Claim, Key

MODES = {"l2": 0, "l3": 1, "l3s": 2}
FLAGS = {"bridge": 0, "private": 1, "vepa": 2}


class Ipvlan(LinkInfo, frozen=True, kw_only=True):
    """IFLA_IPVLAN_*. ``mode``: l2 | l3 | l3s. ``flag``: bridge | private | vepa. Both belong to the parent: to change
    them on one is to change them on all that ride there (ipvlan_set_port_mode in drivers/net/ipvlan/ipvlan_main.c)."""

    type: ClassVar[str] = "ipvlan"
    table: ClassVar[Table] = Table(
        mode=Attribute(1, choice(U16, MODES)),
        flag=Attribute(2, choice(U16, FLAGS)),
    )
    flaps: ClassVar[frozenset[str]] = frozenset(("mode", "flag"))

    mode: str | None = None
    flag: str | None = None

    def rides(self, parent: Key) -> Iterable[Claim]:
        """The parent's receive handler, as for macvlan."""
        yield Claim("rx-handler", parent.netns, parent.name)


INFO = Ipvlan
