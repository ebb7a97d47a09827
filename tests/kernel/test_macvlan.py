"""Drivers macvlan and macvtap, end to end: each mode with real packets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kernel.lan import (
    HOST4,
    HOST6,
    LAN4,
    LAN6,
    LAN_MAC,
    add_lan,
    both,
    each_with,
    everything,
    full_size,
    on,
    plug,
    reach,
    refused,
    silent,
)
from tests.kernel.private import isolated, run
from tests.kernel.scene import Scene
from tests.lab.fingerprint import difference

pytestmark = pytest.mark.requires("netns", "nft", "link:macvlan", "link:veth", "link:bridge", "ping")
# A macvtap is a macvlan with a character device: what is of neither kind alone is tried with one of them.
DRIVERS = ("macvlan", "macvtap")
every = pytest.mark.parametrize("driver", DRIVERS)
B4, B6 = "10.1.0.12", "fd01::12"


def mac_of(netns: str, dev: str = "eth0") -> str:
    words = run("ip", "-n", netns, "-o", "link", "show", dev).split()
    return words[words.index("link/ether") + 1]


@every
@isolated
def test_mode_bridge(driver: str, tmp_path: Path) -> None:
    """All reach each other and the outside, but not the host itself; packets as large as the parent's."""
    add_lan(mtu=1400)
    before = everything()
    with Scene(tmp_path) as scene:
        scene.apply(on("lan", driver, "{parent: uplink}", "a", "b"))
        assert reach("a", B4, B6, LAN4, LAN6)
        assert reach("lan", "10.1.0.11", "fd01::11")
        assert silent("a", HOST4, HOST6)
        for target in (B4, B6, LAN4, LAN6):
            full_size("a", target, 1400)
        assert "default" not in run("ip", "-n", "a", "route") + run("ip", "-n", "a", "-6", "route")
        scene.destroy()
    assert difference(before, everything()) == []


@isolated
def test_a_gateway_is_there_when_the_manifest_says_one(tmp_path: Path) -> None:
    add_lan()
    run("ip", "-n", "lan", "address", "add", "192.0.2.1/32", "dev", "sw0")
    manifest = on("lan", "macvlan", "{parent: uplink}", "a").replace("10.1.0.0/24,", f"10.1.0.0/24, gateway: {LAN4},")
    with Scene(tmp_path) as scene:
        scene.apply(manifest)
        assert reach("a", "192.0.2.1")


@each_with("hairpin", DRIVERS, [False, True], [("macvlan", True), ("macvtap", False)])
@isolated
def test_mode_vepa(driver: str, hairpin: bool, tmp_path: Path) -> None:
    """Endpoints reach each other by way of a switch that sends frames back, and not otherwise."""
    add_lan(hairpin=hairpin)
    with Scene(tmp_path) as scene:
        scene.apply(on("lan", driver, "{parent: uplink, mode: vepa}", "a", "b"))
        assert reach("a", LAN4, LAN6)
        assert reach("a", B4, B6) if hairpin else silent("a", B4, B6)


@every
@isolated
def test_mode_private(driver: str, tmp_path: Path) -> None:
    """Not even by way of such a switch."""
    add_lan(hairpin=True)
    with Scene(tmp_path) as scene:
        scene.apply(on("lan", driver, "{parent: uplink, mode: private}", "a", "b"))
        assert reach("a", LAN4, LAN6)
        assert silent("a", B4, B6)


@each_with("promiscuous", DRIVERS, [True, False], [("macvlan", True), ("macvtap", False)])
@isolated
def test_mode_passthru(driver: str, promiscuous: bool, tmp_path: Path) -> None:
    add_lan(addresses=False)
    plug("sw0", "lan", LAN4, LAN6)
    before = everything()
    words = run("ip", "-o", "link", "show", "uplink").split()
    mac = words[words.index("link/ether") + 1]
    options = f"{{parent: uplink, mode: passthru, nopromisc: {str(not promiscuous).lower()}}}"
    with Scene(tmp_path) as scene:
        scene.apply(on("lan", driver, options, "a"))
        assert reach("a", LAN4, LAN6)
        assert mac_of("a") == mac
        assert ("promiscuity 1" in run("ip", "-d", "link", "show", "uplink")) is promiscuous
        scene.destroy()
    assert difference(before, everything()) == []


