from msgspec.structs import replace

from reconciler.resources.address import Address, address_key
from reconciler.resources.link import Link, link_key
from reconciler.resources.route import Route, route_key
from tests.contract.sample import Sample

_LINK = Link(key=link_key("", "br0"), type="bridge", up=True, mtu=1500, addr_gen="none")
_ADDRESS = Address(key=address_key("", "br0", "192.0.2.1/24"), dev="br0", address="192.0.2.1/24")
_ROUTE = Route(key=route_key("", "198.51.100.0/24"), to="198.51.100.0/24", dev="br0", via="192.0.2.9")
SAMPLE = Sample(
    base=(_LINK, _ADDRESS),
    spec=_ROUTE,
    variants=(
        replace(_ROUTE, via="192.0.2.10"),
        replace(_ROUTE, src="192.0.2.1"),
        replace(_ROUTE, via="192.0.2.9", onlink=True),
    ),
    foreign=(
        "ip link add br0 type bridge; ip link set br0 up; ip address add 192.0.2.1/24 dev br0;"
        "ip route add 198.51.100.0/24 via 192.0.2.9"
    ),
    cascade=(link_key("", "br0"),),
)
_V6 = Address(key=address_key("", "br0", "2001:db8::1/64"), dev="br0", address="2001:db8::1/64", nodad=True)
MORE = (
    Sample(
        base=(_LINK, _V6),
        spec=Route(key=route_key("", "::/0"), to="::/0", dev="br0", via="2001:db8::9"),
        cascade=(link_key("", "br0"),),
    ),
    Sample(
        spec=Route(
            key=route_key("", "203.0.113.0/24", 50, 100), to="203.0.113.0/24", metric=50, table=100, type="blackhole"
        )
    ),
)
