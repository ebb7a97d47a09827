"""What `cnm reach` says is what packets do: 12 endpoints on 3 networks, 2 tiers, TCP, UDP and ICMP, IPv4 and IPv6."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.engine.reach import Reach, service
from tests.kernel.private import isolated
from tests.kernel.scene import Scene
from tests.kernel.test_bridge import set_hooks
from tests.policy.prober import Probe, Prober
from tests.policy.worlds import LABELS, PORTS, Dice, Spec, documents

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth", "bridge-netfilter")

NETWORKS = ("front", "back", "side")
CHANGES = 20 if os.environ.get("CNM_SOAK") else 4
SETS = {"offices": ["10.1.0.0/30", "10.2.0.0/29", "fd01::/126"], "none": []}
NETS = ["10.1.0.0/24", "10.2.0.0/30", "fd01::/64", "fd02::/126", "0.0.0.0/0"]


def base() -> str:
    """Four sandboxes a network; front reaches back, and both reach side."""
    parts = []
    for number, (name, allowed) in enumerate(zip(NETWORKS, ([], ["front"], ["front", "back"]), strict=True), 1):
        subnets = f'[{{cidr: 10.{number}.0.0/24}}, {{cidr: "fd0{number}::/64"}}]'
        deny = "deny" if name == "side" else "allow"
        parts.append(
            f"apiVersion: cnm/v1alpha1\nkind: Network\nmetadata: {{name: {name}}}\n"
            f"spec: {{subnets: {subnets}, allowFrom: [{', '.join(allowed)}], policyDefault: {deny}}}\n"
        )
    for number in range(12):
        role = LABELS["role"][number % 3]
        stage = LABELS["stage"][number // 3 % 2]
        parts.append(
            f"apiVersion: cnm/v1alpha1\nkind: Sandbox\nmetadata: {{name: s{number}, labels: {{role: {role}}}}}\n"
            f"spec: {{ports: [{{name: http, port: {PORTS[number % 2]}}}]}}\n---\n"
            f"apiVersion: cnm/v1alpha1\nkind: Endpoint\nmetadata: {{name: s{number}, labels: {{stage: {stage}}}}}\n"
            f"spec: {{network: {NETWORKS[number // 4]}, sandbox: s{number}}}\n"
        )
    return "---\n".join(parts)


def write(scene: Scene, policies: dict[str, Spec]) -> None:
    (scene.folder / "all.yaml").write_text(base() + documents(policies, SETS))


def expected(scene: Scene, probes: list[Probe]) -> set[Probe]:
    reach = Reach(scene.controller.validate([str(scene.folder)]).topology)
    at = {endpoint.name: endpoint for endpoint in reach.endpoints}
    found = set()
    for probe in probes:
        what = service("icmp" if probe.protocol == "icmp" else f"{probe.port}/{probe.protocol}")
        if reach.ask(at[probe.source], at[probe.destination], probe.version, what).allowed:
            found.add(probe)
    return found


def all_probes() -> list[Probe]:
    names = [f"s{number}" for number in range(12)]
    return [
        Probe(source, destination, version, protocol, port)
        for source in names
        for destination in names
        if source != destination
        for version in (4, 6)
        for protocol, ports in (("icmp", (0,)), ("tcp", PORTS[:2]), ("udp", PORTS[:2]))
        for port in ports
    ]


def where(scene: Scene) -> dict[str, dict[int, str]]:
    topology = scene.controller.validate([str(scene.folder)]).topology
    return {
        endpoint.name: {address.version: str(address.ip) for address in endpoint.addresses}
        for network in topology.networks
        for endpoint in network.endpoints
    }


def differences(measured: set[Probe], said: set[Probe]) -> list[str]:
    return [f"passed: {p}" for p in sorted(measured - said)] + [f"lost: {p}" for p in sorted(said - measured)]


@pytest.mark.parametrize("hooks", ["0", "1"], ids=["bridge-nf-call=0", "bridge-nf-call=1"])
@isolated
def test_the_matrix_is_what_packets_do(hooks: str, tmp_path: Path) -> None:
    """And again after each of many random changes of the policies."""
    set_hooks(hooks)
    dice = Dice(int(hooks) + 41, NETS, tuple(SETS))
    policies: dict[str, Spec] = {f"p{number}": dice.policy() for number in range(4)}
    probes = all_probes()
    with Scene(tmp_path) as scene:
        write(scene, {})
        scene.apply()
        with Prober(where(scene), PORTS[:2]) as prober:
            assert differences(prober.arrived(probes), expected(scene, probes)) == []
            tried = 0
            for _change in range(CHANGES):
                change(dice, policies)
                write(scene, policies)
                scene.apply()
                said = expected(scene, probes)
                tried += 0 < len(said) < len(probes)
                assert differences(prober.arrived(probes, 0.7), said) == [], documents(policies, SETS)
            assert tried >= CHANGES // 4, "the policies tell something apart"


def change(dice: Dice, policies: dict[str, Spec]) -> None:
    """One policy more, one less, or another one in its place."""
    name = f"p{dice.random.randrange(6)}"
    if name in policies and len(policies) > 2 and dice.random.random() < 0.4:
        del policies[name]
    else:
        policies[name] = dice.policy()
