from reconciler.resources.netns import Netns, netns_key
from reconciler.resources.stack import Stack, stack_key
from tests.contract.sample import Sample

_KEY = stack_key("web")
_FORWARD, _REDIRECTS, _ARP = "net/ipv4/ip_forward", "net/ipv4/conf/all/accept_redirects", "net/ipv4/conf/all/arp_notify"
SAMPLE = Sample(
    spec=Stack(key=_KEY, sysctls=((_FORWARD, "1"), (_REDIRECTS, "0"))),
    variants=(
        Stack(key=_KEY, sysctls=((_FORWARD, "0"), (_REDIRECTS, "1"))),
        Stack(key=_KEY, sysctls=((_FORWARD, "1"), (_REDIRECTS, "0"), (_ARP, "1"))),
        Stack(key=_KEY, sysctls=((_ARP, "1"),)),
    ),
    base=(Netns(key=netns_key("web"), lo=True, sysctls=()),),
)
