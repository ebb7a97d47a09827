from msgspec.structs import replace

from reconciler.resources.link import BridgePort, Link, link_key
from reconciler.resources.linkinfo.vxlan import Vxlan
from tests.contract.sample import Sample

_BRIDGE = Link(key=link_key("", "br0"), type="bridge", up=True, mac="02:00:00:00:00:01", addr_gen="none")
_INFO = Vxlan(vni=4096, local="192.0.2.1", port=4789, learning=False, ttl=64)
_SPEC = Link(
    key=link_key("", "vx0"),
    type="vxlan",
    up=True,
    mtu=1450,
    mac="02:00:00:00:00:02",
    master="br0",
    addr_gen="none",
    info=_INFO,
    port=BridgePort(learning=False, neigh_suppress=True),
)
SAMPLE = Sample(
    base=(_BRIDGE,),
    spec=_SPEC,
    variants=(
        replace(_SPEC, mtu=1400, info=replace(_INFO, local="192.0.2.9", ttl=32, learning=True)),
        replace(_SPEC, info=replace(_INFO, vni=4097)),
        replace(_SPEC, info=replace(_INFO, port=4790)),
        replace(_SPEC, info=replace(_INFO, local="2001:db8::1")),
    ),
    foreign="ip link add vx0 type vxlan id 4096 dstport 4789 local 192.0.2.1",
    requires=("link:vxlan",),
)
SIX = Sample(
    base=(_BRIDGE,),
    spec=replace(_SPEC, info=replace(_INFO, local="2001:db8::1")),
    variants=(replace(_SPEC, info=replace(_INFO, local="2001:db8::2")),),
    requires=("link:vxlan",),
)
MORE = (SIX,)
