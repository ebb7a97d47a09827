from msgspec.structs import replace

from reconciler.resources.link import Link, link_key
from reconciler.resources.linkinfo.vrf import Vrf
from tests.contract.sample import Sample

_SPEC = Link(key=link_key("", "red"), type="vrf", up=True, addr_gen="none", info=Vrf(number=1001))
SAMPLE = Sample(
    spec=_SPEC,
    variants=(replace(_SPEC, mtu=1400), replace(_SPEC, info=Vrf(number=1002))),
    requires=("link:vrf",),
    foreign="ip link add red type vrf table 1001",
)
