"""Whose is what, and what is never touched."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reconciler.planner.plan import Observation
from reconciler.resources.link import Link
from reconciler.resources.resource import Observed, Resource
from tests.planner.scene import address, asked_by, bridge, lines, netns, plan, reasons, seen, sysctl, told, veth

DUMMY = Link(key=bridge().key, type="dummy", up=True)


def of(owner: str, *resources: Resource) -> Observation:
    return Observation({resource.key: Observed(resource, owner) for resource in resources})


def test_a_foreign_object_in_our_place_is_a_conflict_that_says_where() -> None:
    made = plan(asked_by("Network/front", bridge()), seen(foreign=[bridge()]))
    (problem,) = made.conflicts
    assert made.empty
    assert str(problem) == (
        "net.yaml:1:1: link/br0 stands here already and does not carry our mark\n"
        "    hint: remove it, choose another name, or take it over: cnm adopt 'link/br0'"
    )


@pytest.mark.parametrize("adopt", [True, {bridge().key}])
def test_what_fits_is_adopted(adopt: object) -> None:
    made = plan([bridge(mtu=9000)], seen(foreign=[bridge(mtu=1500)]), adopt=adopt)
    assert (lines(made), made.conflicts) == (["< link/br0"], ())
    assert reasons(made) == {"adopt:link/br0": "taken over; mtu: 1500 -> 9000"}


def test_what_would_have_to_be_made_anew_is_adopted_by_name_only() -> None:
    assert told(plan([bridge()], seen(foreign=[DUMMY]), adopt=True)) == [
        "link/br0 is not ours and cannot be brought in line: type: an interface cannot change its kind"
    ]
    assert lines(plan([bridge()], seen(foreign=[DUMMY]), adopt={DUMMY.key})) == ["- link/br0", "+ link/br0"]


@pytest.mark.parametrize("adopt", [False, True, {bridge().key}])
def test_another_owners_object_is_never_taken(adopt: object) -> None:
    made = plan([bridge()], of("other", bridge()), adopt=adopt)
    assert made.empty
    assert told(made) == ["link/br0 belongs to owner 'other'"]


def test_another_owners_objects_are_not_pruned() -> None:
    assert plan([], of("other", bridge(), netns("a"))).empty


def test_another_owners_setting_is_a_conflict_when_it_differs() -> None:
    forward = sysctl("net/ipv4/ip_forward", "1")
    assert plan([forward], of("other", forward)).conflicts == ()
    assert told(plan([replace(forward, value="0")], of("other", forward))) == [
        f"{forward.key} belongs to owner 'other'"
    ]


@pytest.mark.parametrize("observation", [of("", bridge(mtu=1300)), of("cnm", bridge(mtu=1300))])
def test_what_is_only_built_on_is_never_changed(observation: Observation) -> None:
    made = plan([bridge(existing=True, mtu=1500), address("br0", "10.0.0.1/24")], observation)
    assert (lines(made), made.conflicts) == (["+ address/br0/10.0.0.1/24"], ())


def test_a_namespace_with_a_foreign_interface_in_it_is_not_removed() -> None:
    stranger = Link(key=veth("a")[1].key, type="dummy")
    assert told(plan([], seen([netns("a")], foreign=[stranger]))) == [
        "netns/a is to go, but link/@a/eth0 in it is not ours and would go along"
    ]


def test_hardware_leaves_a_namespace_by_itself() -> None:
    card = Link(key=veth("a")[1].key, type="")
    made = plan([], seen([netns("a")], foreign=[card]))
    assert (lines(made), made.conflicts) == (["- netns/a"], ())


def test_an_adopted_thing_that_goes_along_with_another_is_made_and_not_adopted() -> None:
    """Its link is made anew: there is nothing left to adopt."""
    world = [bridge(), address("br0", "10.0.0.1/24")]
    observation = Observation({DUMMY.key: Observed(DUMMY, "cnm"), world[1].key: Observed(world[1])})
    assert lines(plan(world, observation, adopt=True)) == ["- link/br0", "+ link/br0", "+ address/br0/10.0.0.1/24"]
