from msgspec.structs import replace

from reconciler.resources.link import Link, link_key
from reconciler.resources.linkinfo.macvlan import Macvlan
from reconciler.resources.linkinfo.macvtap import Macvtap
from reconciler.resources.netns import Netns, netns_key
from tests.contract.sample import Sample

_PARENT = Link(key=link_key("", "br0"), type="bridge", up=True, mac="02:00:00:00:00:01", addr_gen="none")
_BASE = (_PARENT, Netns(key=netns_key("web"), lo=True, sysctls=()))
_SPEC = Link(
    key=link_key("web", "eth0"),
    type="macvlan",
    up=True,
    mtu=1400,
    mac="02:00:00:00:00:02",
    addr_gen="none",
    parent=_PARENT.key,
    info=Macvlan(mode="bridge", flags=(), bc_queue_len=1000, bc_cutoff=1),
)
_SOURCE = replace(
    _SPEC,
    info=Macvlan(mode="source", flags=("nodst",), sources=("02:00:00:00:00:08", "02:00:00:00:00:09"), bc_cutoff=-1),
)
SAMPLE = Sample(
    base=_BASE,
    spec=_SPEC,
    variants=(
        replace(_SPEC, mtu=1300, mac="02:00:00:00:00:03"),
        replace(_SPEC, info=Macvlan(mode="private", flags=(), bc_queue_len=2000, bc_cutoff=4)),
        replace(_SPEC, info=Macvlan(mode="vepa")),
        replace(_SPEC, mac=None, info=Macvlan(mode="passthru", flags=("nopromisc",))),
        _SOURCE,
    ),
    requires=("link:macvlan",),
    cascade=(_PARENT.key,),
)
SOURCE = Sample(
    base=_BASE,
    spec=_SOURCE,
    variants=(
        replace(_SOURCE, info=Macvlan(mode="source", flags=(), sources=("02:00:00:00:00:09",))),
        replace(_SOURCE, info=Macvlan(mode="source", flags=(), sources=())),
        replace(_SOURCE, info=Macvlan(mode="bridge", flags=(), sources=())),
    ),
    requires=("link:macvlan",),
)
MACVTAP = Sample(
    base=_BASE,
    spec=replace(_SPEC, type="macvtap", info=Macvtap(mode="bridge", flags=())),
    variants=(
        replace(_SPEC, type="macvtap", info=Macvtap(mode="vepa", flags=(), bc_queue_len=7)),
        replace(_SPEC, type="macvtap", mac=None, info=Macvtap(mode="passthru", flags=("nopromisc",))),
        _SPEC,
    ),
    requires=("link:macvtap",),
)
ON_HOST = Sample(
    base=(_PARENT,),
    spec=replace(_SPEC, key=link_key("", "sh0")),
    variants=(replace(_SPEC, key=link_key("", "sh0"), mac="02:00:00:00:00:05"),),
    requires=("link:macvlan",),
    foreign="ip link add br0 type bridge; ip link add sh0 link br0 type macvlan mode bridge",
    cascade=(_PARENT.key,),
)
MORE = (SOURCE, MACVTAP, ON_HOST)
