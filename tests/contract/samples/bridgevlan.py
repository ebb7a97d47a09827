from msgspec.structs import replace

from reconciler.resources.bridgevlan import BridgeVlan, bridge_vlan_key
from reconciler.resources.link import Link, link_key
from reconciler.resources.linkinfo.bridge import Bridge
from reconciler.resources.linkinfo.dummy import Dummy
from tests.contract.sample import Sample

_BRIDGE = Link(
    key=link_key("", "br0"),
    type="bridge",
    up=True,
    mac="02:00:00:00:00:01",
    addr_gen="none",
    info=Bridge(vlan_filtering=True, vlan_protocol="802.1Q", vlan_default_pvid=0),
)
_PORT = Link(key=link_key("", "dm0"), type="dummy", up=True, master="br0", addr_gen="none", info=Dummy())
_SPEC = BridgeVlan(key=bridge_vlan_key("", "dm0", 10), dev="dm0", vid=10, pvid=True, untagged=True)
SAMPLE = Sample(
    base=(_BRIDGE, _PORT),
    spec=_SPEC,
    variants=(replace(_SPEC, pvid=False, untagged=False), replace(_SPEC, pvid=True, untagged=False)),
    requires=("bridge-vlan", "link:dummy"),
    cascade=(_PORT.key,),
)
