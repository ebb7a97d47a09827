from msgspec.structs import replace

from reconciler.errors import Origin
from reconciler.resources.attended import ATTENDANT, attendant_process
from reconciler.resources.name import Name, name_key
from reconciler.resources.netns import Netns, netns_key
from reconciler.resources.netnsfile import NetnsFile, netns_file_key
from reconciler.resources.resolver import Resolver, resolver_key
from tests.contract.sample import Sample

_ATTENDANT = attendant_process(Origin())
_NETNS = Netns(key=netns_key("a"), source="named", lo=True)
_RESOLVER = Resolver(key=resolver_key("a"), networks=("front",), servers=("192.0.2.53",), local=("10.1.0.0/24",))
_NAME = Name(key=name_key("front", "web"), network="front", names=("web", "store"), addresses=("10.1.0.2", "fd01::2"))
_FILE = NetnsFile(key=netns_file_key("a", "resolv.conf"), content="nameserver 127.0.0.11\n")

SAMPLE = Sample(
    base=(_ATTENDANT, _NETNS),
    spec=_RESOLVER,
    variants=(
        replace(_RESOLVER, networks=("back", "front"), servers=()),
        replace(_RESOLVER, local=("10.1.0.0/24", "fd01::/64")),
    ),
    cascade=(ATTENDANT,),
)
MORE = (
    Sample(
        base=(_ATTENDANT,),
        spec=_NAME,
        variants=(replace(_NAME, names=("web",)), replace(_NAME, addresses=("10.1.0.3",))),
        cascade=(ATTENDANT,),
    ),
    Sample(
        spec=_FILE,
        variants=(replace(_FILE, content="nameserver 127.0.0.11\nsearch example.com\n"), replace(_FILE, content="")),
        foreign="mkdir -p /etc/netns/a && echo nameserver 192.0.2.1 > /etc/netns/a/resolv.conf",
    ),
)
