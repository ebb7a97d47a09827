"""Policies as lists of what is allowed say what the evaluator says, packet by packet; what they cannot say is a problem."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest

from reconciler.engine.controller import NetworkController
from reconciler.errors import Origin
from reconciler.policy.evaluate import Evaluator, Packet
from reconciler.policy.services import Group, Service, Services, services
from reconciler.policy.view import Policies

GROUPS = ("web", "db", "batch")
PACKETS = [(6, 80), (6, 81), (6, 5432), (17, 53), (17, 80), (1, 8), (1, 0), (132, 80)]
_V6 = {1: 58, 8: 128, 0: 129}  # ICMP's protocol and types, and ICMPv6's
WORLDS = 80


def document(kind: str, name: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "cnm/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "labels": labels or {}},
        "spec": spec,
    }


def base(default: str) -> list[dict[str, Any]]:
    found = [
        document("Tenant", "t", networks=["net"], policyDefault=default),
        document("Network", "net", subnets=[{"cidr": "10.1.0.0/24"}, {"cidr": "fd01::/64"}]),
        document("Tier", "first", order=1, defaultAction="pass"),
    ]
    for name in GROUPS:
        found.append(document("EndpointGroup", name, network="net", selector=f"role == '{name}'"))
        for number in (1, 2):
            who = f"{name}{number}"
            port = {"web": 80, "db": 5432, "batch": 53}[name]
            found.append(document("Sandbox", who, {"role": name}, ports=[{"name": "main", "port": port}]))
            found.append(document("Endpoint", who, network="net", sandbox=who))
    return found


def rule(dice: Random) -> dict[str, Any]:
    found: dict[str, Any] = {"action": dice.choice(["allow", "allow", "allow", "deny", "pass"])}
    protocol = dice.choice([None, "tcp", "tcp", "udp", "icmp", "icmpv6"]) if found["action"] == "allow" else None
    if protocol is not None:
        found["protocol"] = protocol
    if protocol in ("icmp", "icmpv6") and dice.random() < 0.5:
        found["icmp"] = {"type": 8 if protocol == "icmp" else 128}
    if dice.random() < 0.2 and protocol not in ("icmp", "icmpv6"):
        found["ipVersion"] = dice.choice([4, 6])
    for side in ("source", "destination"):
        peer: dict[str, Any] = {}
        chosen = dice.choice(["", "selector", "notSelector", "nets"])
        if chosen == "nets":
            peer["nets"] = ["10.1.0.0/24"] if dice.random() < 0.7 else ["10.1.0.0/24", "fd01::/64"]
        elif chosen:
            peer[chosen] = f"cnm/group == '{dice.choice(GROUPS)}'"
        if side == "destination" and protocol in ("tcp", "udp") and dice.random() < 0.7:
            peer[dice.choice(["ports", "ports", "notPorts"])] = dice.sample([80, "5000-6000", "main"], 2)
        if peer:
            found[side] = peer
    return found


def policies(dice: Random) -> list[dict[str, Any]]:
    found = []
    for number in range(dice.randrange(4)):
        types = dice.choice([["ingress"], ["egress"], ["ingress", "egress"]])
        spec = {way: [rule(dice) for _ in range(dice.randrange(4))] for way in types}
        about = dice.choice(["all()", *(f"cnm/group == '{name}'" for name in GROUPS)])
        tier = dice.choice(["first", "default"])
        found.append(document("Policy", f"p{number}", selector=about, types=types, tier=tier, **spec))
    return found


def resolved(folder: Path, documents: list[dict[str, Any]]) -> Policies:
    (folder / "all.yaml").write_text("---\n".join(json.dumps(one) + "\n" for one in documents))
    with NetworkController(node="here") as controller:
        found = controller.validate([str(folder)]).topology.policies
    assert found is not None
    return found


def allowed(policies: Policies) -> Services:
    def members(name: str) -> Group:
        parties = tuple(party for party in policies.parties if party.labels.get("cnm/group") == name)
        return Group(name, parties, frozenset(), Origin(document=f"EndpointGroup/{name}"))

    return services(policies, [members(name) for name in GROUPS])


def covers(service: Service, packet: Packet) -> bool:
    return (
        service.version in (0, packet.version)
        and service.protocol in (-1, packet.protocol)
        and service.icmp in (-1, packet.icmp[0])
        and service.to[0] <= packet.destination_port <= service.to[1]
    )


def packets(policies: Policies) -> list[tuple[str, str, Packet]]:
    found = []
    for source, destination, version in product(policies.parties, policies.parties, (4, 6)):
        if source is destination:
            continue
        ends = [next(a for a in party.addresses if a.version == version) for party in (source, destination)]
        for protocol, number in PACKETS:
            if protocol == 1:
                packet = Packet(*ends, _V6[1] if version == 6 else 1, icmp=(_V6[number] if version == 6 else number, 0))
            else:
                packet = Packet(*ends, protocol, 40000, number)
            found.append((source.labels["cnm/group"], destination.labels["cnm/group"], packet))
    return found


def test_random_policies(tmp_path: Path) -> None:
    said = {True: 0, False: 0}
    for seed in range(WORLDS):
        dice = Random(seed)
        found = resolved(tmp_path, [*base(dice.choice(["allow", "deny"])), *policies(dice)])
        if not found.parties:
            continue
        lists = allowed(found)
        if lists.problems:
            continue
        evaluator = Evaluator(found)
        for sender, receiver, packet in packets(found):
            right = evaluator.allows(packet).allowed
            mine = any(covers(service, packet) for service in lists.allowed.get((sender, receiver), ()))
            assert mine == right, (seed, sender, receiver, packet, lists.allowed)
            said[right] += 1
    assert min(said.values()) > 200, said


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"ingress": [{"action": "log"}]}, "contracts log nothing"),
        ({"ingress": [{"action": "deny", "protocol": "tcp"}, {"action": "allow"}]}, "contracts only allow"),
        ({"ingress": [{"action": "allow", "notProtocol": "tcp"}]}, "no 'any but this'"),
        ({"ingress": [{"action": "allow", "source": {"selector": "cnm/endpoint == 'web1'"}}]}, "some endpoints of group web"),
        ({"ingress": [{"action": "allow", "protocol": "icmp", "icmp": {"type": 3, "code": 4}}]}, "but no codes"),
        ({"selector": "cnm/endpoint == 'db1'"}, "is about net/db1 or net/db2, but not about both"),
        ({"ingress": [{"action": "allow", "source": {"nets": ["10.1.0.2/32"]}}]}, "some endpoints of group"),
    ],
    ids=["log", "deny", "not", "part of a group", "code", "one endpoint", "one address"],
)  # fmt: skip
def test_what_cannot_be_said_is_a_problem_at_its_place(tmp_path: Path, spec: dict[str, Any], words: str) -> None:
    found = resolved(tmp_path, [*base("allow"), document("Policy", "p", **spec)])
    problems = allowed(found).problems
    assert any(words in problem.message for problem in problems), problems
    assert all(problem.hint and (problem.origin.line or problem.origin.document) for problem in problems)
