from dataclasses import replace

from reconciler.resources.link import Link, link_key
from reconciler.resources.linkinfo.macvlan import Macvlan
from reconciler.resources.netns import Netns, netns_key
from tests.contract.sample import Sample

_PARENT = Link(key=link_key("", "br0"), type="bridge", up=True, mac="02:00:00:00:00:01", addr_gen="none")
_SPEC = Link(
    key=link_key("web", "eth0"),
    type="macvlan",
    up=True,
    mtu=1400,
    mac="02:00:00:00:00:02",
    addr_gen="none",
    parent=_PARENT.key,
    info=Macvlan(mode="bridge"),
)
SAMPLE = Sample(
    base=(_PARENT, Netns(key=netns_key("web"), lo=True, sysctls=())),
    spec=_SPEC,
    variants=(replace(_SPEC, mtu=1300, mac="02:00:00:00:00:03"), replace(_SPEC, info=Macvlan(mode="private"))),
    requires=("link:macvlan",),
    cascade=(_PARENT.key,),
)
