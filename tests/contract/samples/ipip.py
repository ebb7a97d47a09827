from msgspec.structs import replace

from reconciler.resources.link import Link, link_key
from reconciler.resources.linkinfo.ipip import Ipip
from tests.contract.sample import Sample

_INFO = Ipip(local="192.0.2.1", ttl=64)
_SPEC = Link(key=link_key("", "ip0"), type="ipip", up=True, mtu=1480, addr_gen="none", info=_INFO)
SAMPLE = Sample(
    spec=_SPEC,
    variants=(
        replace(_SPEC, mtu=1400, info=replace(_INFO, local="192.0.2.9")),
        replace(_SPEC, info=replace(_INFO, ttl=32)),
    ),
    foreign="ip link add ip0 type ipip local 192.0.2.1",
    requires=("link:ipip",),
)
