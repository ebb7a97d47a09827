"""IPIP interfaces: IPv4 in IPv4 (RFC 2003)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from reconciler.netlink.table import IP, U8, Attribute, Table
from reconciler.resources.linkinfo.info import LinkInfo
from reconciler.resources.resource import Claim


class Ipip(LinkInfo, frozen=True, kw_only=True):
    """IFLA_IPTUN_* (include/uapi/linux/if_tunnel.h). Without a far end, which there is none of here: a packet goes to the
    next hop of its route (ip_tunnel_xmit in net/ipv4/ip_tunnel.c). ``ttl`` 0: that of the packet inside."""

    type: ClassVar[str] = "ipip"
    table: ClassVar[Table] = Table(local=Attribute(2, IP), ttl=Attribute(4, U8))
    together: ClassVar[frozenset[str]] = frozenset(("local", "ttl"))  # what a message leaves out is reset

    local: str | None = None
    ttl: int | None = None

    def claims(self, netns: str) -> Iterable[Claim]:
        if self.local is not None:
            yield Claim("ipip", netns, self.local)


INFO = Ipip