@every
@isolated
def test_mode_source(driver: str, tmp_path: Path) -> None:
    """An endpoint hears those whom it names, and nobody else."""
    add_lan()
    heard, deaf = f"a {{sources: ['{LAN_MAC}']}}", "b {sources: ['02:00:00:00:00:01']}"
    with Scene(tmp_path) as scene:
        scene.apply(on("lan", driver, "{parent: uplink, mode: source}", heard, deaf))
        assert reach("a", LAN4, LAN6)
        assert silent("b", LAN4, LAN6)
        report = scene.apply(
            on("lan", driver, "{parent: uplink, mode: source, nodst: true}", heard, heard.replace("a ", "b "))
        )
        assert report.plan.counts() == {"create": 0, "update": 2, "recreate": 0, "delete": 0, "adopt": 0}
        assert reach("b", LAN4, LAN6)


@isolated
def test_the_mode_changes_in_place_but_for_passthru(tmp_path: Path) -> None:
    add_lan()
    with Scene(tmp_path) as scene:
        scene.apply(on("lan", "macvlan", "{parent: uplink}", "a", "b"))
        report = scene.apply(
            on("lan", "macvlan", "{parent: uplink, mode: private, broadcastQueueLength: 50}", "a", "b")
        )
        assert report.plan.counts()["update"] == 2
        assert report.plan.counts()["recreate"] == 0
        assert silent("a", B4)
        scene.apply(on("lan", "macvlan", "{parent: uplink}", "a"))
        report = scene.apply(on("lan", "macvlan", "{parent: uplink, mode: passthru}", "a"))
        assert report.plan.counts()["recreate"] == 1
        assert reach("a", LAN4, LAN6)


@isolated
def test_another_parent_is_made_anew_and_comes_back_whole(tmp_path: Path) -> None:
    add_lan(addresses=False)
    plug("sw0", "lan", LAN4, LAN6)
    run("ip", "link", "add", "other", "type", "veth", "peer", "name", "far")
    with Scene(tmp_path) as scene:
        scene.apply(on("lan", "macvlan", "{parent: other}", "a", "b"))
        report = scene.apply(on("lan", "macvlan", "{parent: uplink}", "a", "b"))
        assert report.plan.counts()["recreate"] > 0
        assert reach("a", B4, B6, LAN4, LAN6)


@isolated
def test_several_networks_on_one_parent(tmp_path: Path) -> None:
    add_lan()
    with Scene(tmp_path) as scene:
        options = "{parent: uplink}"
        scene.apply(both(on("lan", "macvlan", options, "a", "b"), on("back", "macvlan", options, "c", "d", number=2)))
        assert reach("a", B4, B6)
        assert reach("c", "10.2.0.12", "fd02::12")
        assert silent("a", "10.2.0.11", "fd02::11")


