from msgspec.structs import replace

from reconciler.resources.link import Link, link_key
from reconciler.resources.qdisc import Qdisc, qdisc_key
from tests.contract.sample import Sample

_LINK = Link(key=link_key("", "br0"), type="bridge", up=True, mtu=1500, addr_gen="none")
_QDISC = Qdisc(key=qdisc_key("", "br0"), dev="br0", rate=10_000_000, burst=32, limit=65536)
SAMPLE = Sample(
    base=(_LINK,),
    spec=_QDISC,
    variants=(
        replace(_QDISC, rate=1_000_000_000, burst=1250),
        replace(_QDISC, rate=100_000_000_000, burst=4096),
        replace(_QDISC, rate=64_000, burst=2),
        replace(_QDISC, limit=1_000_000),
    ),
    foreign="ip link add br0 type bridge; tc qdisc add dev br0 root handle 5: tbf rate 1mbit burst 32kb limit 64kb",
    cascade=(link_key("", "br0"),),
)
