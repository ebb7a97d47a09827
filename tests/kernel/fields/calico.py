"""Driver calico and its documents: endpoint x of network far is here, y on node n2."""

from __future__ import annotations

from typing import Any

from tests.kernel.fields.case import ANEW, EXCHANGE, IN_PLACE, NOTHING, REFUSED, Case, Documents, document


def _calico(documents: Documents) -> None:
    documents["node"]["spec"] |= {"addresses": ["192.0.2.1"], "bgp": {}}
    documents["node"]["metadata"]["labels"] = {"rack": "a"}
    documents["n2"] = document("Node", "n2", addresses=["192.0.2.2"], bgp={})
    for name in ("a", "b", "c"):
        documents[name]["spec"]["node"] = "n1"
    documents["pool"] = document("IPPool", "pool", cidr="10.48.0.0/16")
    documents["more"] = document("IPPool", "zmore", cidr="10.49.0.0/16")
    documents["bgp"] = document("BGPConfiguration", "default", returnWithin=0)
    documents["leaf"] = document("BGPPeer", "leaf", address="192.0.2.254", asn=65001)
    documents["far"] = document("Network", "far", driver="calico")
    for name, node in (("x", "n1"), ("y", "n2")):
        documents[f"s{name}"] = document("Sandbox", f"s{name}", node=node)
        documents[name] = document("Endpoint", name, network="far", sandbox=f"s{name}")


def _rules(documents: Documents) -> None:
    _calico(documents)
    rule = {"action": "accept", "prefixes": [{"cidr": "10.48.0.0/16", "minLength": 24, "maxLength": 26}]}
    documents["leaf"]["spec"] |= {"exports": [rule], "imports": [{"action": "accept"}]}


def _advertised(documents: Documents) -> None:
    _calico(documents)
    documents["bgp"]["spec"] |= {
        "communities": {"anycast": "64512:7", "other": "64512:8"},
        "advertisements": [{"cidr": "198.51.100.0/24", "communities": ["anycast"]}],
    }


def _watched(documents: Documents) -> None:
    _calico(documents)
    for name in ("bgp", "leaf"):
        documents[name]["spec"]["bfd"] = {"interval": 300}


def _nodes(documents: Documents) -> None:
    _calico(documents)
    del documents["leaf"]["spec"]["address"], documents["leaf"]["spec"]["asn"]
    documents["leaf"]["spec"]["peers"] = "cnm/node == 'n2'"
    documents["bgp"]["spec"]["mesh"] = False


def _tunnelled(documents: Documents) -> None:
    _calico(documents)
    documents["pool"]["spec"]["encapsulation"] = "always"


def _existing(documents: Documents) -> None:
    _calico(documents)
    documents["node"]["spec"]["bgp"] = {"bird": {"includeFile": "/run/cnm-bird.conf"}}


# Without link-local addresses, whose duplicate address detection would go on while others look.
UPLINK = (
    "ip link add up0 type veth peer name up1; for end in up0 up1; do ip link set $end addrgenmode none; "
    "ip link set $end up; done; ip address add 192.0.2.1/24 dev up0"
)
NEEDS = {"requires": ("bird",), "before": _calico, "setup": UPLINK}
PASSWORD = f"{UPLINK}; umask 077; echo secret > /run/leaf.password"
# A BIRD that somebody runs, and one more of the same for a second socket and configuration.
EXISTING = f"""{UPLINK}
PATH=$PATH:/usr/sbin; touch /run/cnm-bird.conf
printf 'router id 192.0.2.1; protocol device {{}}\\ninclude "/run/cnm-bird.conf";\\n' > /run/theirs1.conf
bird -c /run/theirs1.conf -s /run/theirs1.ctl"""


def case(where: str, path: str, value: Any, outcome: str, **more: Any) -> Case:
    return Case(outcome, where, path, value, **{**NEEDS, **more})


