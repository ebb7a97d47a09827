"""The product's evaluator, the reference, and what nft does: three answers to one question, and one answer."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from reconciler.engine.controller import NetworkController
from reconciler.engine.execute import Execution
from reconciler.engine.observe import observe
from reconciler.host.host import Host
from reconciler.planner.diff import make_plan
from reconciler.policy.evaluate import Evaluator, Packet
from reconciler.policy.view import PROTOCOLS
from reconciler.resources.resource import Resource
from reconciler.topology.view import NodeFacts
from tests.kernel.private import isolated, run
from tests.policy import frames as f
from tests.policy.reference import Reference, Sent, Who
from tests.policy.test_guard import inside
from tests.policy.test_truth import NETS, SETS, base
from tests.policy.worlds import LABELS, PORTS, TIERS, Dice, Spec, documents

WORLDS = int(os.environ.get("CNM_POLICY_WORLDS", "25"))
PACKETS = 300


def world(seed: int, folder: Path) -> tuple[Dice, dict[str, Spec], NetworkController]:
    dice = Dice(seed, NETS, tuple(SETS))
    policies = {f"p{number}": dice.policy() for number in range(dice.random.randrange(1, 9))}
    (folder / "all.yaml").write_text(base() + documents(policies, SETS))
    return dice, policies, NetworkController(node="here")


def people(controller: NetworkController, folder: Path) -> list[Who]:
    """The world's endpoints as the tests know them, with the addresses that the product gave them."""
    topology = controller.validate([str(folder)]).topology
    at = {e.name: (e, network) for network in topology.networks for e in network.endpoints}
    found = []
    for number in range(12):
        endpoint, network = at[f"s{number}"]
        labels = {"role": LABELS["role"][number % 3], "stage": LABELS["stage"][number // 3 % 2]}
        addresses = tuple(str(address.ip) for address in endpoint.addresses)
        ports = (("http", "tcp", PORTS[number % 2]),)
        found.append(Who(endpoint.name, labels, addresses, "deny" if network.name == "side" else "allow", ports))
    return found


def packets(random: Random, everybody: list[Who], count: int) -> Iterator[Sent]:
    strangers = Who("stranger", {}, ("192.0.2.99", "2001:db8::99"))
    for _ in range(count):
        source, destination = random.sample([*everybody, strangers], 2)
        version = random.randrange(2)
        protocol = random.choice(["tcp", "udp", ("icmp", "icmpv6")[version]])
        ports = (
            (40000 + random.randrange(9), random.choice([*PORTS, 400, 450, 501, 7])) if protocol[0] in "tu" else (0, 0)
        )
        kind = random.choice([8, 3, 13]) if protocol == "icmp" else random.choice([128, 1, 140])
        yield Sent(source.addresses[version], destination.addresses[version], protocol, *ports, icmp=kind)


def as_packet(sent: Sent) -> Packet:
    from ipaddress import ip_address

    return Packet(
        ip_address(sent.source),
        ip_address(sent.destination),
        PROTOCOLS[sent.protocol],
        sent.sport,
        sent.dport,
        (sent.icmp, 0),
    )


@pytest.mark.parametrize("seed", range(WORLDS))
def test_evaluator_and_reference_agree(seed: int, tmp_path: Path) -> None:
    dice, policies, controller = world(seed, tmp_path)
    everybody = people(controller, tmp_path)
    reference = Reference(everybody, TIERS, policies, SETS)
    topology = controller.validate([str(tmp_path)]).topology
    assert topology.policies is not None
    evaluator = Evaluator(topology.policies)
    for sent in packets(dice.random, everybody, PACKETS):
        answer = evaluator.allows(as_packet(sent))
        assert answer.allowed == reference.allows(sent), (sent, answer.steps, json.dumps(policies, indent=1))


@pytest.mark.requires("netns", "nft", "link:veth")
@isolated
def test_nft_does_what_the_evaluator_says(tmp_path: Path) -> None:
    """The filters alone on a router between two cables: any address may be anywhere, so that policies decide alone."""
    router()
    with inside("left"):
        left = f.wire("l1")
    with inside("right"):
        right = f.wire("r1")
    mac, own = "02:00:00:00:00:10", "02:00:00:00:00:11"
    host = Host()
    tried = [0, 0]
    for seed in range(1000, 1000 + WORLDS):
        dice, policies, controller = world(seed, tmp_path)
        everybody = people(controller, tmp_path)
        validated = controller.validate([str(tmp_path)])
        assert validated.topology.policies is not None
        evaluator = Evaluator(validated.topology.policies)
        apply(host, [r for r in validated.desired if _is_policy(r)])
        sent = [p for p in packets(dice.random, everybody, PACKETS) if p.protocol != "icmp" or p.icmp == 8]
        for number, packet in enumerate(sent):
            kind = f.IPV4 if ":" not in packet.source else f.IPV6
            left.send(f.ethernet(own, mac, kind, _wire(packet, seed * PACKETS + number)))
        passed = _heard(right)
        for number, packet in enumerate(sent):
            answer = evaluator.allows(as_packet(packet))
            tried[answer.allowed] += 1
            assert (seed * PACKETS + number in passed) == answer.allowed, (
                packet,
                answer.steps,
                json.dumps(policies, indent=1),
            )
    assert min(tried) > WORLDS * 10, tried


def _is_policy(resource: Resource) -> bool:
    """The policies' part of the table; the networks' own filter is not what is asked about."""
    name = resource.key.name
    own = ("inet/cnm/forward", "inet/cnm/postrouting", "inet/cnm/to", "inet/cnm/from", "inet/cnm/bridges")
    return resource.key.kind.startswith("nft") and name.startswith("inet/") and not name.startswith(own)


def router() -> None:
    for side in "lr":
        name = {"l": "left", "r": "right"}[side]
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"{side}0", "type", "veth", "peer", f"{side}1", "netns", name)
        run("ip", "link", "set", f"{side}0", "address", "02:00:00:00:00:10", "up")
        run("ip", "-n", name, "link", "set", f"{side}1", "up")
    for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        Path(f"/proc/sys/net/{path}").write_text("1")
    for name in ("all", "l0", "r0"):
        Path(f"/proc/sys/net/ipv4/conf/{name}/rp_filter").write_text("0")
    for family, hop in (("-4", "192.0.2.2"), ("-6", "fe80::2")):
        run("ip", family, "neigh", "add", hop, "lladdr", "02:00:00:00:00:99", "dev", "r0", "nud", "permanent")
        run("ip", family, "route", "add", "default", "via", hop, "dev", "r0", *(("onlink",) if family == "-4" else ()))


def apply(host: Host, desired: list[Resource]) -> None:
    plan = make_plan(desired, observe(host, desired, NodeFacts()), owner="cnm")
    execution = Execution(host, plan, None)
    execution.run()
    assert not execution.failed, execution.failed
    run("conntrack", "-F", check=False) if Path("/usr/sbin/conntrack").exists() else None


def _wire(packet: Sent, number: int) -> bytes:
    mark = b"cnm!" + number.to_bytes(4, "big")
    if packet.protocol == "udp":
        return f.udp(packet.source, packet.destination, packet.sport, packet.dport, mark)
    if packet.protocol == "tcp":
        return f.tcp_syn(packet.source, packet.destination, packet.sport, packet.dport, mark)
    if packet.protocol == "icmpv6":
        return f.icmp6(packet.source, packet.destination, packet.icmp, b"\0\0\0\0" + mark)
    return f.icmp4(packet.source, packet.destination, packet.icmp, mark)


def _heard(wire: object) -> set[int]:
    from time import sleep

    found = set()
    quiet = 0
    while quiet < 3:
        sleep(0.03)
        quiet += 1
        try:
            while True:
                frame = wire.recv(4096)  # type: ignore[attr-defined]
                at = frame.find(b"cnm!")
                if at >= 0:
                    found.add(int.from_bytes(frame[at + 4 : at + 8], "big"))
                    quiet = 0
        except BlockingIOError:
            continue
    return found
