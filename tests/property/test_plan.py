"""What holds of every plan, over random worlds and a host in memory."""

from __future__ import annotations

import json
import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.planner.diff import make_plan
from reconciler.planner.file import plan_from_data, plan_to_data, snapshot_from_data, snapshot_to_data
from reconciler.planner.plan import Plan
from reconciler.planner.seen import SeenIndex
from reconciler.resources.link import Link, link_key
from reconciler.resources.resource import Key, Observed, Resource
from reconciler.resources.route import Route, route_key
from reconciler.resources.sysctl import Sysctl, sysctl_key
from tests.property.modelhost import ModelHost
from tests.property.worlds import worlds

settings.register_profile("plans", deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
settings.load_profile("plans")
World = tuple[Resource, ...]


def bare() -> ModelHost:
    """A host before cnm: an uplink, a foreign bridge and route, and the kernel's own sysctl values."""
    foreign: list[Resource] = [
        Link(key=link_key("", "uplink"), type="", up=True),
        Link(key=link_key("", "docker0"), type="bridge", up=True),
        Route(key=route_key("", "198.51.100.0/24"), to="198.51.100.0/24", dev="uplink"),
        Sysctl(key=sysctl_key("", "net/ipv4/ip_forward"), value="0"),
        Sysctl(key=sysctl_key("", "net/ipv6/conf/all/forwarding"), value="0"),
        Sysctl(key=sysctl_key("", "net/ipv6/conf/uplink/accept_ra"), value="1"),
    ]
    return ModelHost({resource.key: Observed(resource) for resource in foreign})


def plan(host: ModelHost, world: World) -> Plan:
    made = make_plan(world, host.look(), owner="cnm", node="here")
    assert made.conflicts == ()
    return made


def reach(host: ModelHost, world: World) -> Plan:
    made = plan(host, world)
    host.run(made)
    return made


@given(worlds)
def test_apply_then_plan_is_empty(world: World) -> None:
    host = bare()
    reach(host, world)
    assert plan(host, world).empty


@given(worlds, worlds)
def test_any_world_is_reached_from_any_other(one: World, two: World) -> None:
    host = bare()
    reach(host, one)
    reach(host, two)
    assert [op.id for op in plan(host, two).ops()] == []


@given(worlds, worlds)
def test_a_plan_and_the_plan_back_leave_what_was(one: World, two: World) -> None:
    """Rollback is the same planner, with what was observed before as what is wanted."""
    host = bare()
    reach(host, one)
    before = dict(host.items)
    reach(host, two)
    ours = tuple(seen.resource for seen in before.values() if seen.owner == "cnm")
    reach(host, ours)
    assert owned(host.items) == owned(before)
    assert {key: host.items[key] for key in bare().items} == {key: before[key] for key in bare().items}


def owned(items: dict[Key, Observed]) -> dict[Key, object]:
    return {key: seen.resource.data() for key, seen in items.items() if seen.owner == "cnm"}


@given(worlds)
def test_destroy_leaves_a_bare_host(world: World) -> None:
    host = bare()
    reach(host, world)
    reach(host, ())
    assert host.items == bare().items


@given(worlds, worlds)
def test_foreign_things_are_never_touched(one: World, two: World) -> None:
    host = bare()
    for world in (one, two, ()):
        made = reach(host, world)
        for op in made.ops():
            assert op.key not in bare().items or op.resource.setting
            assert not set(op.also_removes) & set(bare().items)


@given(worlds, worlds, st.data())
def test_any_prefix_of_a_plan_can_be_finished(one: World, two: World, data: st.DataObject) -> None:
    host = bare()
    reach(host, one)
    made = plan(host, two)
    host.run(made, data.draw(st.integers(0, len(list(made.ops())))))
    reach(host, two)
    assert plan(host, two).empty


@given(worlds, st.randoms(use_true_random=False))
def test_drift_of_any_kind_is_repaired(world: World, chance: random.Random) -> None:
    host = bare()
    reach(host, world)
    ours = sorted(key for key, seen in host.items.items() if seen.owner == "cnm" and not seen.resource.setting)
    for key in chance.sample(ours, min(4, len(ours))):
        if key not in host.items:
            continue
        seen = host.items[key]
        if isinstance(seen.resource, Link) and chance.random() < 0.5:
            host.items[key] = seen._replace(resource=replace(seen.resource, up=False, mtu=1300))
        else:
            for gone in SeenIndex(host.items).closure([key]):
                host.items.pop(gone, None)
    reach(host, world)
    assert [op.id for op in plan(host, world).ops()] == []


@given(worlds, st.randoms(use_true_random=False))
def test_the_order_of_what_is_wanted_does_not_matter(world: World, chance: random.Random) -> None:
    shuffled = list(world)
    chance.shuffle(shuffled)
    one = json.dumps(plan_to_data(make_plan(world, bare().look(), owner="cnm")))
    two = json.dumps(plan_to_data(make_plan(shuffled, bare().look(), owner="cnm")))
    assert one == two


@given(worlds, worlds)
def test_plans_and_snapshots_survive_their_files(one: World, two: World) -> None:
    host = bare()
    reach(host, one)
    made = plan(host, two)
    assert plan_from_data(json.loads(json.dumps(plan_to_data(made)))) == made
    seen = host.look()
    assert snapshot_from_data(json.loads(json.dumps(snapshot_to_data(seen)))) == seen


@given(worlds, worlds)
def test_patches_lead_from_before_to_after(one: World, two: World) -> None:
    import jsonpatch

    host = bare()
    reach(host, one)
    for op in plan(host, two).ops():
        if op.action == "update" and op.before is not None and op.after is not None:
            assert jsonpatch.apply_patch(op.before.data(), op.patch()) == op.after.data()


@given(worlds, worlds)
def test_what_goes_along_is_told_once(one: World, two: World) -> None:
    host = bare()
    reach(host, one)
    seen: set[Key] = set()
    for op in plan(host, two).ops():
        if op.action == "delete":
            assert not seen & set(op.also_removes)
            seen |= set(op.also_removes)
