from msgspec.structs import replace

from reconciler.drivers.nftexpr import (
    ACCEPT,
    DROP,
    ESTABLISHED,
    MASQUERADE,
    meta,
    rule,
    snat_map,
    source_in,
    verdict_map,
)
from reconciler.resources.nft import (
    NftChain,
    NftElement,
    NftSet,
    NftTable,
    chain_key,
    element_key,
    set_key,
    table_key,
)
from tests.contract.sample import Sample

_T = ("inet", "cnm")
_TABLE = NftTable(key=table_key(*_T))
_BRIDGES = NftSet(key=set_key(*_T, "bridges"), type="ifname")
_TO = NftSet(key=set_key(*_T, "to"), type="ifname", data_type="verdict")
_SOURCES = NftSet(key=set_key(*_T, "sources"), type="ipv4_addr", interval=True)
_SNAT = NftSet(key=set_key(*_T, "snat4"), type="ipv4_addr", data_type="ipv4_addr", interval=True)
_INNER = NftChain(
    key=chain_key(*_T, "to-front"), rules=(rule("mine", meta("iifname", "br0"), ACCEPT), rule("rest", DROP))
)
_FORWARD = NftChain(
    key=chain_key(*_T, "forward"),
    type="filter",
    hook="forward",
    priority=0,
    policy="accept",
    rules=(rule("before", ESTABLISHED, ACCEPT), rule("into", verdict_map("oifname", "to"))),
)
_NAT = NftChain(
    key=chain_key(*_T, "postrouting"),
    type="nat",
    hook="postrouting",
    priority=100,
    policy="accept",
    rules=(
        rule("fixed", meta("oifname", "@bridges", "!="), snat_map(4, "snat4")),
        rule("host", source_in(4, "sources"), meta("oifname", "@bridges", "!="), MASQUERADE),
    ),
)
_ELEMENT = NftElement(key=element_key(*_T, "to", "br0"), value="goto to-front")
_PORTS = NftSet(key=set_key(*_T, "ports"), type="inet_proto . inet_service", data_type="inet_service")
_RANGES = NftSet(
    key=set_key(*_T, "ranges"), type="ipv4_addr . inet_proto . inet_service", data_type="ipv4_addr", interval=True
)
_FOREIGN = "nft add table inet cnm"

SAMPLE = Sample(spec=_TABLE, foreign=_FOREIGN, beside=(_BRIDGES, _INNER), cascade=(_TABLE.key,))
MORE = (
    Sample(
        base=(_TABLE, _BRIDGES, _TO),
        spec=_FORWARD,
        variants=(
            replace(_FORWARD, policy="drop"),
            replace(_FORWARD, rules=_FORWARD.rules[:1]),
            replace(_FORWARD, priority=10),
        ),
    ),
    Sample(base=(_TABLE, _BRIDGES, _SOURCES, _SNAT), spec=_NAT, variants=(replace(_NAT, rules=_NAT.rules[::-1]),)),
    Sample(base=(_TABLE,), spec=_INNER, variants=(replace(_INNER, rules=()),)),
    Sample(base=(_TABLE,), spec=_SOURCES, variants=(replace(_SOURCES, interval=False),)),
    Sample(base=(_TABLE, _TO, _INNER), spec=_ELEMENT, variants=(replace(_ELEMENT, value="drop"),), cascade=(_TO.key,)),
    Sample(base=(_TABLE, _SNAT), spec=NftElement(key=element_key(*_T, "snat4", "192.0.2.0/24"), value="198.51.100.1")),
    Sample(base=(_TABLE, _SOURCES), spec=NftElement(key=element_key(*_T, "sources", "192.0.2.0/24"))),
    Sample(base=(_TABLE,), spec=_PORTS, variants=(replace(_PORTS, type="inet_service . inet_proto"),)),
    Sample(
        base=(_TABLE, _PORTS),
        spec=NftElement(key=element_key(*_T, "ports", "sctp . 80"), value="8080"),
        variants=(NftElement(key=element_key(*_T, "ports", "sctp . 80"), value="8081"),),
    ),
    Sample(
        base=(_TABLE, _RANGES),
        spec=NftElement(key=element_key(*_T, "ranges", "192.0.2.1 . udp . 5000-5009"), value="10.1.0.2"),
    ),
    Sample(
        base=(_TABLE, _RANGES),
        spec=NftElement(key=element_key(*_T, "ranges", "192.0.2.1 . tcp . 80"), value="10.1.0.2"),
    ),
)
