"""What policies mean, written a second time: from the manifests themselves, in plain Python, in a hundred lines.

It shares nothing with ``reconciler.policy`` but the meaning: no selectors are parsed here (the worlds of the tests build
conditions as data and print them as selectors), tiers are walked recursively, addresses are looked up in dictionaries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132}


@dataclass(frozen=True)
class Who:
    """One endpoint of a test's world."""

    name: str
    labels: Mapping[str, str] = field(hash=False)
    addresses: tuple[str, ...]
    default: str = "allow"
    ports: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True)
class Sent:
    """A packet: addresses as text, the protocol by name."""

    source: str
    destination: str
    protocol: str
    sport: int = 0
    dport: int = 0
    icmp: int = 8


class Reference:
    """``tiers`` and ``policies`` are the ``spec`` of the documents by name; a selector is a mapping that all must equal
    (None: anybody), in key ``_selector`` beside the text that the product reads."""

    def __init__(
        self,
        people: Sequence[Who],
        tiers: Mapping[str, Mapping[str, Any]],
        policies: Mapping[str, Mapping[str, Any]],
        sets: Mapping[str, Sequence[str]],
    ) -> None:
        self._people = people
        self._at = {address: who for who in people for address in who.addresses}
        known = {"default": {"order": 1_000_000, "defaultAction": "deny"}, **tiers}
        self._tiers = sorted(known.items(), key=lambda item: (item[1]["order"], item[0]))
        self._policies = sorted(
            policies.items(), key=lambda item: (item[1].get("order") is None, item[1].get("order") or 0, item[0])
        )
        self._sets = sets

    def allows(self, packet: Sent) -> bool:
        source, destination = self._at.get(packet.source), self._at.get(packet.destination)
        return (source is None or self._may(source, "egress", packet)) and (
            destination is None or self._may(destination, "ingress", packet)
        )

    def _may(self, who: Who, direction: str, packet: Sent, skip: int = 0) -> bool:
        if skip == len(self._tiers):
            return who.default == "allow"
        name, tier = self._tiers[skip]
        mine = [
            policy
            for _name, policy in self._policies
            if policy.get("tier", "default") == name
            and direction in policy["types"]
            and not policy.get("staged")
            and holds(policy["_selector"], who)
        ]
        for policy in mine:
            for rule in policy.get(direction, ()):
                if rule["action"] != "log" and self._fits(rule, packet):
                    if rule["action"] == "pass":
                        return self._may(who, direction, packet, skip + 1)
                    return bool(rule["action"] == "allow")
        if mine and tier.get("defaultAction", "deny") == "deny":
            return False
        return self._may(who, direction, packet, skip + 1)

    def _fits(self, rule: Mapping[str, Any], packet: Sent) -> bool:
        if "ipVersion" in rule and rule["ipVersion"] != ip_address(packet.source).version:
            return False
        if "protocol" in rule and rule["protocol"] != packet.protocol:
            return False
        if "notProtocol" in rule and rule["notProtocol"] == packet.protocol:
            return False
        if "icmp" in rule and rule["icmp"]["type"] != packet.icmp:
            return False
        if "notIcmp" in rule and rule["notIcmp"]["type"] == packet.icmp:
            return False
        return self._side(rule.get("source", {}), packet.source, packet.sport, packet) and self._side(
            rule.get("destination", {}), packet.destination, packet.dport, packet
        )

    def _side(self, side: Mapping[str, Any], address: str, port: int, packet: Sent) -> bool:
        who = self._at.get(address)
        wide = [*side.get("nets", ()), *(net for name in side.get("addressSets", ()) for net in self._sets[name])]
        not_wide = [
            *side.get("notNets", ()),
            *(net for name in side.get("notAddressSets", ()) for net in self._sets[name]),
        ]
        asked = "nets" in side or "addressSets" in side
        return (
            ("selector" not in side or (who is not None and holds(side["_selector"], who)))
            and ("notSelector" not in side or who is None or not holds(side["_notSelector"], who))
            and (not asked or inside(address, wide))
            and not inside(address, not_wide)
            and ("ports" not in side or any(self._port(p, port, who, packet) for p in side["ports"]))
            and not any(self._port(p, port, who, packet) for p in side.get("notPorts", ()))
        )

    @staticmethod
    def _port(wanted: int | str, port: int, who: Who | None, packet: Sent) -> bool:
        if isinstance(wanted, int):
            return wanted == port
        if wanted[0].isdigit():
            first, last = map(int, wanted.split("-"))
            return first <= port <= last
        return who is not None and (wanted, packet.protocol, port) in who.ports


def holds(selector: Mapping[str, str] | None, who: Who) -> bool:
    return selector is None or all(who.labels.get(key) == value for key, value in selector.items())


def inside(address: str, nets: Sequence[str]) -> bool:
    found = ip_address(address)
    return any(found in net for net in map(ip_network, nets) if net.version == found.version)
