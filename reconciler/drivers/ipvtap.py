"""Driver ipvtap: as ipvlan, with a character device for a virtual machine's packets."""

from __future__ import annotations

from typing import ClassVar

from reconciler.drivers.ipvlan import IpvlanDriver
from reconciler.resources.linkinfo.ipvlan import Ipvlan
from reconciler.resources.linkinfo.ipvtap import Ipvtap


class IpvtapDriver(IpvlanDriver):
    """An ipvtap an endpoint."""

    name: ClassVar[str] = "ipvtap"
    summary: ClassVar[str] = "as ipvlan, with a character device a virtual machine can open"
    capabilities: ClassVar[frozenset[str]] = frozenset({"link:ipvtap"})
    info: ClassVar[type[Ipvlan]] = Ipvtap


DRIVER = IpvtapDriver()