def _common(kind: str, where: str) -> dict[str, Case]:
    return {
        f"{kind}.apiVersion": case(where, "apiVersion", "cnm/v0", REFUSED),
        f"{kind}.kind": case(where, "kind", "Nothing", REFUSED),
        f"{kind}.metadata.labels": case(where, "metadata.labels", {"tier": "one"}, NOTHING),
        f"{kind}.metadata.annotations": case(where, "metadata.annotations", {"note": "one"}, NOTHING),
    }


def pool(name: str, value: Any, outcome: str, **more: Any) -> Case:
    return case("pool", f"spec.{name}", value, outcome, **more)


def peer(name: str, value: Any, outcome: str = IN_PLACE, **more: Any) -> Case:
    return case("leaf", f"spec.{name}", value, outcome, **more)


def bgp(name: str, value: Any, outcome: str = IN_PLACE, **more: Any) -> Case:
    return case("bgp", f"spec.{name}", value, outcome, **more)


CASES: dict[str, Case] = {
    **_common("IPPool", "pool"),
    **_common("BGPConfiguration", "bgp"),
    **_common("BGPPeer", "leaf"),
    "calico.control": case("far", "spec.options.control", "manifests", EXCHANGE),
    "calico.announce": case("far", "spec.options.announce", "endpoints", EXCHANGE),
    "IPPool.metadata.name": case("pool", "metadata.name", "renamed", NOTHING),
    "IPPool.spec.cidr": pool("cidr", "10.50.0.0/16", EXCHANGE),
    "IPPool.spec.networks": pool("networks", "tier == 'x'", EXCHANGE),
    "IPPool.spec.nodes": pool("nodes", "rack == 'b'", EXCHANGE),
    "IPPool.spec.blockSize": pool("blockSize", 28, EXCHANGE),
    "IPPool.spec.maxBlocksPerNode": pool("maxBlocksPerNode", 1, NOTHING),
    "IPPool.spec.strictAffinity": pool("strictAffinity", True, NOTHING),
    "IPPool.spec.natOutgoing": pool("natOutgoing", True, EXCHANGE),
    "IPPool.spec.encapsulation": pool("encapsulation", "always", EXCHANGE, requires=("bird", "link:vxlan")),
    "IPPool.spec.tunnel": pool(
        "tunnel", "ipip", EXCHANGE, before=_tunnelled, requires=("bird", "link:vxlan", "link:ipip")
    ),
    "IPPool.spec.vni": pool("vni", 7, ANEW, before=_tunnelled, requires=("bird", "link:vxlan")),
    "IPPool.spec.port": pool("port", 8472, ANEW, before=_tunnelled, requires=("bird", "link:vxlan")),
    "IPPool.spec.disabled": pool("disabled", True, NOTHING),
    "BGPConfiguration.metadata.name": case("bgp", "metadata.name", "renamed", NOTHING),
    "BGPConfiguration.spec.mesh": bgp("mesh", False),
    "BGPConfiguration.spec.asn": bgp("asn", 65000),
    "BGPConfiguration.spec.listenPort": bgp("listenPort", 1179),
    "BGPConfiguration.spec.communities": bgp("communities", {"one": "64512:1"}, NOTHING),
    "BGPConfiguration.spec.advertisements": bgp("advertisements", [{"cidr": "198.51.100.0/24", "originate": True}]),
    "BGPConfiguration.spec.advertisements[].cidr": bgp("advertisements.0.cidr", "203.0.113.0/24", before=_advertised),
    "BGPConfiguration.spec.advertisements[].communities": bgp(
        "advertisements.0.communities", ["other"], before=_advertised
    ),
    "BGPConfiguration.spec.advertisements[].originate": bgp("advertisements.0.originate", True, before=_advertised),
    "BGPConfiguration.spec.holdTime": bgp("holdTime", 30),
    "BGPConfiguration.spec.gracefulRestart": bgp("gracefulRestart", 60),
    "BGPConfiguration.spec.bfd": bgp("bfd", {}),
    "BGPConfiguration.spec.bfd.interval": bgp("bfd.interval", 100, before=_watched),
    "BGPConfiguration.spec.bfd.multiplier": bgp("bfd.multiplier", 5, before=_watched),
    "BGPConfiguration.spec.returnWithin": bgp("returnWithin", 5, NOTHING),  # how it is applied, not what
    "BGPPeer.metadata.name": case("leaf", "metadata.name", "renamed", IN_PLACE),
    "BGPPeer.spec.node": peer("node", "n2"),
    "BGPPeer.spec.nodes": peer("nodes", "rack == 'b'"),
    "BGPPeer.spec.address": peer("address", "192.0.2.253"),
    "BGPPeer.spec.asn": peer("asn", 65002),
    "BGPPeer.spec.port": peer("port", 1179),
    "BGPPeer.spec.peers": peer("peers", "cnm/node == 'nobody'", before=_nodes),
    "BGPPeer.spec.passwordFile": peer("passwordFile", "/run/leaf.password", setup=PASSWORD),
    "BGPPeer.spec.ttlSecurity": peer("ttlSecurity", True),
    "BGPPeer.spec.multihop": peer("multihop", 4),
    "BGPPeer.spec.sourceAddress": peer("sourceAddress", "192.0.2.7"),
    "BGPPeer.spec.nextHop": peer("nextHop", "self"),
    "BGPPeer.spec.announce": peer("announce", "all"),
    "BGPPeer.spec.gracefulRestart": peer("gracefulRestart", False),
    "BGPPeer.spec.bfd": peer("bfd", {}),
    "BGPPeer.spec.bfd.interval": peer("bfd.interval", 100, before=_watched),
    "BGPPeer.spec.bfd.multiplier": peer("bfd.multiplier", 5, before=_watched),
    "Node.spec.bgp.clusterId": case("node", "spec.bgp", {"routeReflector": True, "clusterId": "192.0.2.99"}, IN_PLACE),
    "Node.spec.bgp.bird": case(
        "node",
        "spec.bgp.bird",
        {"includeFile": "/run/cnm-bird.conf", "configFile": "/run/theirs1.conf", "socket": "/run/theirs1.ctl"},
        EXCHANGE,
        setup=EXISTING,
    ),
    "Node.spec.bgp.bird.includeFile": case("node", "spec.bgp.bird.includeFile", "../x", REFUSED, before=_calico),
    "Node.spec.bgp.bird.configFile": case("node", "spec.bgp.bird.configFile", "x", REFUSED, before=_calico),
    "Node.spec.bgp.bird.socket": case("node", "spec.bgp.bird.socket", "x", REFUSED, before=_calico),
}
for _side in ("imports", "exports"):
    _at = f"BGPPeer.spec.{_side}"
    _rule = {"before": _rules}
    CASES |= {
        _at: peer(_side, [{"action": "reject"}]),
        f"{_at}[].action": peer(f"{_side}.0.action", "reject", **_rule),
        f"{_at}[].prefixes": peer(f"{_side}.0.prefixes", [{"cidr": "10.0.0.0/8", "maxLength": 32}], **_rule),
        f"{_at}[].prefixes[].cidr": peer("exports.0.prefixes.0.cidr", "10.49.0.0/16", **_rule),
        f"{_at}[].prefixes[].minLength": peer("exports.0.prefixes.0.minLength", 25, **_rule),
        f"{_at}[].prefixes[].maxLength": peer("exports.0.prefixes.0.maxLength", 28, **_rule),
        f"{_at}[].communities": peer(f"{_side}.0.communities", ["64512:1"], **_rule),
        f"{_at}[].addCommunities": peer(f"{_side}.0.addCommunities", ["64512:1:2"], **_rule),
        f"{_at}[].prepend": peer(f"{_side}.0.prepend", 2, **_rule),
        f"{_at}[].localPref": peer(f"{_side}.0.localPref", 200, **_rule),
    }
