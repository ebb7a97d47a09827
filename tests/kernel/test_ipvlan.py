"""Drivers ipvlan and ipvtap, end to end: each mode and flag with real packets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel.lan import (
    HOST4,
    LAN4,
    LAN6,
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

pytestmark = pytest.mark.requires("netns", "nft", "link:ipvlan", "link:ipvtap", "link:veth", "link:bridge", "ping")
# An ipvtap is an ipvlan with a character device: what only the options of both decide is tried with one of them.
DRIVERS = ("ipvlan", "ipvtap")
every = pytest.mark.parametrize("driver", DRIVERS)
B4, B6 = "10.1.0.12", "fd01::12"


def add_routed_lan() -> None:
    """The host beyond the wire is on another subnet, and knows the way back to the endpoints: by the wire itself."""
    add_lan(addresses=False)
    run("ip", "-n", "lan", "address", "add", "192.0.2.2/24", "dev", "sw0")
    run("ip", "-n", "lan", "address", "add", "2001:db8::2/64", "dev", "sw0", "nodad")
    uplink = run("cat", "/sys/class/net/uplink/address", check=False).strip() or _mac("uplink")
    for route, hop in (("10.1.0.0/24", "192.0.2.9"), ("fd01::/64", "2001:db8::9")):
        run("ip", "-n", "lan", "neighbour", "replace", hop, "lladdr", uplink, "dev", "sw0", "nud", "permanent")
        run("ip", "-n", "lan", "route", "add", route, "via", hop, "dev", "sw0")
    switch = run("ip", "-n", "lan", "-o", "link", "show", "sw0").partition("link/ether ")[2].split()[0]
    for target in ("192.0.2.2", "2001:db8::2"):
        run("ip", "neighbour", "replace", target, "lladdr", switch, "dev", "uplink", "nud", "permanent")
    run("ip", "address", "add", "192.0.2.9/24", "dev", "uplink")
    run("ip", "address", "add", "2001:db8::9/64", "dev", "uplink", "nodad")


def _mac(dev: str) -> str:
    return run("ip", "-o", "link", "show", dev).partition("link/ether ")[2].split()[0]


@every
@isolated
def test_l2(driver: str, tmp_path: Path) -> None:
    """All reach each other and the outside under one MAC address; packets as large as the parent's."""
    add_lan(mtu=1400)
    before = everything()
    with Scene(tmp_path) as scene:
        scene.apply(on("lan", driver, "{parent: uplink}", "a", "b"))
        assert reach("a", B4, B6, LAN4, LAN6)
        assert reach("lan", "10.1.0.11", "fd01::11")
        assert silent("a", HOST4)
        assert _mac("uplink") in run("ip", "-n", "a", "link", "show", "eth0")
        for target in (B4, B6, LAN4, LAN6):
            full_size("a", target, 1400)
        scene.destroy()
    assert difference(before, everything()) == []


@each_with("mode", DRIVERS, ["l3", "l3s"], [("ipvlan", "l3"), ("ipvlan", "l3s"), ("ipvtap", "l3s")])
@isolated
def test_l3(driver: str, mode: str, tmp_path: Path) -> None:
    """The default route is the device itself, nothing is asked by ARP, and the way back is by a route to the host."""
    add_routed_lan()
    before = everything()
    with Scene(tmp_path) as scene:
        scene.apply(on("lan", driver, f"{{parent: uplink, mode: {mode}}}", "a", "b"))
        (row,) = (row for row in scene.controller.status([str(tmp_path)]).rows if row.kind == "Network")
        assert row.facts["routes back"] == "10.1.0.0/24 via 192.0.2.9, fd01::/64 via 2001:db8::9"
        assert "default dev eth0 proto 147 scope link" in run("ip", "-n", "a", "route")
        assert "default dev eth0" in run("ip", "-n", "a", "-6", "route")
        assert "NOARP" in run("ip", "-n", "a", "link", "show", "eth0")
        assert reach("a", B4, B6, "192.0.2.2", "2001:db8::2")
        full_size("a", B4, 1500)
        scene.destroy()
    # What neighbours learn comes and goes, and numbers those that stay otherwise.
    assert [line for line in difference(before, everything()) if ": neighbour/" not in line] == []


@each_with("flag", DRIVERS, ["private", "vepa"], [("ipvlan", "private"), ("ipvtap", "vepa")])
@isolated
def test_flags_keep_endpoints_apart(driver: str, flag: str, tmp_path: Path) -> None:
    add_lan()
    with Scene(tmp_path) as scene:
        scene.apply(on("lan", driver, f"{{parent: uplink, flag: {flag}}}", "a", "b"))
        assert reach("a", LAN4, LAN6)
        assert silent("a", B4, B6)


@isolated
def test_mode_and_flag_change_in_place(tmp_path: Path) -> None:
    add_lan()
    with Scene(tmp_path) as scene:
        scene.apply(on("lan", "ipvlan", "{parent: uplink}", "a", "b"))
        report = scene.apply(on("lan", "ipvlan", "{parent: uplink, flag: private}", "a", "b"))
        assert report.plan.counts()["recreate"] == 0
        assert silent("a", B4, B6)
        report = scene.apply(on("lan", "ipvlan", "{parent: uplink, mode: l3}", "a", "b"))
        assert report.plan.counts()["recreate"] == 0
        assert reach("a", B4, B6)
        run("ip", "-n", "b", "link", "set", "eth0", "type", "ipvlan", "mode", "l2")
        scene.apply()


