from msgspec.structs import replace

from reconciler.resources.link import Link, link_key
from reconciler.resources.neighbour import Neighbour, neighbour_key
from tests.contract.sample import Sample

_LINK = Link(key=link_key("", "br0"), type="bridge", up=True, mtu=1500, addr_gen="none")
_ENTRY = Neighbour(key=neighbour_key("", "br0", "192.0.2.9"), dev="br0", address="192.0.2.9", mac="02:00:00:00:00:09")
SAMPLE = Sample(
    base=(_LINK,),
    spec=_ENTRY,
    variants=(replace(_ENTRY, mac="02:00:00:00:00:0a"),),
    foreign="ip link add br0 type bridge; ip neighbour add 192.0.2.9 dev br0 lladdr 02:00:00:00:00:09 nud permanent",
    cascade=(link_key("", "br0"),),
)
