from msgspec.structs import replace

from reconciler.resources.link import Link, Peer, link_key
from reconciler.resources.netns import Netns, netns_key
from reconciler.resources.offload import Offload, offload_key
from tests.contract.sample import Sample

_NETNS = Netns(key=netns_key("web"), lo=True, sysctls=())
_NEAR = Link(
    key=link_key("", "ve0"), type="veth", up=True, mtu=1500, addr_gen="none", peer=Peer(netns="web", name="eth0")
)
_FAR = Link(key=link_key("web", "eth0"), type="veth", up=True, mtu=1500, addr_gen="none", maker=_NEAR.key)
_SPEC = Offload(key=offload_key("web", "eth0"), dev="eth0", tx_checksum=False)
SAMPLE = Sample(base=(_NETNS, _NEAR, _FAR), spec=_SPEC, variants=(replace(_SPEC, tx_checksum=True),))
