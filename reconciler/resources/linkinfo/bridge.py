"""Bridges."""

from __future__ import annotations

from typing import ClassVar, Self

from msgspec.structs import replace

from reconciler.netlink.table import BE16, FLAG8, FLAG32, U16, U32, Attribute, Table, choice
from reconciler.resources.linkinfo.info import LinkInfo
from reconciler.resources.linkinfo.vlan import PROTOCOLS


class Bridge(LinkInfo, frozen=True, kw_only=True):
    """IFLA_BR_*. Times are in centiseconds, as the kernel keeps them."""

    type: ClassVar[str] = "bridge"
    table: ClassVar[Table] = Table(
        forward_delay=Attribute(1, U32),
        hello_time=Attribute(2, U32),
        max_age=Attribute(3, U32),
        ageing_time=Attribute(4, U32),
        stp=Attribute(5, FLAG32),
        priority=Attribute(6, U16),
        vlan_filtering=Attribute(7, FLAG8),
        vlan_protocol=Attribute(8, choice(BE16, PROTOCOLS)),
        group_fwd_mask=Attribute(9, U16),
        mcast_snooping=Attribute(23, FLAG8),
        mcast_querier=Attribute(25, FLAG8),
        nf_call_iptables=Attribute(36, FLAG8),
        nf_call_ip6tables=Attribute(37, FLAG8),
        vlan_default_pvid=Attribute(39, U16),
    )

    stp: bool | None = None
    priority: int | None = None
    forward_delay: int | None = None  # centiseconds
    hello_time: int | None = None  # centiseconds
    max_age: int | None = None  # centiseconds
    ageing_time: int | None = None  # centiseconds
    group_fwd_mask: int | None = None
    mcast_snooping: bool | None = None
    mcast_querier: bool | None = None
    vlan_filtering: bool | None = None
    vlan_protocol: str | None = None  # 802.1Q | 802.1ad
    vlan_default_pvid: int | None = None  # what a new port gets; 0: nothing
    nf_call_iptables: bool | None = None
    nf_call_ip6tables: bool | None = None

    def restorable(self) -> Self:
        """A kernel without VLAN filtering refuses even to hear that it is off; off is what a new bridge is."""
        return replace(self, vlan_filtering=self.vlan_filtering or None)


INFO = Bridge
