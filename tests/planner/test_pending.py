"""What has to wait, what can never be, and what waits for itself."""

from __future__ import annotations

import pytest

from reconciler.errors import CycleError
from tests.planner.scene import address, asked_by, bridge, lines, netns, plan, sandbox, seen, sysctl, told, veth


def test_all_that_needs_a_missing_thing_of_others_waits_for_it() -> None:
    there = netns("a", source="path:/run/netns/x")
    made = plan([bridge(), there, *sandbox("a")[1:]], seen())
    assert lines(made) == ["+ link/br0"]
    assert made.conflicts == ()
    assert {pending.reason for pending in made.pending} == {"there is no network namespace at /run/netns/x"}
    assert [str(pending.key) for pending in made.pending] == [
        "address/@a/eth0/10.0.0.2/24",
        "link/ve-a",
        "link/@a/eth0",
        "netns/a",
        "route/@a/0.0.0.0/0",
    ]


def test_a_need_that_can_wait_says_for_what() -> None:
    (maker, other) = veth("a", master="br9")
    made = plan([netns("a"), maker, other], seen())
    assert lines(made) == ["+ netns/a"]
    assert {pending.reason for pending in made.pending} == {"there is no interface br9"}


def test_a_need_that_nobody_fills_is_an_error_at_its_origin() -> None:
    made = plan(asked_by("Endpoint/front/a", address("eth9", "10.0.0.1/24")), seen())
    (problem,) = made.conflicts
    assert problem.message == "address/eth9/10.0.0.1/24 needs link/eth9, which nobody makes"
    assert problem.origin.document == "Endpoint/front/a"


def test_what_waits_for_something_excluded_waits_without_an_error() -> None:
    made = plan([bridge(), address("br0", "10.0.0.1/24")], seen(), excludes=("link/*",))
    assert (lines(made), told(made)) == ([], [])
    assert [pending.reason for pending in made.pending] == ["link/br0 is left out of this plan"]


def test_things_that_wait_for_each_other_are_a_users_error() -> None:
    one, two = sysctl("net/a", "1"), sysctl("net/b", "1")
    world = asked_by("Sandbox/a", sysctl("net/a", "1", first=(two.key,)), sysctl("net/b", "1", first=(one.key,)))
    with pytest.raises(CycleError) as caught:
        plan(world, seen())
    assert {problem.origin.document for problem in caught.value.problems} == {"Sandbox/a"}
    assert "create sysctl/net/a waits for create:sysctl/net/b" in str(caught.value)
