"""A part of what is wanted: --target and --exclude."""

from __future__ import annotations

import pytest

from reconciler.resources.link import Link
from tests.planner.scene import address, asked_by, bridge, filter_table, lines, netns, plan, sandbox, seen, told, veth

WORLD = (
    *asked_by("Network/front", bridge(), address("br0", "10.0.0.1/24")),
    *asked_by("Sandbox/a", netns("a")),
    *asked_by("Endpoint/front/a", *sandbox("a")[1:]),
    *asked_by("Sandbox/b", netns("b")),
    *asked_by("Endpoint/front/b", *sandbox("b")[1:]),
)
OLD = Link(key=bridge().key, type="dummy", up=True)


@pytest.mark.parametrize(
    ("targets", "kinds"),
    [
        (("Sandbox/a",), ["+ netns/a"]),
        (("netns/*",), ["+ netns/a", "+ netns/b"]),
        (("Network/fr*",), ["+ link/br0", "+ address/br0/10.0.0.1/24"]),
        (
            ("Endpoint/front/a",),
            [
                "+ link/br0",
                "+ netns/a",
                "+ link/ve-a",
                "+ link/@a/eth0",
                "+ address/@a/eth0/10.0.0.2/24",
                "+ route/@a/0.0.0.0/0",
            ],
        ),
        (("link/ve-b",), ["+ link/br0", "+ netns/b", "+ link/ve-b", "+ link/@b/eth0"]),
        (("link/@b/eth0",), ["+ link/br0", "+ netns/b", "+ link/ve-b", "+ link/@b/eth0"]),
        (("Network/none",), []),
    ],
)
def test_targets_bring_what_they_need_and_their_other_ends(targets: tuple[str, ...], kinds: list[str]) -> None:
    assert lines(plan(WORLD, seen(), targets=targets)) == kinds


def test_a_targeted_pair_never_comes_up_without_its_filter() -> None:
    made = plan([*WORLD, *filter_table()], seen(), targets=("link/ve-a",))
    done = lines(made)
    assert done.index("+ nft-chain/inet/cnm/forward") < done.index("+ link/ve-a")


def test_a_targeted_bridge_needs_no_filter() -> None:
    assert lines(plan([*WORLD, *filter_table()], seen(), targets=("link/br0",))) == ["+ link/br0"]


def test_what_is_excluded_is_left_out_with_what_waits_for_it() -> None:
    made = plan(WORLD, seen(), excludes=("Sandbox/b", "address/*"))
    assert lines(made) == ["+ link/br0", "+ netns/a", "+ link/ve-a", "+ link/@a/eth0", "+ route/@a/0.0.0.0/0"]
    assert told(made) == []


@pytest.mark.parametrize("end", ["link/ve-a", "link/@a/eth0"])
def test_one_end_of_a_pair_excluded_excludes_both(end: str) -> None:
    made = plan([bridge(), netns("a"), *veth("a")], seen(), excludes=(end,))
    assert lines(made) == ["+ link/br0", "+ netns/a"]


def test_what_is_excluded_is_not_pruned() -> None:
    assert lines(plan([], seen([bridge(), netns("a")]), excludes=("link/*",))) == ["- netns/a"]


@pytest.mark.parametrize("part", [{"targets": ("link/br0",)}, {"excludes": ("address/*", "Endpoint/*")}])
def test_what_a_partial_plan_breaks_it_repairs(part: dict[str, tuple[str, ...]]) -> None:
    """The bridge must be made anew: its address and its ports are not aimed at, but would be lost."""
    made = plan(WORLD, seen([OLD], WORLD[1:]), **part)
    assert lines(made) == ["- link/br0", "+ link/br0", "+ address/br0/10.0.0.1/24", "~ link/ve-a", "~ link/ve-b"]
