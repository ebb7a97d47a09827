from msgspec.structs import replace

from reconciler.resources.address import Address, address_key
from reconciler.resources.link import Link, link_key
from reconciler.resources.neighbour import Neighbour, neighbour_key
from reconciler.resources.route import Route, route_key
from tests.contract.sample import Sample

_LINK = Link(key=link_key("", "br0"), type="bridge", up=True, mtu=1500, addr_gen="none")


def _address(cidr: str) -> Address:
    return Address(key=address_key("", "br0", cidr), dev="br0", address=cidr)


SAMPLE = Sample(
    base=(_LINK,),
    spec=_address("192.0.2.1/24"),
    foreign="ip link add br0 type bridge; ip address add 192.0.2.1/24 dev br0",
    beside=(
        Route(key=route_key("", "198.51.100.0/24"), to="198.51.100.0/24", dev="br0", via="192.0.2.9"),
        Route(key=route_key("", "203.0.113.0/24"), to="203.0.113.0/24", dev="br0"),
        Neighbour(key=neighbour_key("", "br0", "192.0.2.9"), dev="br0", address="192.0.2.9", mac="02:00:00:00:00:09"),
        Neighbour(
            key=neighbour_key("", "br0", "203.0.113.9"), dev="br0", address="203.0.113.9", mac="02:00:00:00:00:19"
        ),
    ),
    cascade=(address_key("", "br0", "192.0.2.1/24"), link_key("", "br0")),
)
_V6 = replace(_address("2001:db8::1/64"), nodad=True)
MORE = (Sample(base=(_LINK,), spec=_V6, cascade=(link_key("", "br0"),)),)
