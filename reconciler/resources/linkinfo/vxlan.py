"""VXLAN interfaces (RFC 7348)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Self

from reconciler.netlink.table import BE16, FLAG8, IP, U8, U32, Attribute, Table
from reconciler.resources.linkinfo.info import LinkInfo
from reconciler.resources.resource import Claim


class Vxlan(LinkInfo, frozen=True, kw_only=True):
    """IFLA_VXLAN_*. ``local`` is the source address of what is sent; its family is that of the socket. ``learning``
    False: where a MAC address is, is told (fdb entries), never guessed from what arrives."""

    type: ClassVar[str] = "vxlan"
    table: ClassVar[Table] = Table(
        vni=Attribute(1, U32),
        local=Attribute(4, IP, number6=17),
        ttl=Attribute(5, U8),
        learning=Attribute(7, FLAG8),
        port=Attribute(15, BE16),
    )
    fixed: ClassVar[Mapping[str, str]] = {
        "vni": "the kernel keeps the VNI of a VXLAN interface",
        "port": "the kernel keeps the UDP port of a VXLAN interface",
    }

    vni: int | None = None
    local: str | None = None
    port: int | None = None
    learning: bool | None = None
    ttl: int | None = None

    def obstacle(self, new: Self) -> str:
        if self.local is not None and new.local is not None and (":" in self.local) != (":" in new.local):
            return "local: the kernel keeps the IP version of a VXLAN interface's socket"
        return LinkInfo.obstacle(self, new)

    def claims(self, netns: str) -> Iterable[Claim]:
        if self.vni is not None:
            yield Claim("vxlan", netns, f"{self.vni}:{self.port}")


INFO = Vxlan