@pytest.mark.requires("link:macvlan")
@isolated
def test_from_macvlan_to_ipvlan_and_back(tmp_path: Path) -> None:
    """They cannot share a parent: one goes before the other comes."""
    add_lan()
    with Scene(tmp_path) as scene:
        for driver in ("macvlan", "ipvlan", "macvlan"):
            scene.apply(on("lan", driver, "{parent: uplink}", "a", "b"))
            assert reach("a", B4, B6, LAN4, LAN6)


@pytest.mark.requires("link:vlan", "link:dummy")
@isolated
def test_on_a_vlan_and_on_nothing_at_all(tmp_path: Path) -> None:
    add_lan()
    with Scene(tmp_path) as scene:
        run("ip", "-n", "lan", "link", "add", "sw0.10", "link", "sw0", "up", "type", "vlan", "id", "10")
        plug("sw0.10", "lan", "10.2.0.254", "fd02::fe", "fe80::fe")
        tagged = on("tagged", "ipvlan", "{parent: uplink.10}", "a", "b", number=2)
        alone = on("alone", "ipvlan", "{}", "c", "d", number=3, spec="  internal: true\n")
        scene.apply(both(tagged, alone))
        assert reach("a", "10.2.0.12", "fd02::12", "10.2.0.254", "fd02::fe")
        assert reach("c", "10.3.0.12", "fd03::12")
        assert silent("c", "10.2.0.11")
        scene.apply(alone)
        assert "uplink.10" not in run("ip", "link")


@pytest.mark.requires("link:macvlan", "link:vlan")
@isolated
def test_what_cannot_share_a_parent_is_refused_when_planning(tmp_path: Path) -> None:
    add_lan()
    run("ip", "link", "add", "one", "type", "veth", "peer", "name", "two")
    run("ip", "link", "add", "mv9", "link", "one", "type", "macvlan", "mode", "bridge")
    run("ip", "link", "add", "iv9", "link", "two", "type", "ipvlan", "mode", "l3")
    with Scene(tmp_path) as scene:
        mine = on("lan", "ipvlan", "{parent: uplink}", "a")
        for driver, options, words in (
            ("macvlan", "{parent: uplink}", ["both on uplink", "cannot share a parent"]),
            ("macvtap", "{parent: uplink}", ["cannot share a parent"]),
            ("ipvtap", "{parent: uplink, mode: l3}", ["one mode for all", "l3 and l2"]),
            ("ipvlan", "{parent: uplink, flag: vepa}", ["one flag for all"]),
            ("ipvlan", "{parent: one}", ["mv9 on this host, which is not ours", "macvlan and ipvlan cannot share"]),
            ("macvlan", "{parent: two}", ["iv9 on this host, which is not ours"]),
            ("ipvlan", "{parent: two}", ["iv9", "in mode l3", "write mode: l3"]),
        ):
            refused(scene, both(mine, on("back", driver, options, "b", number=2)), *words)
        mac = mine.replace("  options: {}", "  mac: 02:00:00:00:00:05\n  options: {}")
        refused(scene, mac, "gives all endpoints their parent's MAC address")
        l3 = on("lan", "ipvlan", "{parent: uplink, mode: l3}", "a").replace("0/24,", f"0/24, gateway: {LAN4},")
        refused(scene, l3, "in mode l3 there is no gateway")
        scene.apply(on("lan", "ipvlan", "{parent: two, mode: l3}", "a", number=5))  # as what is there: they share


@isolated
def test_a_shim_lets_the_host_reach_its_endpoints(tmp_path: Path) -> None:
    """Both ways and both families; the rest of the segment stays where it was. It has no character device itself."""
    add_lan()
    before = everything()
    with Scene(tmp_path) as scene:
        plain = on("lan", "ipvtap", "{parent: uplink}", "a", "b")
        scene.apply(plain)
        assert silent("", "10.1.0.11", "fd01::11")
        scene.apply(plain.replace("{parent: uplink}", '{parent: uplink, shim: {addresses: [10.1.0.9, "fd01::9"]}}'))
        assert reach("", "10.1.0.11", "fd01::11", B4, B6, LAN4, LAN6)
        assert reach("a", "10.1.0.9", "fd01::9", B4, LAN4)
        assert reach("lan", "10.1.0.11", "fd01::11")
        for options, words in (
            ("{parent: uplink, shim: {addresses: [10.1.0.9]}}", "no IPv6 address"),
            ('{parent: uplink, shim: {addresses: [10.9.0.9, "fd01::9"]}}', "in none of its subnets"),
            ('{parent: uplink, shim: {addresses: [10.1.0.9, "fd01::9"]}, flag: private}', "a shim reaches nobody"),
            ('{parent: uplink, shim: {addresses: [10.1.0.11, "fd01::9"]}}', "10.1.0.11"),
        ):
            refused(scene, plain.replace("{parent: uplink}", options), words)
        scene.destroy()
    assert [line for line in difference(before, everything()) if ": neighbour/" not in line] == []
