from reconciler.resources.netns import Netns, netns_key
from tests.contract.sample import Sample

_SYSCTLS = (("net/ipv4/conf/all/forwarding", "0"), ("net/ipv4/conf/default/rp_filter", "2"))
SAMPLE = Sample(
    spec=Netns(key=netns_key("web"), lo=True, sysctls=_SYSCTLS),
    variants=(
        Netns(key=netns_key("web"), lo=False, sysctls=_SYSCTLS),
        Netns(key=netns_key("web"), lo=True, sysctls=(("net/ipv4/conf/default/rp_filter", "1"),)),
    ),
    foreign="ip netns add web",
)
