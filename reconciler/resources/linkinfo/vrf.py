"""VRF devices: a routing table of its own for all that is enslaved (Documentation/networking/vrf.rst)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from reconciler.netlink.table import U32, Attribute, Table
from reconciler.resources.linkinfo.info import LinkInfo
from reconciler.resources.resource import Claim


class Vrf(LinkInfo, frozen=True, kw_only=True):
    """IFLA_VRF_TABLE: the number of the routing table."""

    type: ClassVar[str] = "vrf"
    table: ClassVar[Table] = Table(number=Attribute(1, U32))
    fixed: ClassVar[Mapping[str, str]] = {"number": "a routing domain keeps its table"}

    number: int | None = None

    def claims(self, netns: str) -> Iterable[Claim]:
        yield Claim("vrf", netns, str(self.number))


INFO = Vrf
