"""Driver macvtap: as macvlan, with a character device for a virtual machine's frames."""

from __future__ import annotations

from typing import ClassVar

from reconciler.drivers.macvlan import MacvlanDriver
from reconciler.resources.linkinfo.macvlan import Macvlan
from reconciler.resources.linkinfo.macvtap import Macvtap


class MacvtapDriver(MacvlanDriver):
    """A macvtap an endpoint."""

    name: ClassVar[str] = "macvtap"
    summary: ClassVar[str] = "as macvlan, with a character device a virtual machine can open"
    capabilities: ClassVar[frozenset[str]] = frozenset({"link:macvtap"})
    info: ClassVar[type[Macvlan]] = Macvtap


DRIVER = MacvtapDriver()
