from msgspec.structs import replace

from reconciler.resources.link import Link, link_key
from reconciler.resources.linkinfo.ipvlan import Ipvlan
from reconciler.resources.linkinfo.ipvtap import Ipvtap
from reconciler.resources.linkinfo.macvlan import Macvlan
from reconciler.resources.netns import Netns, netns_key
from tests.contract.sample import Sample

_PARENT = Link(key=link_key("", "br0"), type="bridge", up=True, mac="02:00:00:00:00:01", addr_gen="none")
_BASE = (_PARENT, Netns(key=netns_key("web"), lo=True, sysctls=()))
_SPEC = Link(
    key=link_key("web", "eth0"),
    type="ipvlan",
    up=True,
    mtu=1400,
    addr_gen="none",
    parent=_PARENT.key,
    info=Ipvlan(mode="l2", flag="bridge"),
)
SAMPLE = Sample(
    base=_BASE,
    spec=_SPEC,
    variants=(
        replace(_SPEC, mtu=1300),
        replace(_SPEC, info=Ipvlan(mode="l3", flag="private")),
        replace(_SPEC, info=Ipvlan(mode="l3s", flag="vepa")),
        replace(_SPEC, type="macvlan", info=Macvlan(mode="bridge")),
    ),
    requires=("link:ipvlan", "link:macvlan"),
    cascade=(_PARENT.key,),
)
IPVTAP = Sample(
    base=_BASE,
    spec=replace(_SPEC, type="ipvtap", info=Ipvtap(mode="l2", flag="bridge")),
    variants=(replace(_SPEC, type="ipvtap", info=Ipvtap(mode="l3", flag="private")), _SPEC),
    requires=("link:ipvtap", "link:ipvlan"),
)
ON_HOST = Sample(
    base=(_PARENT,),
    spec=replace(_SPEC, key=link_key("", "sh0")),
    variants=(replace(_SPEC, key=link_key("", "sh0"), mtu=1450),),
    requires=("link:ipvlan",),
    foreign="ip link add br0 type bridge; ip link add sh0 link br0 type ipvlan mode l2",
    cascade=(_PARENT.key,),
)
MORE = (IPVTAP, ON_HOST)
