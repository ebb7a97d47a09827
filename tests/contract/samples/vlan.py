from msgspec.structs import replace

from reconciler.resources.link import Link, link_key
from reconciler.resources.linkinfo.vlan import Vlan
from tests.contract.sample import Sample

_PARENT = Link(key=link_key("", "br0"), type="bridge", up=True, mac="02:00:00:00:00:01", addr_gen="none", mtu=1500)
_SPEC = Link(
    key=link_key("", "br0.10"),
    type="vlan",
    up=True,
    mtu=1400,
    addr_gen="none",
    parent=_PARENT.key,
    info=Vlan(id=10, protocol="802.1Q"),
)
SAMPLE = Sample(
    base=(_PARENT,),
    spec=_SPEC,
    variants=(
        replace(_SPEC, mtu=1300, mac="02:00:00:00:00:03"),
        replace(_SPEC, info=Vlan(id=11, protocol="802.1Q")),
        replace(_SPEC, info=Vlan(id=10, protocol="802.1ad")),
    ),
    requires=("link:vlan",),
    foreign="ip link add br0 type bridge; ip link add br0.10 link br0 type vlan id 10",
    cascade=(_PARENT.key,),
)
