"""VLAN sub-interfaces as parents: made on demand, removed with their last user, apart from each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel.lan import LAN4, add_lan, both, everything, full_size, on, plug, reach, refused, silent
from tests.kernel.private import isolated, run
from tests.kernel.scene import Scene
from tests.lab.fingerprint import difference

pytestmark = pytest.mark.requires("netns", "nft", "link:macvlan", "link:vlan", "link:veth", "link:bridge", "ping")


def tag(name: str, below: str, vlan: int, number: int, protocol: str = "802.1Q") -> None:
    """The same tag on the LAN's side, with a host of 10.NUMBER.0.0/24 there."""
    kind = ("type", "vlan", "protocol", protocol, "id", str(vlan))
    run("ip", "-n", "lan", "link", "add", "link", below, "name", name, *kind)
    run("ip", "-n", "lan", "link", "set", name, "addrgenmode", "none")
    run("ip", "-n", "lan", "link", "set", name, "up")
    plug(name, "lan", f"10.{number}.0.254", f"fd0{number}::fe", f"fe80::{number}")


@isolated
def test_tags_keep_networks_apart(tmp_path: Path) -> None:
    """Two VLANs and the untagged segment of one interface; the last user of a sub-interface takes it along."""
    add_lan()
    tag("sw0.10", "sw0", 10, 2)
    tag("sw0.20", "sw0", 20, 3)
    before = everything()
    with Scene(tmp_path) as scene:
        plain = on("plain", "macvlan", "{parent: uplink}", "a")
        ten = on("ten", "macvlan", "{parent: uplink.10}", "b", "c", number=2)
        also = on("also", "macvlan", "{parent: uplink, vlan: 10}", "e", number=4)
        twenty = on("twenty", "macvlan", "{parent: uplink, vlan: 20}", "d", number=3)
        scene.apply(both(plain, ten, also, twenty))
        assert reach("a", LAN4)
        assert reach("b", "10.2.0.12", "fd02::12", "10.2.0.254", "fd02::fe")
        assert reach("d", "10.3.0.254", "fd03::fe")
        full_size("b", "10.2.0.254", 1500)
        run("ip", "-n", "d", "address", "add", "10.2.0.99/24", "dev", "eth0")  # of another VLAN's subnet, in its own
        assert silent("d", "10.2.0.11", "10.2.0.254")
        assert run("ip", "-6", "address", "show", "dev", "uplink.10") == ""
        scene.apply(both(plain, also))
        assert "uplink.20" not in run("ip", "link")
        assert "uplink.10@uplink" in run("ip", "link")
        scene.apply(plain)
        assert "uplink.10" not in run("ip", "link")
        scene.destroy()
    assert [line for line in difference(before, everything()) if ": neighbour/" not in line] == []


@isolated
def test_a_provider_s_tag_and_one_inside(tmp_path: Path) -> None:
    add_lan(mtu=1508)
    tag("sw0.100", "sw0", 100, 2, "802.1ad")
    tag("sw0.100.10", "sw0.100", 10, 3)
    with Scene(tmp_path) as scene:
        outer = on("outer", "macvlan", "{parent: uplink.100, vlanProtocol: 802.1ad}", "a", number=2)
        inner = on("inner", "macvlan", "{parent: uplink.100.10, vlanProtocol: 802.1ad}", "b", number=3)
        scene.apply(both(outer, inner))
        assert reach("a", "10.2.0.254", "fd02::fe")
        assert reach("b", "10.3.0.254", "fd03::fe")
        assert "802.1ad id 100" in run("ip", "-d", "link", "show", "uplink.100")
        assert "802.1Q id 10" in run("ip", "-d", "link", "show", "uplink.100.10")


@isolated
def test_a_sub_interface_of_somebody_else_is_used_and_left(tmp_path: Path) -> None:
    add_lan()
    tag("sw0.10", "sw0", 10, 2)
    run("ip", "link", "add", "link", "uplink", "name", "uplink.10", "mtu", "1400", "type", "vlan", "id", "10")
    run("ip", "link", "set", "uplink.10", "addrgenmode", "none")
    run("ip", "link", "set", "uplink.10", "up")
    before = run("ip", "-d", "-o", "link", "show", "uplink.10")
    with Scene(tmp_path) as scene:
        scene.apply(on("ten", "macvlan", "{parent: uplink.10}", "a", number=2))
        assert reach("a", "10.2.0.254")
        full_size("a", "10.2.0.254", 1400)  # the MTU is that interface's
        scene.destroy()
    assert run("ip", "-d", "-o", "link", "show", "uplink.10") == before


@isolated
def test_a_sub_interface_follows_its_parent(tmp_path: Path) -> None:
    """Down with it, up with it, gone and made again; its MTU as well."""
    add_lan()
    tag("sw0.10", "sw0", 10, 2)
    run("ip", "link", "set", "uplink", "down")
    with Scene(tmp_path) as scene:
        scene.apply(on("ten", "macvlan", "{parent: uplink.10}", "a", number=2))
        run("ip", "link", "set", "uplink", "up")
        assert scene.plan().empty
        assert reach("a", "10.2.0.254")
        run("ip", "link", "set", "uplink", "mtu", "1450")
        scene.apply()
        assert "mtu 1450" in run("ip", "-n", "a", "link", "show", "eth0")
        run("ip", "link", "delete", "uplink.10")  # and with it the endpoint
        scene.apply()
        assert reach("a", "10.2.0.254")
        scene.apply(on("ten", "macvlan", "{parent: uplink, vlan: 11}", "a", number=2))
        assert "uplink.10" not in run("ip", "link")
        assert silent("a", "10.2.0.254")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("bond", marks=pytest.mark.requires("link:bond")),
        pytest.param("team", marks=pytest.mark.requires("link:team", "command:teamnl")),
        pytest.param("dummy", marks=pytest.mark.requires("link:dummy")),
    ],
)
@isolated
def test_what_the_host_made_of_its_interfaces_is_a_parent_like_any_other(kind: str, tmp_path: Path) -> None:
    """With its MTU; what it took in is none any more."""
    add_lan(mtu=1400)
    tag("sw0.10", "sw0", 10, 2)
    mode = {"bond": ("mode", "active-backup")}.get(kind, ())
    run("ip", "link", "add", "over0", "mtu", "1400", "type", kind, *mode)
    run("ip", "link", "set", "over0", "addrgenmode", "none")
    if kind == "team":
        run("teamnl", "over0", "setoption", "mode", "roundrobin")  # what teamd does first
    run("ip", "address", "flush", "dev", "uplink")
    if kind != "dummy":
        run("ip", "link", "set", "uplink", "down")
        run("ip", "link", "set", "uplink", "master", "over0")
    run("ip", "link", "set", "over0", "up")
    with Scene(tmp_path) as scene:
        plain = on("plain", "macvlan", "{parent: over0}", "a", "c")
        ten = on("ten", "macvlan", "{parent: over0.10}", "b", number=2)
        scene.apply(both(plain, ten))
        full_size("a", "10.1.0.12", 1400)
        if kind == "dummy":
            assert silent("a", LAN4)
            return
        full_size("a", LAN4, 1400)
        assert reach("b", "10.2.0.254", "fd02::fe")
        refused(scene, on("plain", "macvlan", "{parent: uplink}", "a"), "uplink is a port of over0", "parent: over0")
