from dataclasses import replace

from reconciler.resources.bridgevlan import BridgeVlan, bridge_vlan_key
from reconciler.resources.link import BridgePort, Link, Peer, link_key
from reconciler.resources.linkinfo.bridge import Bridge
from reconciler.resources.netns import Netns, netns_key
from tests.contract.sample import Sample

_BRIDGE = Link(
    key=link_key("", "br0"),
    type="bridge",
    up=True,
    mac="02:00:00:00:00:01",
    addr_gen="none",
    info=Bridge(vlan_filtering=True, vlan_protocol="802.1Q", vlan_default_pvid=0),
)
_PORT = Link(
    key=link_key("", "ve0"),
    type="veth",
    up=True,
    master="br0",
    addr_gen="none",
    peer=Peer(netns="web", name="eth0"),
    port=BridgePort(isolated=False),
)
_NETNS = Netns(key=netns_key("web"), lo=True, sysctls=())
_END = Link(key=link_key("web", "eth0"), type="veth", up=True, addr_gen="none", maker=_PORT.key)
_SPEC = BridgeVlan(key=bridge_vlan_key("", "ve0", 10), dev="ve0", vid=10, pvid=True, untagged=True)
SAMPLE = Sample(
    base=(_BRIDGE, _NETNS, _PORT, _END),
    spec=_SPEC,
    variants=(replace(_SPEC, pvid=False, untagged=False), replace(_SPEC, pvid=True, untagged=False)),
    requires=("bridge-vlan",),
)
