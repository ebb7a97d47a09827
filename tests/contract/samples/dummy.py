from msgspec.structs import replace

from reconciler.resources.link import Link, link_key
from reconciler.resources.linkinfo.dummy import Dummy
from tests.contract.sample import Sample

_SPEC = Link(key=link_key("", "dm0"), type="dummy", up=True, mtu=1400, addr_gen="none", info=Dummy())
SAMPLE = Sample(
    spec=_SPEC,
    variants=(replace(_SPEC, mtu=9000, mac="02:00:00:00:00:03"), replace(_SPEC, up=False)),
    requires=("link:dummy",),
    foreign="ip link add dm0 type dummy",
)
