"""The way of one packet: which rule decides, where it is written, and who else on this host has a say."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.engine.reach import service
from tests.kernel.private import isolated, run
from tests.kernel.scene import Scene
from tests.kernel.test_bridge import endpoints, network, set_hooks

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth", "ping")
POLICY = """
---
kind: Policy
metadata: {name: db}
spec:
  selector: cnm/sandbox == "c"
  ingress:
    - {action: log, source: {selector: cnm/sandbox == "a"}}
    - {action: allow, protocol: icmp, source: {selector: cnm/sandbox == "a"}}
"""


def world() -> str:
    return (
        network("front", 1)
        + network("back", 2, more="  allowFrom: [front]")
        + endpoints("front/a", "front/b", "back/c")
    )


def ask(scene: Scene, source: str, destination: str, port: str = "icmp", version: int = 4) -> tuple[bool | None, str]:
    told = scene.controller.explain_way(source, destination, service(port), [str(scene.folder)])
    (one,) = (one for one in told if one.version == version)
    steps = [f"{s.where}: {s.said}: {s.verdict} {s.origin if s.origin.file else ''}" for s in one.way.steps]
    return one.way.allowed, "\n".join(steps)


@isolated
def test_the_rule_and_its_line(tmp_path: Path) -> None:
    set_hooks("0")
    with Scene(tmp_path) as scene:
        scene.apply(world() + POLICY)
        allowed, steps = ask(scene, "front/a", "back/c")
        assert allowed, steps
        lines = (tmp_path / "all.yaml").read_text().splitlines()
        for action, number in (("log", 1), ("allow", 2)):
            line = next(n for n, text in enumerate(lines, 1) if f"action: {action}" in text)
            assert f"tier default, Policy/db, rule {number}: {action} all.yaml:{line}:" in steps
        assert scene.reaches("a", scene.address("back/c"))
        allowed, steps = ask(scene, "b", "c")
        assert allowed is False
        line = next(n for n, text in enumerate(lines, 1) if text.startswith("kind: Policy")) - 1
        said = "tier default, end: selected by Policy/db, and no rule decided: deny"
        assert f"{said} all.yaml:{line}:" in steps
        assert not scene.reaches("b", scene.address("back/c"))
        allowed, steps = ask(scene, "back/c", "front/a")
        assert allowed is False
        assert "no other network comes in but those of allowFrom" in steps


@pytest.mark.parametrize(
    ("table", "answer", "words"),
    [
        ("table inet ufw { chain f { type filter hook forward priority 0; policy drop; ct state established accept; } }",
         False, "table inet ufw, chain f: policy drop"),
        ("table ip x { chain f { type filter hook forward priority 0; ip saddr 10.1.0.0/24 ip daddr 10.2.0.0/24 drop; } }",
         False, "table ip x, chain f: ip saddr 10.1.0.0/24 ip daddr 10.2.0.0/24 drop"),
        ("table ip x { chain b { drop; } chain f { type filter hook forward priority 0; oifname vmap { \"br-back\" : jump b }; } }",
         False, "table ip x, chain b: drop"),
        ("table ip x { chain f { type filter hook forward priority 0; iifname \"br-*\" reject; } }",
         False, "iifname \"br-*\" reject"),
        ("table ip x { set s { type ipv4_addr; flags interval; elements = { 10.2.0.0/16 } }\n"
         "chain f { type filter hook prerouting priority 0; ip daddr @s drop; } }",
         False, "ip daddr @s drop"),
        ("table ip x { chain f { type filter hook forward priority 0; limit rate over 1/day drop; } }",
         None, "limit rate over 1/day"),
        ("table ip x { chain f { type filter hook forward priority 0; policy drop; iifname \"br-front\" accept; } }",
         False, "host, forward of the answer: table ip x, chain f: policy drop"),
        ("table ip x { chain f { type filter hook forward priority 0; policy drop; iifname \"br-front\" accept; "
         "ct state established accept; } }", True, ""),
        ("table ip x { chain f { type filter hook forward priority 0; ip saddr != 10.0.0.0/8 drop; tcp dport 80 drop; } }",
         True, ""),
        ("table ip6 x { chain f { type filter hook forward priority 0; drop; } }", True, ""),
    ],
)  # fmt: skip
@isolated
def test_a_table_of_others(table: str, answer: bool | None, words: str, tmp_path: Path) -> None:
    """ufw, firewalld, Docker: who drops it is named, and packets agree."""
    set_hooks("0")
    with Scene(tmp_path) as scene:
        scene.apply(world())
        run("nft", "-f", "-", stdin=table.replace("}", "\n}\n"))  # nft wants a line end there
        allowed, steps = ask(scene, "front/a", "back/c")
        assert (allowed, words in steps) == (answer, True), steps
        if answer is not None:
            assert scene.reaches("a", scene.address("back/c")) is answer


def test_where_root_could_lift_it_it_is_said(tmp_path: Path) -> None:
    text = world().replace("spec:\n", "spec:\n  driver: macvlan\n").replace("  allowFrom: [front]", "") + POLICY
    with Scene(tmp_path) as scene:
        scene.write(text.replace("back/", "front/").replace("network: back", "network: front"))
        told = scene.controller.explain_way("a", "c", service("icmp"), [str(tmp_path)], look=False)
        said = "its ingress policies stand inside it (driver macvlan): whoever is root there can lift them"
        assert [step.said for step in told[0].way.steps].count(said) == 1
        told = scene.controller.explain_way("c", "a", service("icmp"), [str(tmp_path)], look=False)
        assert "lift" not in " ".join(step.said for step in told[0].way.steps), (
            "where nothing is filtered nothing is lifted"
        )
