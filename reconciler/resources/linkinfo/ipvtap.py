"""Ipvtap interfaces: an ipvlan whose packets go to a character device, for virtual machines."""

from __future__ import annotations

from typing import ClassVar

from reconciler.resources.linkinfo.ipvlan import Ipvlan


class Ipvtap(Ipvlan, frozen=True, kw_only=True):
    """The attributes of an ipvlan (drivers/net/ipvlan/ipvtap.c). ``device`` is only ever seen:
    path, owner, mode and number of what a virtual machine opens."""

    type: ClassVar[str] = "ipvtap"
    character_device: ClassVar[str] = "/dev/tap{}"

    device: str | None = None


INFO = Ipvtap
