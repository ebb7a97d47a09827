"""Macvtap interfaces: a macvlan whose frames go to a character device, for virtual machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from reconciler.resources.linkinfo.macvlan import Macvlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Macvtap(Macvlan):
    """The attributes of a macvlan (drivers/net/macvtap.c). ``device`` is only ever seen:
    path, owner, mode and number of what a virtual machine opens."""

    type: ClassVar[str] = "macvtap"
    character_device: ClassVar[str] = "/dev/tap{}"

    device: str | None = None


INFO = Macvtap
