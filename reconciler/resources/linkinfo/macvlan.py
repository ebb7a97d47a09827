"""Macvlan and macvtap interfaces: further MAC addresses on a parent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from reconciler.netlink.table import U32, Attribute, Table, choice
from reconciler.resources.linkinfo.info import LinkInfo

MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8, "source": 16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Macvlan(LinkInfo):
    """IFLA_MACVLAN_*. ``mode``: private | vepa | bridge | passthru | source."""

    type: ClassVar[str] = "macvlan"
    table: ClassVar[Table] = Table(mode=Attribute(1, choice(U32, MODES)))
    fixed: ClassVar[Mapping[str, str]] = {}

    mode: str | None = None


INFO = Macvlan