@isolated
def test_a_parent_that_is_missing_is_waited_for(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.write(on("lan", "macvlan", "{parent: uplink}", "a", "b"))
        plan = scene.plan()
        assert {entry.reason for entry in plan.pending} == {"there is no interface uplink"}
        assert scene.controller.execute(scene.controller.plan([str(tmp_path)])).ok
        assert scene.plan().empty
        add_lan()
        scene.apply()
        assert not scene.plan().pending
        assert reach("a", B4, B6, LAN4)
        run("ip", "link", "delete", "uplink")
        assert scene.plan().pending
        scene.destroy()


@every
@isolated
def test_drift_is_repaired(driver: str, tmp_path: Path) -> None:
    add_lan()
    with Scene(tmp_path) as scene:
        scene.apply(on("lan", driver, "{parent: uplink, mode: private}", "a", "b"))
        run("ip", "-n", "a", "link", "set", "eth0", "type", driver, "mode", "bridge")
        run("ip", "-n", "b", "link", "delete", "eth0")
        scene.apply()
        assert reach("b", LAN4, LAN6)
        assert f"{driver} mode private" in run("ip", "-n", "a", "-d", "link", "show", "eth0")


@isolated
def test_what_cannot_work_is_refused_when_planning(tmp_path: Path) -> None:
    add_lan()
    run("ip", "link", "add", "br9", "type", "bridge")
    run("ip", "link", "add", "port9", "master", "br9", "type", "veth", "peer", "name", "far9")
    run("ip", "link", "add", "mv9", "link", "far9", "type", "macvlan", "mode", "passthru")
    with Scene(tmp_path) as scene:
        for options, words in (
            ("{parent: uplink, mode: passthru}", ["mode passthru gives uplink to one"]),
            ("{parent: uplink.4095}", ["VLAN 4095", "from 1 to 4094"]),
            ("{parent: uplink.0}", ["VLAN 0"]),
            ("{vlan: 10}", ["VLAN 10 of what?"]),
            ("{parent: port9}", ["port9 is a port of br9", "write parent: br9"]),
            ("{parent: far9}", ["mv9 on this host, which is not ours", "passthru"]),
            ("{parent: mv9}", ["mv9 is a macvlan itself", "far9"]),
            ("{parent: lo}", ["loopback"]),
            ("{parent: uplink, nodst: true}", ["mode source only"]),
            ("{parent: uplink, nopromisc: true}", ["mode passthru only"]),
            ("{parent: uplink, mode: source}", ["endpoint a would receive nothing"]),
            ("{parent: uplink, vlan: 4095}", ["at most 4094"]),
        ):
            refused(scene, on("lan", "macvlan", options, "a", "b"), *words)
        refused(
            scene,
            on("lan", "macvlan", "{parent: uplink}", "a", spec="  mtu: 1501\n"),
            "above that of its parent uplink, 1500",
        )
        refused(
            scene, on("lan", "macvlan", "{parent: uplink}", "a", spec="  internal: true\n"), "leads out of an internal"
        )
        own = on("lan", "macvlan", "{parent: uplink}", "a").replace("10.1.0.11", HOST4)
        refused(scene, own, f"{HOST4} is this host's own address, on uplink")
        first, second = on("lan", "macvlan", "{parent: uplink}", "a"), "{parent: uplink, mode: passthru}"
        refused(scene, both(first, on("back", "macvlan", second, "b", number=2)), "both on uplink", "passthru")
        first = on("lan", "macvlan", "{parent: uplink, broadcastCutoff: 3}", "a")
        second = "{parent: uplink, broadcastCutoff: 4}"
        refused(scene, both(first, on("back", "macvlan", second, "b", number=2)), "one broadcastCutoff for all")
        refused(
            scene, on("lan", "macvlan", "{parent: uplink}", "a {sources: ['02:00:00:00:00:01']}"), "in mode source only"
        )


@isolated
def test_a_shim_lets_the_host_reach_its_endpoints(tmp_path: Path) -> None:
    """Both ways and both families; the rest of the segment stays where it was. It has no character device itself."""
    add_lan()
    before = everything()
    with Scene(tmp_path) as scene:
        plain = on("lan", "macvtap", "{parent: uplink}", "a", "b")
        scene.apply(plain)
        assert silent("", "10.1.0.11", "fd01::11")
        scene.apply(plain.replace("{parent: uplink}", '{parent: uplink, shim: {addresses: [10.1.0.9, "fd01::9"]}}'))
        assert reach("", "10.1.0.11", "fd01::11", B4, B6, LAN4, LAN6)
        assert reach("a", "10.1.0.9", "fd01::9", B4, LAN4)
        assert reach("lan", "10.1.0.11", "fd01::11")
        for options, words in (
            ("{parent: uplink, shim: {addresses: [10.1.0.9]}}", "no IPv6 address"),
            ('{parent: uplink, shim: {addresses: [10.9.0.9, "fd01::9"]}}', "in none of its subnets"),
            ('{parent: uplink, shim: {addresses: [10.1.0.9, "fd01::9"]}, mode: private}', "a shim reaches nobody"),
            ('{parent: uplink, shim: {addresses: [10.1.0.11, "fd01::9"]}}', "10.1.0.11"),
        ):
            refused(scene, plain.replace("{parent: uplink}", options), words)
        scene.destroy()
    assert [line for line in difference(before, everything()) if ": neighbour/" not in line] == []


@pytest.mark.requires("link:macvtap", "root")  # the device belongs to the machine's root
@isolated
def test_status_tells_the_device_of_a_macvtap(tmp_path: Path) -> None:
    """Of two sandboxes each has its own, and it is the one that the kernel means."""
    add_lan()
    with Scene(tmp_path) as scene:
        scene.apply(on("lan", "macvtap", "{parent: uplink}", "a", "b"))
        rows = scene.controller.status([str(tmp_path)]).rows
        devices = {row.name: row.facts["device"] for row in rows if row.kind == "Endpoint"}
        assert len(set(devices.values())) == 2
        for name, device in devices.items():
            index = json.loads(run("ip", "-n", name.split("/")[1], "-j", "link", "show", "eth0"))[0]["ifindex"]
            assert device.startswith(f"/dev/tap{index} 0:0 0600 (")
            with open(f"/dev/tap{index}", "r+b", buffering=0):  # noqa: PTH123 - unbuffered
                pass
