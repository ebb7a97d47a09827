"""Routed networks: endpoints of several hosts reach each other under their own addresses, told of by BGP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.routed import Routed, wait
from tests.lab import difference

pytestmark = pytest.mark.requires("netns", "ping", "bird", "link:veth")

DRIVERS = ("calico",)


@pytest.fixture
def routed(tmp_path: Path) -> Iterator[Routed]:
    folder = tmp_path / "manifests"
    folder.mkdir()
    with Routed(folder, ["n1", "n2", "n3"]) as cluster:
        yield cluster


def test_endpoints_reach_each_other_without_a_tunnel(routed: Routed) -> None:
    before = routed.fabric["n1"].fingerprint()
    routed.declare(["app/a@n1", "app/b@n2", "app/c@n3"])
    routed.apply()
    for version in (4, 6):
        for node, sandbox, far in (("n1", "a", "app/b"), ("n2", "b", "app/c"), ("n3", "c", "app/a")):
            address = routed.address(far, version)
            assert wait(lambda n=node, s=sandbox, a=address: routed.reaches(n, s, a)), far
    assert routed.reaches("n1", "a", routed.address("app/b"), size=1500 - 28), "nothing is wrapped around it"
    with routed.watching("n2", "icmp") as heard:
        assert routed.reaches("n1", "a", routed.address("app/b"))
    own = f"IP {routed.address('app/a')} > {routed.address('app/b')}: ICMP echo request"
    assert any(own in line for line in heard), heard
    with routed.fabric["n1"].events() as events:
        routed.apply("n1")
    assert events.lines == []
    routed.destroy("n1")
    assert wait(lambda: difference(before, routed.fabric["n1"].fingerprint()) == []), difference(
        before, routed.fabric["n1"].fingerprint()
    )
