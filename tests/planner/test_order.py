"""In which order, in how few stages."""

from __future__ import annotations

import json
import random
from time import process_time

from msgspec.structs import replace

from reconciler.planner.file import plan_to_data
from reconciler.planner.plan import Plan
from reconciler.resources.nft import NftElement, element_key
from reconciler.resources.resource import Resource
from tests.planner.scene import (
    address,
    bridge,
    filter_table,
    lines,
    netns,
    plan,
    route,
    sandbox,
    seen,
    stages,
    sysctl,
    veth,
)


def stage_of(made: Plan) -> dict[str, int]:
    return {line: number for number, stage in enumerate(stages(made)) for line in stage}


def test_make_before_break() -> None:
    """Nothing collides: the new way stands before the old one goes."""
    old, new = route("192.0.2.0/24", "br0"), route("198.51.100.0/24", "br0")
    other = bridge("br1")
    made = plan([bridge(), new, other, address("br1", "10.1.0.1/24")], seen([bridge(), old]))
    at = stage_of(made)
    assert at[f"+ {new.key}"] < at[f"- {old.key}"] == len(made.stages) - 1


def test_a_claim_is_released_before_it_is_taken() -> None:
    """Another prefix length of one address, another address of one subnet (it would be a secondary)."""
    for old, new in (("10.0.0.1/24", "10.0.0.1/25"), ("10.0.0.1/24", "10.0.0.2/24"), ("fd00::1/64", "fd00::1/80")):
        made = plan([bridge(), address("br0", new)], seen([bridge(), address("br0", old)]))
        assert stages(made) == [[f"- address/br0/{old}"], [f"+ address/br0/{new}"]]


def test_addresses_of_other_subnets_do_not_wait_for_each_other() -> None:
    made = plan([bridge(), address("br0", "10.1.0.1/24")], seen([bridge(), address("br0", "10.0.0.1/24")]))
    assert len(made.stages) == 1


def test_sysctls_of_a_link_are_set_before_its_addresses_and_those_before_its_routes() -> None:
    way, place = route("192.0.2.0/24", "br0"), address("br0", "10.0.0.1/24")
    setting = sysctl("net/ipv6/conf/br0/accept_dad", "0", dev="br0")
    assert stages(plan([bridge(), way, place, setting], seen())) == [
        ["+ link/br0"],
        [f"+ {setting.key}"],
        [f"+ {place.key}"],
        [f"+ {way.key}"],
    ]


def test_the_filter_is_in_force_before_any_pair_comes_up() -> None:
    made = plan([bridge(), *sandbox("a"), *filter_table()], seen())
    at = stage_of(made)
    nft = {number for line, number in at.items() if "nft-" in line}
    assert len(nft) == 1  # one transaction
    assert max(nft) < at["+ link/ve-a"]


def test_the_filter_goes_after_the_last_pair() -> None:
    made = plan([], seen([bridge()], sandbox("a"), filter_table()))
    at = stage_of(made)
    assert at["- link/ve-a"] < at["- nft-table/inet/cnm"]


def test_a_filter_that_changes_while_pairs_come_and_go_is_two_transactions() -> None:
    table, chain, names, element = filter_table()
    fresh = NftElement(key=element_key("inet", "cnm", "bridges", "br1"))
    world = [bridge(), *sandbox("b"), table, chain, names, fresh]
    made = plan(world, seen([bridge()], sandbox("a"), filter_table()))
    at = stage_of(made)
    assert at[f"+ {fresh.key}"] < at["+ link/ve-b"]
    assert at["- link/ve-a"] < at[f"- {element.key}"]


def test_what_waits_for_what_is_in_the_plan() -> None:
    made = plan([bridge(), address("br0", "10.0.0.1/24")], seen())
    assert {op.id: op.after_ids for op in made.ops()} == {
        "create:link/br0": (),
        "create:address/br0/10.0.0.1/24": ("create:link/br0",),
    }


def test_a_stage_has_one_batch_an_actuator() -> None:
    made = plan([bridge(), bridge("br1"), netns("a"), netns("b")], seen())
    assert [[(batch.actuator, len(batch.ops)) for batch in stage] for stage in made.stages] == [
        [("link", 2), ("netns", 2)]
    ]


def test_the_order_of_manifests_does_not_show() -> None:
    world = [bridge(), *sandbox("a"), *sandbox("b", "10.0.0.3/24"), *filter_table()]
    here = seen([bridge(mtu=9000), *sandbox("c")])
    first = json.dumps(plan_to_data(plan(world, here)))
    for number in range(10):
        random.Random(number).shuffle(world)
        assert json.dumps(plan_to_data(plan(world, here))) == first


def _many(count: int) -> list[Resource]:
    found: list[Resource] = [bridge()]
    for number in range(count):
        found += sandbox(f"s{number}", f"10.{number // 250}.{number % 250}.2/16")
    return found


def test_large_plans_grow_in_proportion() -> None:
    """Eight times the size may take twenty times the time, not sixty-four."""
    seconds = {}
    for count in (250, 2000):
        world = _many(count)
        seconds[count] = min(_timed(world) for _ in range(3))
    assert seconds[2000] < 20 * max(seconds[250], 0.005)


def _timed(world: list[Resource]) -> float:
    clock = process_time()
    made = plan(world, seen())
    taken = process_time() - clock
    assert len(list(made.ops())) == len(world)
    assert len(made.stages) == 4
    return taken


def test_a_changed_pair_is_made_anew_between_its_old_and_its_new_self() -> None:
    maker, other = veth("a")
    here = [replace(maker, type="dummy", peer=None), netns("a"), bridge()]
    made = plan([bridge(), netns("a"), maker, other], seen(here))
    assert lines(made) == ["- link/ve-a", "+ link/ve-a", "+ link/@a/eth0"]
