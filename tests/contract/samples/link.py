from msgspec.structs import replace

from reconciler.resources.link import BridgePort, Link, Peer, link_key
from reconciler.resources.linkinfo.bridge import Bridge
from reconciler.resources.netns import Netns, netns_key
from tests.contract.sample import Sample

_BRIDGE = Link(key=link_key("", "br0"), type="bridge", up=True, mtu=1500, mac="02:00:00:00:00:01", addr_gen="none")
_NETNS = Netns(key=netns_key("web"), lo=True, sysctls=())
_NEAR = Link(
    key=link_key("", "ve0"),
    type="veth",
    up=True,
    mtu=1500,
    master="br0",
    addr_gen="none",
    peer=Peer(netns="web", name="eth0"),
    port=BridgePort(isolated=False, hairpin=False),
)
_FAR = Link(
    key=link_key("web", "eth0"),
    type="veth",
    up=True,
    mtu=1500,
    mac="02:00:00:00:00:02",
    addr_gen="none",
    maker=_NEAR.key,
)
SAMPLE = Sample(
    base=(_BRIDGE, _NETNS, _FAR),
    spec=_NEAR,
    variants=(
        replace(_NEAR, mtu=1400),
        replace(_NEAR, up=False),
        replace(_NEAR, master="", port=None),
        replace(_NEAR, port=BridgePort(isolated=True, hairpin=True, learning=False, neigh_suppress=True)),
        replace(_NEAR, mac="02:00:00:00:00:03", txqlen=500, addr_gen="eui64"),
        replace(_NEAR, type="bridge", peer=None, port=None, master="", mtu=None),
    ),
    foreign="ip link add ve0 type veth peer name other",
    cascade=(_NEAR.key,),
)
BRIDGE = Sample(
    spec=_BRIDGE,
    variants=(
        replace(_BRIDGE, mtu=9000, mac="02:00:00:00:00:04"),
        replace(
            _BRIDGE,
            info=Bridge(
                stp=True,
                priority=4096,
                forward_delay=400,
                hello_time=100,
                max_age=600,
                ageing_time=1000,
                group_fwd_mask=8,
                mcast_snooping=False,
                mcast_querier=True,
                nf_call_iptables=True,
                nf_call_ip6tables=True,
            ),
        ),
    ),
    foreign="ip link add br0 type bridge",
)
MORE = (BRIDGE,)
