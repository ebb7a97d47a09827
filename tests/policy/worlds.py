"""Random policies, as manifests and as what the reference reads; and the labels that they are about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

LABELS = {"role": ("web", "db", "batch"), "stage": ("blue", "green")}
TIERS = {"security": {"order": 10, "defaultAction": "pass"}, "application": {"order": 20, "defaultAction": "deny"}}
PORTS = (80, 443, 5000)
NAMED = "http"

Spec = dict[str, Any]


def selector_text(selector: Mapping[str, str] | None) -> str:
    if not selector:
        return "all()"
    return " && ".join(f'{key} == "{value}"' for key, value in sorted(selector.items()))


class Dice:
    """Everything random of one world; the same seed gives the same world."""

    def __init__(self, seed: int, nets: Sequence[str], sets: Sequence[str]) -> None:
        self.random = Random(seed)
        self._nets = nets
        self._sets = sets

    def selector(self) -> dict[str, str] | None:
        keys = self.random.choice([(), ("role",), ("stage",), ("role",), ("role", "stage")])
        return {key: self.random.choice(LABELS[key]) for key in keys} or None

    def policy(self) -> Spec:
        """One Policy's spec, with the reference's own keys (beginning with ``_``) in it."""
        selector = self.selector()
        types = self.random.choice([["ingress"], ["egress"], ["ingress", "egress"]])
        spec: Spec = {
            "tier": self.random.choice([*TIERS, "default"]),
            "selector": selector_text(selector),
            "_selector": selector,
            "types": types,
            "staged": self.random.random() < 0.1,
        }
        if self.random.random() < 0.7:
            spec["order"] = self.random.randrange(5)
        for direction in types:
            spec[direction] = [self.rule() for _ in range(self.random.randrange(4))]
        return spec

    def rule(self) -> Spec:
        chance = self.random.random
        rule: Spec = {"action": self.random.choice(["allow", "allow", "allow", "deny", "deny", "pass", "log"])}
        protocol = self.random.choice([None, "tcp", "tcp", "udp", "icmp", "icmpv6"])
        if protocol is not None:
            rule["protocol"] = protocol
            if protocol.startswith("icmp") and chance() < 0.4:
                rule[self.random.choice(["icmp", "notIcmp"])] = {"type": 8 if protocol == "icmp" else 128}
        elif chance() < 0.2:
            rule["notProtocol"] = self.random.choice(["tcp", "udp", "icmp"])
        if protocol not in ("icmp", "icmpv6") and chance() < 0.15:
            rule["ipVersion"] = self.random.choice([4, 6])
        for side in ("source", "destination"):
            if chance() < 0.6:
                peer = self.peer(protocol, side)
                if peer:
                    rule[side] = peer
        return rule

    def peer(self, protocol: str | None, side: str) -> Spec:
        chance, choice = self.random.random, self.random.choice
        peer: Spec = {}
        for key, odds in (("selector", 0.5), ("notSelector", 0.15)):
            if chance() < odds:
                selector = self.selector()
                peer[key], peer[f"_{key}"] = selector_text(selector), selector
        for key, odds in (("nets", 0.15), ("notNets", 0.1)):
            if chance() < odds:
                peer[key] = self.random.sample(list(self._nets), self.random.randrange(1, 3))
        for key in ("addressSets", "notAddressSets"):
            if self._sets and chance() < 0.1:
                peer[key] = [choice(list(self._sets))]
        if protocol in ("tcp", "udp") and side == "destination":
            for key, odds in (("ports", 0.5), ("notPorts", 0.15)):
                if chance() < odds:
                    peer[key] = self.random.sample([*PORTS, "400-500", NAMED], self.random.randrange(1, 3))
        return peer


def plain(value: Any) -> Any:
    """Without what only the reference reads."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items() if not key.startswith("_")}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def documents(policies: Mapping[str, Spec], sets: Mapping[str, Sequence[str]]) -> str:
    """The manifests of tiers, policies and address sets (JSON is YAML)."""
    found = [("Tier", name, spec) for name, spec in TIERS.items()]
    found += [("AddressSet", name, {"nets": list(nets)}) for name, nets in sets.items()]
    found += [("Policy", name, plain(spec)) for name, spec in policies.items()]
    return "".join(
        "---\n"
        + json.dumps({"apiVersion": "cnm/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
        + "\n"
        for kind, name, spec in found
    )
