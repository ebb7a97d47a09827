from msgspec.structs import replace

from reconciler.netlink.fdb import EVERY
from reconciler.resources.fdb import Fdb, fdb_key
from reconciler.resources.link import Link, Peer, link_key
from reconciler.resources.linkinfo.vxlan import Vxlan
from tests.contract.sample import Sample

_MAC = "02:00:00:00:00:09"
_BRIDGE = Link(key=link_key("", "br0"), type="bridge", up=True, mac="02:00:00:00:00:01", addr_gen="none")
_TUNNEL = Link(
    key=link_key("", "vx0"),
    type="vxlan",
    up=True,
    master="br0",
    addr_gen="none",
    info=Vxlan(vni=4096, local="192.0.2.1", port=4789, learning=False),
)
_REMOTE = Fdb(key=fdb_key("", "vx0", _MAC), dev="vx0", mac=_MAC, dst="192.0.2.2", bridge="br0")
SAMPLE = Sample(
    base=(_BRIDGE, _TUNNEL),
    spec=_REMOTE,
    variants=(replace(_REMOTE, dst="192.0.2.3"),),
    cascade=(_TUNNEL.key,),
    requires=("link:vxlan",),
)
FLOOD = Sample(
    base=(_BRIDGE, _TUNNEL),
    spec=Fdb(key=fdb_key("", "vx0", EVERY, "192.0.2.2"), dev="vx0", mac=EVERY, dst="192.0.2.2"),
    beside=(Fdb(key=fdb_key("", "vx0", EVERY, "192.0.2.3"), dev="vx0", mac=EVERY, dst="192.0.2.3"),),
    cascade=(_TUNNEL.key,),
    requires=("link:vxlan",),
)
_VETH = Link(
    key=link_key("", "ve0"), type="veth", up=True, master="br0", addr_gen="none", peer=Peer(netns="", name="ve1")
)
LOCAL = Sample(
    base=(_BRIDGE, _VETH, _TUNNEL),
    spec=Fdb(key=fdb_key("", "ve0", _MAC), dev="ve0", mac=_MAC, bridge="br0"),
    cascade=(_BRIDGE.key,),
    requires=("link:vxlan",),
)
MORE = (FLOOD, LOCAL)
