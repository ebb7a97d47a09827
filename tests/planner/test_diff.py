"""What differs, and what is done about it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reconciler.planner.diff import UNWANTED, make_plan
from reconciler.planner.plan import Action, Observation
from reconciler.planner.reason import difference
from reconciler.resources.link import BridgePort, Link, link_key
from reconciler.resources.nft import NftChain, Rule, chain_key
from reconciler.resources.resource import Impact, Observed, Resource
from reconciler.resources.vf import Vf, vf_key
from tests.planner.scene import OWNER, bridge, lines, netns, plan, reasons, route, sandbox, seen, stages, sysctl, veth


def test_what_is_missing_is_made_after_what_it_needs() -> None:
    assert stages(plan([bridge(), *sandbox("a")], seen())) == [
        ["+ link/br0", "+ netns/a"],
        ["+ link/ve-a", "+ link/@a/eth0"],
        ["+ address/@a/eth0/10.0.0.2/24"],
        ["+ route/@a/0.0.0.0/0"],
    ]


def test_what_stands_as_wanted_is_left_alone() -> None:
    world = [bridge(), *sandbox("a")]
    made = plan(world, seen(world))
    assert made.empty
    assert (made.conflicts, made.drift, made.pending) == ((), (), ())


def test_fields_that_nobody_manages_are_not_compared() -> None:
    assert plan([bridge()], seen([bridge(mtu=9000, mac="02:00:00:00:00:01", txqlen=1000)])).empty


def test_a_field_that_can_change_is_changed_in_place() -> None:
    made = plan([bridge(mtu=9000)], seen([bridge(mtu=1500, txqlen=1000)]))
    (op,) = made.ops()
    assert (op.id, op.reason, op.impact) == ("update:link/br0", "mtu: 1500 -> 9000", Impact.NONE)
    assert op.before == bridge(mtu=1500)  # the fields that are not managed are left out
    assert op.patch() == [{"op": "replace", "path": "/mtu", "value": 9000}]
    assert made.drift == (op.key,)


def test_patches_of_what_comes_and_goes() -> None:
    (create,) = plan([route("192.0.2.0/24")], seen()).ops()
    (delete,) = plan([], seen([route("192.0.2.0/24")])).ops()
    assert create.patch() == [{"op": "add", "path": "", "value": route("192.0.2.0/24").data()}]
    assert delete.patch() == [{"op": "remove", "path": ""}]


def test_a_field_that_cannot_change_means_delete_and_create() -> None:
    made = plan([bridge()], seen([Link(key=bridge().key, type="dummy", up=True)]))
    assert stages(made) == [["- link/br0"], ["+ link/br0"]]
    assert all(op.recreate and op.reason == "type: an interface cannot change its kind" for op in made.ops())
    assert made.counts() == {"create": 0, "update": 0, "recreate": 1, "delete": 0, "adopt": 0}


def test_what_nobody_asks_for_any_more_goes() -> None:
    made = plan([], seen([bridge()], foreign=[bridge("docker0")]))
    assert reasons(made) == {"delete:link/br0": UNWANTED}


@pytest.mark.parametrize("options", [{"prune": False}, {"targets": ("link/*",)}])
def test_nothing_goes_when_pruning_is_off_or_a_part_is_aimed_at(options: dict[str, object]) -> None:
    assert plan([], seen([bridge()]), **options).empty


def test_nothing_goes_after_half_a_look() -> None:
    made = plan([], seen([bridge()], partial=("routes of a",)))
    assert made.empty
    assert [problem.message for problem in made.warnings] == ["routes of a: not read, so nothing is removed"]


def test_drift_is_what_of_ours_stands_otherwise_or_is_missing_from_it() -> None:
    world = [bridge(), *sandbox("a"), *sandbox("b")]
    gone = {"link/ve-b", "link/@b/eth0", "address/@b/eth0/10.0.0.2/24", "route/@b/0.0.0.0/0", "route/@a/0.0.0.0/0"}
    left = [resource for resource in world if str(resource.key) not in gone]
    made = plan(world, seen([replace(r, up=False) if r == bridge() else r for r in left]))
    assert [str(key) for key in made.drift] == ["link/br0", "link/@b/eth0", "route/@a/0.0.0.0/0"]


def test_a_setting_is_written_whoever_it_belongs_to() -> None:
    here, wanted = sysctl("net/ipv4/ip_forward", "0"), sysctl("net/ipv4/ip_forward", "1")
    assert lines(plan([wanted], seen(foreign=[here]))) == [f"~ {wanted.key}"]
    assert plan([wanted], seen(foreign=[wanted])).empty


@pytest.mark.parametrize("now", ["0", "1"])
def test_a_setting_that_is_not_wanted_any_more_is_put_back(now: str) -> None:
    """Also when it already is as it was: it must be forgotten."""
    was, here = sysctl("net/ipv4/ip_forward", "0"), sysctl("net/ipv4/ip_forward", now)
    observation = seen()
    (op,) = plan([], replace(observation, items={here.key: Observed(here, "cnm", was)})).ops()
    assert (op.id, op.before, op.after) == (f"delete:{here.key}", here, was)


def test_a_setting_of_what_is_not_there_yet_comes_after_it() -> None:
    setting = sysctl("net/ipv4/conf/br0/rp_filter", "1", dev="br0")
    assert stages(plan([bridge(), setting], seen())) == [["+ link/br0"], [f"+ {setting.key}"]]


_CHAIN = NftChain(key=chain_key("inet", "cnm", "c"), rules=(Rule(comment="", expr="[]"),))


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (
            bridge(mac=None),
            bridge(mac="02:00:00:00:00:01"),
            "mac: ? -> 02:00:00:00:00:01",
        ),
        (bridge(master="x"), bridge(master=""), 'master: x -> ""'),
        (
            bridge(port=BridgePort(isolated=False, hairpin=True)),
            bridge(port=BridgePort(isolated=True)),
            "port.isolated: false -> true",
        ),
        (
            netns("a", lo=False, sysctls=(("net/x", "0"), ("net/y", "1"))),
            netns("a", lo=True, sysctls=(("net/x", "1"), ("net/y", "1"))),
            "lo: false -> true; net/x: 0 -> 1",
        ),
        (_CHAIN, replace(_CHAIN, rules=(Rule(comment="new", expr="[]"),)), "rules: 1 added, 1 removed"),
        (bridge(), bridge(), ""),
    ],
)
def test_differences_in_words(before: Resource, after: Resource, text: str) -> None:
    assert difference(before, after) == text


def test_an_order_of_rules_is_a_difference() -> None:
    one, two = Rule(comment="1", expr="[]"), Rule(comment="2", expr="[]")
    assert difference(replace(_CHAIN, rules=(one, two)), replace(_CHAIN, rules=(two, one))) == "rules: in another order"


def test_a_pair_is_made_anew_when_one_end_is_missing() -> None:
    world = [bridge(), *sandbox("a")]
    maker, other = veth("a")
    made = plan(
        world,
        seen([resource for resource in world if resource.key.kind == "netns" or resource in (bridge(), maker)]),
    )
    assert stages(made)[:2] == [["- link/ve-a"], ["+ link/ve-a", "+ link/@a/eth0"]]
    assert reasons(made)[f"delete:{maker.key}"] == f"its other end, {other.key}, is missing"


def test_a_pair_is_made_anew_when_its_maker_was_renamed() -> None:
    maker, other = veth("a")
    made = plan([bridge(), netns("a"), maker, other], seen([bridge(), netns("a"), replace(other, maker=None)]))
    assert stages(made) == [["- link/@a/eth0"], ["+ link/ve-a", "+ link/@a/eth0"]]


def test_what_is_no_longer_asked_of_a_setting_is_put_back() -> None:
    key = vf_key("nic0", 1)
    seen = Vf(key=key, pf="nic0", index=1, vlan=100, max_rate=500, user="fast/a")
    before = Vf(key=key, pf="nic0", index=1, vlan=0, max_rate=0)
    wanted = Vf(key=key, pf="nic0", index=1, vlan=100, user="fast/a")
    items = {key: Observed(seen, OWNER, before), link_key("", "nic0"): Observed(Link(key=link_key("", "nic0")))}
    (op,) = make_plan([wanted], Observation(items), owner=OWNER).ops()
    assert (op.action, op.reason) == (Action.UPDATE, "max_rate: 500 -> 0")
