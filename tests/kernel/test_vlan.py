"""Driver vlan, end to end: VLANs of one bridge, trunks into sandboxes, isolated ports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kernel.lan import both, everything, full_size, on, plug, reach, refused, silent
from tests.kernel.private import isolated, run
from tests.kernel.scene import Scene
from tests.lab.fingerprint import difference

pytestmark = pytest.mark.requires("netns", "nft", "bridge-vlan", "link:bridge", "link:veth", "link:vlan", "ping")


@isolated
def test_vlans_of_one_bridge_are_apart(tmp_path: Path) -> None:
    before = everything()
    with Scene(tmp_path) as scene:
        ten = on("ten", "vlan", "{id: 10}", "a", "b")
        twenty = on("twenty", "vlan", "{id: 20}", "c", "d", number=2)
        scene.apply(both(ten, twenty))
        assert reach("a", "10.1.0.12", "fd01::12")
        assert reach("c", "10.2.0.12", "fd02::12")
        full_size("a", "10.1.0.12", 1500)
        plug("eth0", "c", "10.1.0.99", "fd01::99")  # of the other's subnet, in its own VLAN
        assert silent("c", "10.1.0.11", "fd01::11")
        vlans = run("bridge", "vlan", "show")
        assert " 1 " not in vlans
        scene.apply(both(ten.replace("id: 10", "id: 30"), twenty))
        assert reach("a", "10.1.0.12")
        assert "10 PVID" not in run("bridge", "vlan", "show")
        run("bridge", "vlan", "add", "dev", _port("a"), "vid", "20")  # somebody lets it into another VLAN
        assert not scene.plan().empty
        scene.apply()
        assert "\t20\n" not in run("bridge", "vlan", "show", "dev", _port("a"))
        scene.destroy()
    assert [line for line in difference(before, everything()) if ": neighbour/" not in line] == []


def _port(netns: str) -> str:
    """The host's end of a sandbox's eth0."""
    (end,) = json.loads(run("ip", "-n", netns, "-j", "link", "show", "eth0"))
    return next(link["ifname"] for link in json.loads(run("ip", "-j", "link")) if link["ifindex"] == end["link_index"])


@isolated
def test_a_trunk_brings_tagged_vlans_into_a_sandbox(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        ten = on("ten", "vlan", "{id: 10}", "a", "router {trunk: [20]}")
        twenty = on("twenty", "vlan", "{id: 20}", "c", number=2)
        scene.apply(both(ten, twenty))
        assert reach("a", "10.1.0.12")  # its own VLAN comes without a tag
        run("ip", "-n", "router", "link", "add", "link", "eth0", "name", "eth0.20", "type", "vlan", "id", "20")
        run("ip", "-n", "router", "link", "set", "eth0.20", "up")
        plug("eth0.20", "router", "10.2.0.254")
        assert reach("c", "10.2.0.254")
        report = scene.apply(both(on("ten", "vlan", "{id: 10}", "a", "router"), twenty))
        steps = [(str(op.action), op.key.kind) for op in report.plan.ops() if not op.key.kind.startswith("nft-")]
        assert steps == [("delete", "bridge-vlan")], "and a port that is no trunk any more has its guard"
        assert silent("c", "10.2.0.254")


@isolated
def test_isolated_ports_reach_the_others_only(tmp_path: Path) -> None:
    """A network whose endpoints are apart, and one endpoint of another network in the same place, by the trunk."""
    with Scene(tmp_path) as scene:
        apart = on("ten", "vlan", "{id: 10, isolated: true}", "a", "b")
        shared = on("twenty", "vlan", "{id: 20}", "router {trunk: [10]}", number=2)
        scene.apply(both(apart, shared))
        assert silent("a", "10.1.0.12", "fd01::12")
        run("ip", "-n", "router", "link", "add", "link", "eth0", "name", "eth0.10", "type", "vlan", "id", "10")
        run("ip", "-n", "router", "link", "set", "eth0.10", "up")
        plug("eth0.10", "router", "10.1.0.254")
        assert reach("a", "10.1.0.254")
        assert reach("b", "10.1.0.254")


@isolated
def test_an_existing_bridge_has_the_way_out(tmp_path: Path) -> None:
    """Its default VLAN is taken from our ports; its own ports, and what they carry, stay as they are."""
    run("ip", "link", "add", "lan0", "up", "type", "bridge", "vlan_filtering", "1")
    run("ip", "netns", "add", "switch")
    run("ip", "link", "add", "trunk", "master", "lan0", "up", "type", "veth", "peer", "name", "eth9", "netns", "switch")
    run("bridge", "vlan", "add", "dev", "trunk", "vid", "10")
    run("ip", "-n", "switch", "link", "set", "eth9", "up")
    run("ip", "-n", "switch", "link", "add", "link", "eth9", "name", "eth9.10", "type", "vlan", "id", "10")
    run("ip", "-n", "switch", "link", "set", "eth9.10", "up")
    plug("eth9.10", "switch", "10.1.0.254")
    plug("eth9", "switch", "10.1.0.253")
    before = run("bridge", "vlan", "show")
    with Scene(tmp_path) as scene:
        plain = on(
            "plain", "bridge", "{bridge: lan0, existing: true}", "x", "y", number=3
        )  # its VLAN 1, not ours to judge
        scene.apply(both(on("ten", "vlan", "{id: 10, bridge: lan0, existing: true}", "a", "b"), plain))
        assert reach("x", "10.3.0.12")
        assert reach("a", "10.1.0.254", "10.1.0.12")
        run("ip", "-n", "switch", "address", "delete", "10.1.0.254/24", "dev", "eth9.10")
        assert silent("a", "10.1.0.253")  # untagged: VLAN 1 of that bridge
        scene.destroy()
    assert run("bridge", "vlan", "show") == before


@isolated
def test_what_cannot_be_is_refused_when_planning(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        ten = on("ten", "vlan", "{id: 10}", "a")
        for options, words in (
            ("{id: 10}", "both on bridge br-vlan and VLAN 10"),
            ("{id: 11, protocol: 802.1ad}", "do not agree on protocol"),
            ("{id: 4095}", "at most 4094"),
            ("{}", "id"),
        ):
            refused(scene, both(ten, on("more", "vlan", options, "b", number=2)), words)
        refused(scene, on("ten", "vlan", "{id: 10}", "a {trunk: [10]}"), "is its network's own")
        plain = (
            "kind: Network\nmetadata: {name: br}\nspec: {subnets: [{cidr: 10.9.0.0/24}], options: {bridge: br-vlan}}\n"
        )
        refused(scene, both(ten, plain), "wants it for itself")
