"""VLAN sub-interfaces: what a parent carries under one tag."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from reconciler.netlink.table import BE16, U16, Attribute, Table, choice
from reconciler.resources.linkinfo.info import LinkInfo
from reconciler.resources.resource import Claim, Key

PROTOCOLS = {"802.1Q": 0x8100, "802.1ad": 0x88A8}


class Vlan(LinkInfo, frozen=True, kw_only=True):
    """IFLA_VLAN_*. ``id``: 1 to 4094. ``protocol``: 802.1Q | 802.1ad."""

    type: ClassVar[str] = "vlan"
    table: ClassVar[Table] = Table(id=Attribute(1, U16), protocol=Attribute(5, choice(BE16, PROTOCOLS)))
    fixed: ClassVar[Mapping[str, str]] = {
        "id": "a sub-interface keeps its VLAN",
        "protocol": "a sub-interface keeps the protocol of its tag",
    }

    id: int | None = None
    protocol: str | None = None

    def rides(self, parent: Key) -> Iterable[Claim]:
        yield Claim("vlan", parent.netns, f"{parent.name}/{self.protocol}/{self.id}")


INFO = Vlan
