"""Macvtap interfaces: a macvlan whose frames go to a character device, for virtual machines."""

from __future__ import annotations

from typing import ClassVar

from reconciler.resources.linkinfo.macvlan import Macvlan


class Macvtap(Macvlan, frozen=True, kw_only=True):
    """The attributes of a macvlan (drivers/net/macvtap.c). ``device`` is only ever seen:
    path, owner, mode and number of what a virtual machine opens."""

    type: ClassVar[str] = "macvtap"
    character_device: ClassVar[str] = "/dev/tap{}"

    device: str | None = None


INFO = Macvtap
