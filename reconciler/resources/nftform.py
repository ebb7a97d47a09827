"""One form for nftables expressions, whatever version of nft lists them: numbers for names, sorted sets, no counts.

nft(8) 1.0.6 lists ``icmp type echo-request`` for the 8 that was written, and newer versions know more names;
compared are the numbers (RFC 792, RFC 4443, IANA's protocol numbers).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_ICMP = {
    "echo-reply": 0,
    "destination-unreachable": 3,
    "source-quench": 4,
    "redirect": 5,
    "echo-request": 8,
    "router-advertisement": 9,
    "router-solicitation": 10,
    "time-exceeded": 11,
    "parameter-problem": 12,
    "timestamp-request": 13,
    "timestamp-reply": 14,
    "info-request": 15,
    "info-reply": 16,
    "address-mask-request": 17,
    "address-mask-reply": 18,
}
_ICMPV6 = {
    "destination-unreachable": 1,
    "packet-too-big": 2,
    "time-exceeded": 3,
    "parameter-problem": 4,
    "echo-request": 128,
    "echo-reply": 129,
    "mld-listener-query": 130,
    "mld-listener-report": 131,
    "mld-listener-done": 132,
    "mld-listener-reduction": 132,
    "nd-router-solicit": 133,
    "nd-router-advert": 134,
    "nd-neighbor-solicit": 135,
    "nd-neighbor-advert": 136,
    "nd-redirect": 137,
    "router-renumbering": 138,
    "ind-neighbor-solicit": 141,
    "ind-neighbor-advert": 142,
    "mld2-listener-report": 143,
}
_ICMP_CODE = {
    "net-unreachable": 0,
    "host-unreachable": 1,
    "prot-unreachable": 2,
    "port-unreachable": 3,
    "frag-needed": 4,
    "net-prohibited": 9,
    "host-prohibited": 10,
    "admin-prohibited": 13,
}
_ICMPV6_CODE = {
    "no-route": 0,
    "admin-prohibited": 1,
    "addr-unreachable": 3,
    "port-unreachable": 4,
    "policy-fail": 5,
    "reject-route": 6,
}
_PROTOCOLS = {
    "ip": 0,
    "hopopt": 0,
    "icmp": 1,
    "igmp": 2,
    "ggp": 3,
    "ipencap": 4,
    "st": 5,
    "tcp": 6,
    "egp": 8,
    "igp": 9,
    "pup": 12,
    "udp": 17,
    "hmp": 20,
    "xns-idp": 22,
    "rdp": 27,
    "iso-tp4": 29,
    "dccp": 33,
    "xtp": 36,
    "ddp": 37,
    "idpr-cmtp": 38,
    "ipv6": 41,
    "ipv6-route": 43,
    "ipv6-frag": 44,
    "idrp": 45,
    "rsvp": 46,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "skip": 57,
    "ipv6-icmp": 58,
    "icmpv6": 58,
    "ipv6-nonxt": 59,
    "ipv6-opts": 60,
    "rspf": 73,
    "vmtp": 81,
    "eigrp": 88,
    "ospf": 89,
    "ax.25": 93,
    "ipip": 94,
    "etherip": 97,
    "encap": 98,
    "pim": 103,
    "comp": 108,
    "ipcomp": 108,
    "vrrp": 112,
    "l2tp": 115,
    "isis": 124,
    "sctp": 132,
    "fc": 133,
    "mobility-header": 135,
    "udplite": 136,
    "mpls-in-ip": 137,
    "manet": 138,
    "hip": 139,
    "shim6": 140,
    "wesp": 141,
    "rohc": 142,
    "ethernet": 143,
}
_NAMES: Mapping[tuple[str, str], Mapping[str, int]] = {
    ("icmp", "type"): _ICMP,
    ("icmp", "code"): _ICMP_CODE,
    ("icmpv6", "type"): _ICMPV6,
    ("icmpv6", "code"): _ICMPV6_CODE,
    ("meta", "l4proto"): _PROTOCOLS,
}


_DSCP = {
    **{f"cs{number}": number << 3 for number in range(8)},  # RFC 2474
    **{f"af{row}{column}": row << 3 | column << 1 for row in range(1, 5) for column in range(1, 4)},  # RFC 2597
    "df": 0,
    "be": 0,
    "le": 1,
    "lephb": 1,
    "va": 44,
    "ef": 46,
}


def canonical(expressions: list[Any]) -> str:
    """A rule's expressions as text: compact JSON with sorted keys."""
    return json.dumps([_statement(item) for item in expressions], sort_keys=True, separators=(",", ":"))


def _statement(item: Any) -> Any:
    if isinstance(item, dict):
        if "counter" in item:
            return {"counter": None}
        if "mangle" in item and _field(item["mangle"]["key"])[1] == "dscp":
            return {"mangle": {**item["mangle"], "value": _value(item["mangle"]["value"], _DSCP)}}
        if "match" in item:
            match = dict(item["match"])
            if match.get("op") == "in" and "meta" in match["left"]:  # nft says so of some types, == of others
                match["op"] = "=="
            left = match["left"]
            if left == {"payload": {"protocol": "icmpv6", "field": "taddr"}}:  # nft 1.0.8 has a name for it
                match["left"] = {"payload": {"base": "th", "offset": 64, "len": 128}}
            match["right"] = _value(match["right"], _NAMES.get(_field(left), {}))
            return {"match": match}
    return item


def _field(left: Any) -> tuple[str, str]:
    if isinstance(left, dict):
        if "payload" in left:
            return str(left["payload"].get("protocol", "")), str(left["payload"].get("field", ""))
        if "meta" in left:
            return "meta", str(left["meta"].get("key", ""))
    return "", ""


def _value(value: Any, names: Mapping[str, int]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, dict):
        if "set" in value:
            items = value["set"] if isinstance(value["set"], list) else [value["set"]]
            return {"set": sorted((_value(item, names) for item in items), key=lambda item: json.dumps(item))}
        if "range" in value:
            return {"range": [_value(end, names) for end in value["range"]]}
    return value
