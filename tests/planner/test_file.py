"""Plans and snapshots as documents: exact, and suspicious of what others wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.planner.file import check_stale, plan_from_data, plan_to_data, snapshot_from_data, snapshot_to_data
from reconciler.planner.fingerprint import fingerprint
from reconciler.planner.plan import Observation
from reconciler.resources.link import Link
from reconciler.resources.resource import Observed, Resource
from reconciler.topology.view import HostRoute, NodeFacts
from tests.planner.scene import (
    address,
    asked_by,
    bridge,
    filter_table,
    netns,
    plan,
    route,
    sandbox,
    seen,
    sysctl,
    veth,
)

DUMMY = Link(key=bridge().key, type="dummy", up=True)
FORWARD = sysctl("net/ipv4/ip_forward", "1")
WORLD = asked_by("Network/front", bridge("br1", mtu=1400), *sandbox("b"), bridge(), FORWARD)
HERE = seen([DUMMY, bridge("br1", mtu=1500)], sandbox("a"), foreign=[replace(FORWARD, value="0")])
PLAN = plan([*WORLD, address("br1", "10.9.0.1/24"), veth("z", master="nobody")[0], netns("z")], HERE)


def written() -> Any:
    return json.loads(json.dumps(plan_to_data(PLAN)))


def op(data: Any, op_id: str) -> Any:
    return next(op for stage in data["stages"] for batch in stage for op in batch["ops"] if op["id"] == op_id)


def test_a_plan_survives_its_file() -> None:
    back = plan_from_data(written())
    assert back == PLAN
    assert [step.origin for step in back.ops()] == [step.origin for step in PLAN.ops()]
    assert json.dumps(plan_to_data(back)) == json.dumps(plan_to_data(PLAN))
    assert PLAN.pending


def change(path: str, value: Any) -> Callable[[Any], None]:
    """``path`` from the document down: ``update:link/br1|before|mtu`` starts at an op."""

    def spoil(data: Any) -> None:
        *above, last = path.split("|")
        here = data
        for name in above:
            here = op(data, name) if ":" in name else here[int(name) if name.isdigit() else name]
        here[int(last) if last.isdigit() else last] = value

    return spoil


def drop(path: str) -> Callable[[Any], None]:
    return lambda data: data.pop(path)


def move_first_stage_to_the_end(data: Any) -> None:
    data["stages"].append(data["stages"].pop(0))


def repeat_a_stage(data: Any) -> None:
    data["stages"].append(deepcopy(data["stages"][0]))


def drop_one_half(data: Any) -> None:
    for stage in data["stages"]:
        for batch in stage:
            batch["ops"] = [step for step in batch["ops"] if step["id"] != "delete:link/br0"]


UPDATE, CREATE = "update:link/br1", "create:netns/b"


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (drop("owner"), "owner"),
        (change("more", 1), "more"),
        (change("format", "cnm-snapshot"), "cnm-snapshot"),
        (change("format_version", 2), "format version 2"),
        (change("stages", {}), "stages"),
        (change("summary|create", 0), "summary"),
        (change("owner", 7), "owner"),
        (change("drift", ["link/a/b"]), "interface name"),
        (change("pending|0|key", "kernel/x"), "kind"),
        (change("stages|0|0|actuator", "shell"), "shell"),
        (change(f"{UPDATE}|id", "update:link/br2"), "id"),
        (change(f"{UPDATE}|action", "run"), "run"),
        (change(f"{UPDATE}|key", "link/br2"), "id"),
        (change(f"{UPDATE}|impact", "great"), "great"),
        (change(f"{UPDATE}|recreate", 1), "recreate"),
        (change(f"{UPDATE}|recreate", True), "made anew"),
        (change(f"{UPDATE}|after|mtu", 9000), "patch"),
        (change(f"{UPDATE}|before|mtu", 9000), "reason"),
        (change(f"{UPDATE}|before|type", "dummy"), "patch"),
        (change(f"{UPDATE}|reason", "nothing much"), "reason"),
        (change(f"{UPDATE}|impact", "outage"), "impact"),
        (change(f"{UPDATE}|patch", []), "patch"),
        (change(f"{UPDATE}|after_ids", ["create:link/gone"]), "link/gone"),
        (change(f"{CREATE}|after|source", "pid:1"), "patch"),
        (change(f"{CREATE}|also_removes", ["netns/.."]), "netns/.."),
        (change(f"{CREATE}|origin", {"file": 1}), "file"),
        (move_first_stage_to_the_end, "does not come before"),
        (repeat_a_stage, "two ops"),
        (drop_one_half, "waits for"),
    ],
)
def test_a_plan_that_we_did_not_write_is_refused(spoil: Callable[[Any], None], word: str) -> None:
    data = written()
    spoil(data)
    with pytest.raises(ValueError, match=r".") as caught:
        plan_from_data(data)
    assert word in str(caught.value)


def test_a_snapshot_survives_its_file() -> None:
    facts = NodeFacts(
        name="here",
        kernel="6.1",
        capabilities=frozenset({"nft", "ovs"}),
        ra_links=("eth0",),
        uplink_mtu=1400,
        routes=(HostRoute("10.0.0.0/8", "eth0"),),
        nameservers=("192.0.2.53",),
    )
    items = dict(HERE.items) | {FORWARD.key: Observed(FORWARD, "cnm", replace(FORWARD, value="0"))}
    here = Observation(items, facts, partial=("routes of a",))
    assert snapshot_from_data(json.loads(json.dumps(snapshot_to_data(here)))) == here


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("resources|0|owner", None),
        ("resources|0|was", []),
        ("facts|uplink_mtu", "1500"),
        ("facts|uplink_mtu", True),
        ("facts|routes", [{"to": "10.0.0.0/8"}]),
        ("facts|capabilities", "nft"),
        ("partial", "x"),
        ("format_version", "1"),
        ("format_version", True),
    ],
)
def test_a_snapshot_that_we_did_not_write_is_refused(path: str, value: Any) -> None:
    data = json.loads(json.dumps(snapshot_to_data(HERE)))
    change(path, value)(data)
    with pytest.raises(ValueError, match=r"."):
        snapshot_from_data(data)


def test_a_plan_fits_the_host_that_it_was_made_for() -> None:
    assert check_stale(PLAN, HERE) == ()


def without(*keys: str) -> Observation:
    return replace(HERE, items={key: found for key, found in HERE.items.items() if str(key) not in keys})


def with_(*resources: Resource, owner: str = "cnm") -> Observation:
    return replace(HERE, items=dict(HERE.items) | {r.key: Observed(r, owner) for r in resources})


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (without("link/br1"), "link/br1: is gone; it was here when the plan was made"),
        (without("netns/a"), "netns/a: is gone; it was here when the plan was made"),
        (with_(bridge("br1", mtu=1300)), "link/br1: changed since the plan was made: mtu"),
        (with_(bridge("br1", mtu=1500), owner=""), "link/br1: is not ours"),
        (with_(bridge("br1", mtu=1500), owner="b"), "link/br1: belongs to owner 'b'"),
        (with_(replace(FORWARD, value="2")), "sysctl/net/ipv4/ip_forward: changed since the plan was made: value"),
        (with_(netns("b"), owner=""), "netns/b: stands here now; it did not when the plan was made"),
    ],
)
def test_a_plan_that_no_longer_fits_says_why(now: Observation, message: str) -> None:
    assert message in [str(problem) for problem in check_stale(PLAN, now)]


def test_what_nobody_looks_at_may_change() -> None:
    assert check_stale(PLAN, with_(bridge("br1", mtu=1500, txqlen=5), bridge("docker0"))) == ()


def test_what_a_plan_builds_on_must_still_stand() -> None:
    (built,) = asked_by("Network/front", address("eth0", "10.0.0.1/24"))
    uplink = Link(key=built.key._replace(kind="link", name="eth0"), type="", existing=True)
    made = plan([uplink, built], seen(foreign=[uplink]))
    assert check_stale(made, seen(foreign=[uplink])) == ()
    (problem,) = check_stale(made, seen())
    assert problem.message == "needs link/eth0, which is not here"


def test_a_chain_for_a_table_of_others_is_refused() -> None:
    """A table is looked at when the plan makes it: what names one that it does not make has nothing to stand on."""
    table, chain, *_rest = filter_table()
    made = plan([chain], seen(foreign=[table]))
    assert [problem.message for problem in check_stale(made, seen())] == ["needs nft-table/inet/cnm, which is not here"]


def test_what_was_taken_over_may_be_foreign_but_never_anothers() -> None:
    for made in (
        plan([bridge(mtu=1400)], seen(foreign=[bridge(mtu=1500)]), adopt=True),
        plan([bridge()], seen(foreign=[DUMMY]), adopt={DUMMY.key}),
    ):
        (first, *_rest) = made.ops()
        assert first.before is not None
        assert check_stale(made, Observation({first.key: Observed(first.before)})) == ()
        (problem,) = check_stale(made, Observation({first.key: Observed(first.before, "other")}))
        assert problem.message == "belongs to owner 'other'"


def test_fingerprints_know_specs_and_not_places() -> None:
    world = [bridge(), *sandbox("a")]
    assert fingerprint(world) == fingerprint(reversed(asked_by("Network/front", *world)))
    assert fingerprint(world) != fingerprint([bridge(mtu=1400), *sandbox("a")])
    assert fingerprint([route("10.0.0.0/8", "a")]) != fingerprint([route("10.0.0.0/8", "b")])


def test_the_fingerprints_of_a_plan_are_of_all_that_is_wanted_and_of_what_it_touches() -> None:
    first = plan([bridge(mtu=1400)], seen([bridge(mtu=1500)]))
    assert first.desired_fingerprint == fingerprint([bridge(mtu=1400)])
    other = plan([bridge(mtu=1400)], seen([bridge(mtu=1500)], foreign=[bridge("docker0")]))
    assert first.observed_fingerprint == other.observed_fingerprint == fingerprint([bridge(mtu=1500)])
