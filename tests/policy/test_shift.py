"""What a plan does to who reaches whom: what tables and addresses say of two states, beside what `cnm reach` says of the
manifests of both."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from time import perf_counter

import pytest

from reconciler.engine.controller import NetworkController
from reconciler.engine.reach import Reach, Service, service
from reconciler.engine.result import Planned
from reconciler.engine.shift import Shift, shift_of
from reconciler.planner.diff import make_plan
from reconciler.planner.plan import Observation
from reconciler.resources.nft import NftChain
from reconciler.resources.resource import Observed
from tests.policy.test_truth import NETS, NETWORKS, SETS, base, change
from tests.policy.worlds import PORTS, Dice, Spec, documents

WORLDS = 60 if os.environ.get("CNM_SOAK") else 12
OTHER = {"other tcp": Service(6, 49151), "other udp": Service(17, 49151)}
ASKED = ["icmp", *(f"{port}/{name}" for port in PORTS for name in ("tcp", "udp")), *OTHER]


class World:
    """Manifests, as the host that they were applied to looks."""

    def __init__(self, folder: Path, text: str) -> None:
        (folder / "all.yaml").write_text(text)
        self.validated = NetworkController(node="here").validate([str(folder)])
        self.reach = Reach(self.validated.topology)
        self.seen = Observation({r.key: Observed(r, "cnm") for r in self.validated.desired})

    def change_to(self, other: World) -> Shift:
        plan = make_plan(other.validated.desired, self.seen, owner="cnm")
        return shift_of(Planned(plan, self.seen, other.validated.desired, other.validated), "cnm")

    def answers(self, words: Iterable[str]) -> dict[tuple[str, str, str, int], bool | None]:
        return {
            (f"{a.network}/{a.name}", f"{b.network}/{b.name}", word, version): self.reach.ask(
                a, b, version, OTHER.get(word) or service(word)
            ).allowed
            for a, b in product(self.reach.endpoints, repeat=2)
            if a is not b
            for word in words
            for version in (4, 6)
        }


def told(shift: Shift, words: list[str]) -> dict[tuple[str, str, str, int], bool]:
    """Every (source, destination, service, IP version) that gains (True) or loses."""
    found = {}
    for one in shift.changes:
        for gains, texts in ((True, one.gained), (False, one.lost)):
            for text in texts:
                name, _, only = text.partition(" (IPv")
                versions = (int(only[0]),) if only else (4, 6)
                for a, b in product(one.sources, one.destinations):
                    for word, version in product(words, versions):
                        if a != b and meant(name, word, one.named):
                            found[a, b, word, version] = gains
    return found


def meant(name: str, word: str, named: Sequence[str]) -> bool:
    """Whether a service is among what a change calls ``80/tcp``, ``400-500/udp``, ``other tcp`` or ``all``."""
    if name.startswith("other "):
        same = word == name or word.endswith(f"/{name.removeprefix('other ')}")
        return same and not any(meant(one, word, ()) for one in named)
    ports, _, protocol = name.partition("/")
    port, _, kind = word.partition("/")
    if name in ("all", word) or kind != protocol or not port.isdecimal():
        return name in ("all", word)
    first, _, last = ports.partition("-")
    return int(first) <= int(port) <= int(last or first)


@pytest.mark.parametrize("seed", range(WORLDS))
def test_tables_and_manifests_agree(seed: int, tmp_path: Path) -> None:
    """A third account of the semantics: read back from rules and sets, over random changes of random policies."""
    dice = Dice(seed + 500, NETS, tuple(SETS))
    policies: dict[str, Spec] = {f"p{number}": dice.policy() for number in range(1, 5)}
    old = World(tmp_path, base() + documents(policies, SETS))
    for _ in range(2):
        change(dice, policies)
    new = World(tmp_path, base() + documents(policies, SETS))
    shift = old.change_to(new)
    assert not shift.untold
    assert not shift.comes + shift.goes
    before, after = old.answers(ASKED), new.answers(ASKED)
    expected = {cell: after[cell] for cell in after if before[cell] != after[cell]}
    found = {cell: gains for cell, gains in told(shift, ASKED).items() if cell[2] in ASKED}
    assert found == expected


def test_networks_walls_and_endpoints_that_come_and_go(tmp_path: Path) -> None:
    text = base() + documents({}, SETS)
    old = World(tmp_path, text)
    opened = World(tmp_path, text.replace("allowFrom: []", "allowFrom: [back]", 1))
    (one,) = old.change_to(opened).changes
    assert (one.gained, one.lost) == (("all",), ())
    assert old.change_to(opened).short(one.sources) == "back/*"
    assert old.change_to(opened).short(one.destinations) == "front/*"
    (one,) = opened.change_to(old).changes
    assert (one.gained, one.lost) == ((), ("all",))
    fewer = World(tmp_path, text.replace("{network: front, sandbox: s0}", "{network: back, sandbox: s0}"))
    shift = old.change_to(fewer)
    assert shift.comes == ("back/s0",)
    assert len(shift.goes) == 1
    gained = {(a, b) for c in shift.changes if c.gained for a, b in product(c.sources, c.destinations)}
    assert {("back/s0", "back/s4"), ("back/s5", "back/s0"), ("front/s1", "back/s0")} <= gained
    assert not any("side" in a for a, _b in gained)


def test_what_somebody_did_by_hand_counts(tmp_path: Path) -> None:
    """A host whose table is gone lets everything through; the plan that puts it back takes reach away."""
    closed: Spec = {"selector": "all()", "types": ["ingress"], "ingress": []}
    world = World(tmp_path, base() + documents({"closed": closed}, SETS))
    assert not world.change_to(world)
    whole = world.seen
    world.seen = Observation({key: seen for key, seen in whole.items.items() if not key.kind.startswith("nft-")})
    (one,) = (c for c in world.change_to(world).changes if c.lost)
    assert (one.gained, one.lost) == ((), ("all",))
    assert {name.partition("/")[0] for name in one.sources} == set(NETWORKS)


def test_a_rule_that_is_none_of_ours_is_not_guessed_at(tmp_path: Path) -> None:
    world = World(tmp_path, base() + documents({}, SETS))
    items = dict(world.seen.items)
    for key, seen in items.items():
        if key.kind == "nft-chain" and key.name.endswith("/to-back"):
            assert isinstance(seen.resource, NftChain)
            from msgspec.structs import replace

            from reconciler.resources.nft import Rule

            rules = (Rule(comment="", expr='[{"limit":{"rate":1}},{"drop":null}]'), *(seen.resource.rules or ()))
            items[key] = Observed(replace(seen.resource, rules=rules), "cnm")
    world.seen = Observation(items)
    shift = world.change_to(world)
    assert shift.untold == 4 * 4
    assert not shift.changes


def test_it_costs_what_the_change_is_worth(tmp_path: Path) -> None:
    """2,000 endpoints, 40 kinds of them; one kind gets another rule."""
    parts = [
        f"apiVersion: cnm/v1alpha1\nkind: Network\nmetadata: {{name: n{number}}}\n"
        f"spec: {{subnets: [{{cidr: 10.{number * 4}.0.0/22}}]}}\n"
        for number in range(4)
    ]
    parts += [
        f"apiVersion: cnm/v1alpha1\nkind: Sandbox\nmetadata: {{name: s{number}, labels: {{app: a{number % 40}}}}}\n---\n"
        f"apiVersion: cnm/v1alpha1\nkind: Endpoint\nmetadata: {{name: s{number}}}\n"
        f"spec: {{network: n{number // 500}, sandbox: s{number}}}\n"
        for number in range(2000)
    ]
    policies: dict[str, Spec] = {
        f"p{number}": {
            "selector": f'app == "a{number}"',
            "types": ["ingress"],
            "ingress": [{"action": "allow", "protocol": "tcp", "destination": {"ports": [number + 1]}}],
        }
        for number in range(40)
    }
    text = "---\n".join(parts)
    old = World(tmp_path, text + documents(policies, {}))
    policies["p7"]["ingress"].append({"action": "allow", "protocol": "tcp", "destination": {"ports": [5432]}})
    new = World(tmp_path, text + documents(policies, {}))
    start = perf_counter()
    shift = old.change_to(new)
    took = perf_counter() - start
    assert not shift.untold
    assert {c.gained for c in shift.changes} == {("5432/tcp",)}
    assert {name for c in shift.changes for name in c.destinations} == {
        f"n{n % 2000 // 500}/s{n}" for n in range(7, 2000, 40)
    }
    assert took < 10, took
    print(f"{took:.2f} s")
