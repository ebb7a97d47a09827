"""Driver vrf, end to end: routing domains that know nothing of each other, with the same subnets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel.lan import both, everything, full_size, on, reach, refused, silent
from tests.kernel.private import isolated, run
from tests.kernel.scene import OUTSIDE4, OUTSIDE6, Scene, add_outside
from tests.lab.fingerprint import difference

pytestmark = pytest.mark.requires("netns", "nft", "link:vrf", "link:bridge", "link:veth", "ping")


@isolated
def test_domains_are_apart_and_networks_of_one_together(tmp_path: Path) -> None:
    """Two tenants with the very same subnet; networks of one tenant reach each other through the host."""
    add_outside(routed=True)
    run("ip", "link", "add", "vrf9", "type", "vrf", "table", "9")  # the kernel keeps the rule that the first VRF brings
    run("ip", "link", "delete", "vrf9")
    before = everything()
    with Scene(tmp_path) as scene:
        red = on("red1", "vrf", "{vrf: red}", "a", "b")
        more = on("red2", "vrf", "{vrf: red}", "c", number=2)
        blue = on("blue1", "vrf", "{vrf: blue, table: 4242}", "d", "e")
        scene.apply(both(red, more, blue))
        assert reach("a", "10.1.0.12", "fd01::12", "10.2.0.11", "fd02::11")
        assert reach("c", "10.1.0.11", "fd01::11")
        assert reach("d", "10.1.0.12", "fd01::12")  # e: their own one of that address
        full_size("a", "10.2.0.11", 1500)
        assert silent("d", "10.2.0.11", "fd02::11")
        assert silent("a", OUTSIDE4, OUTSIDE6)  # neither the host's own routes, nor what lies behind them
        assert silent("outside", "10.2.0.11")
        assert "4242" in run("ip", "-d", "link", "show", "blue")
        scene.apply(both(red, more))
        assert "blue" not in run("ip", "link")
        assert reach("a", "10.2.0.11")
        scene.destroy()
    assert [line for line in difference(before, everything()) if ": neighbour/" not in line] == []


@isolated
def test_what_cannot_be_is_refused_when_planning(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        red = on("red1", "vrf", "{vrf: red}", "a")
        for options, words in (
            ("{vrf: red, table: 5}", "one domain has one table"),
            ("{vrf: blue, table: 254}", "the host's own"),
        ):
            refused(scene, both(red, on("more", "vrf", options, "b", number=2)), words)
        same = on("red2", "vrf", "{vrf: red}", "b")
        refused(scene, both(red, same), "overlaps")
