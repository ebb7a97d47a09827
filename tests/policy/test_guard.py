"""Tried as root inside a sandbox: nothing leaves it under an address that is not its own, and nobody plays router."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

from reconciler.host import libc
from reconciler.topology.view import EndpointView
from tests.kernel.lan import on
from tests.kernel.private import isolated, run
from tests.kernel.scene import Scene
from tests.kernel.test_bridge import both_hooks, endpoints, network, set_hooks
from tests.policy import frames as f

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth", "ping")
MARK = b"guarded?"


@contextmanager
def inside(name: str) -> Iterator[None]:
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    fd = os.open(f"/run/netns/{name}", os.O_RDONLY)
    libc.setns(fd)
    try:
        yield
    finally:
        libc.setns(home)
        os.close(fd)
        os.close(home)


class Wire:
    """Sends on one sandbox's interface, hears on another's. ``late``: seconds by which a frame may come after one that was
    sent behind it."""

    def __init__(self, scene: Scene, late: float = 0.0) -> None:
        self._late = late
        topology = scene.controller.validate([str(scene.folder)]).topology
        self.at: dict[str, EndpointView] = {e.name: e for network in topology.networks for e in network.endpoints}
        with inside("a"):
            self._out = f.wire("eth0")
        with inside("b"):
            self._in = f.wire("eth0")

    def passes(self, frame: bytes) -> bool:
        """Whether a frame that ``a`` sends comes out at ``b``; one that surely does is sent behind it."""
        a, b = self.at["a"], self.at["b"]
        while self._heard(0):
            pass
        self._out.send(frame)
        own = f.ethernet(a.mac, b.mac, f.IPV4, f.udp(_v4(a), _v4(b), 9, 9, MARK))
        self._out.send(own)
        heard = []
        end = monotonic() + 5
        while monotonic() < end:
            heard += self._heard(0.1)
            if any(MARK in one for one in heard):
                heard += self._heard(self._late)
                return any(one.rstrip(b"\0") == frame.rstrip(b"\0") for one in heard)  # padding may be cut
        raise AssertionError("not even a frame of its own came through")

    def _heard(self, wait: float) -> list[bytes]:
        found = []
        sleep(wait)
        try:
            while True:
                found.append(self._in.recv(4096))
        except BlockingIOError:
            return found


def _v4(endpoint: EndpointView) -> str:
    return str(endpoint.addresses[0].ip)


def _v6(endpoint: EndpointView) -> str:
    return str(endpoint.addresses[1].ip)


def attempts(a: EndpointView, b: EndpointView, c: EndpointView) -> dict[str, bytes]:
    """What must not pass: name -> frame. ``a`` sends, ``b`` is to be fooled, ``c`` is who ``a`` says it is."""
    own6, theirs6 = str(a.link_local[0].ip), str(c.link_local[0].ip)

    def sent(source: str, packet: bytes, kind: int = f.IPV4) -> bytes:
        return f.ethernet(source, b.mac, kind, packet)

    return {
        "another MAC": sent(c.mac, f.udp(_v4(a), _v4(b), 1, 2)),
        "another IPv4 address": sent(a.mac, f.udp(_v4(c), _v4(b), 1, 2)),
        "an IPv4 address of nobody": sent(a.mac, f.udp("10.1.0.99", _v4(b), 1, 2)),
        "no IPv4 address": sent(a.mac, f.udp("0.0.0.0", "255.255.255.255", 68, 67)),
        "another IPv6 address": sent(a.mac, f.udp(_v6(c), _v6(b), 1, 2), f.IPV6),
        "another link-local address": sent(a.mac, f.udp(theirs6, _v6(b), 1, 2), f.IPV6),
        "no IPv6 address": sent(a.mac, f.udp("::", _v6(b), 1, 2), f.IPV6),
        "a VLAN tag": f.tagged(a.mac, b.mac, 7, f.IPV4, f.udp(_v4(a), _v4(b), 1, 2)),
        "priority tag, another address": f.tagged(a.mac, b.mac, 0, f.IPV4, f.udp(_v4(c), _v4(b), 1, 2)),
        "LLDP": f.ethernet(a.mac, b.mac, f.LLDP, b"\x02\x07\x04"),
        "802.3 with LLC": f.ethernet(a.mac, b.mac, 40, b"\x42\x42\x03"),
        "ARP answer for another": f.arp(2, a.mac, _v4(c), _v4(b)),
        "ARP with another's MAC in it": f.arp(2, c.mac, _v4(a), _v4(b), source=a.mac),
        "ARP for the gateway": f.arp(2, a.mac, "10.1.0.1", _v4(b)),
        "ND advertisement for another": sent(a.mac, f.advertisement(own6, _v6(c), a.mac), f.IPV6),
        "ND advertisement for the gateway": sent(a.mac, f.advertisement(own6, "fd01::1", a.mac), f.IPV6),
        "router advertisement": sent(a.mac, f.router(own6, a.mac), f.IPV6),
        "router advertisement of the gateway": sent(a.mac, f.router("fe80::1", a.mac), f.IPV6),
        "DHCP server": sent(a.mac, f.udp(_v4(a), _v4(b), 67, 68)),
        "DHCPv6 server": sent(a.mac, f.udp(own6, _v6(b), 547, 546), f.IPV6),
    }


def rightful(a: EndpointView, b: EndpointView) -> dict[str, bytes]:
    """What must pass: name -> frame."""
    own6 = str(a.link_local[0].ip)
    return {
        "its own ARP": f.arp(2, a.mac, _v4(a), _v4(b)),
        "an ARP probe": f.arp(1, a.mac, "0.0.0.0", _v4(a)),
        "its own advertisement": f.ethernet(a.mac, b.mac, f.IPV6, f.advertisement(own6, _v6(a), a.mac)),
        "link-local": f.ethernet(a.mac, b.mac, f.IPV6, f.udp(own6, _v6(b), 1, 2)),
    }


@both_hooks
@isolated
def test_what_root_inside_tries(hooks: str, tmp_path: Path) -> None:
    set_hooks(hooks)
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1) + endpoints("front/a", "front/b", "front/c"))
        wire = Wire(scene)
        a, b, c = (wire.at[name] for name in "abc")
        tried = attempts(a, b, c)
        assert [name for name, frame in tried.items() if wire.passes(frame)] == []
        assert [name for name, frame in rightful(a, b).items() if not wire.passes(frame)] == []
        # without its guard all of it passes: it was the guard, and nothing else, that held it
        text = (scene.folder / "all.yaml").read_text()
        open_a = text.replace("{network: front, sandbox: a}", "{network: front, sandbox: a, guard: false}")
        assert open_a != text
        (scene.folder / "all.yaml").write_text(open_a)
        scene.apply()
        silent = [name for name, frame in tried.items() if not wire.passes(frame)]
        # br_netfilter drops by itself what makes no sense as an IP packet from there
        assert set(silent) <= {"no IPv6 address", "no IPv4 address", "a VLAN tag", "priority tag, another address"}


@isolated
def test_an_ethertype_that_was_allowed_passes(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1) + endpoints("front/a", "front/b"))
        wire = Wire(scene)
        lldp = f.ethernet(wire.at["a"].mac, wire.at["b"].mac, f.LLDP, b"\x02\x07\x04")
        assert not wire.passes(lldp)
        text = (scene.folder / "all.yaml").read_text()
        (scene.folder / "all.yaml").write_text(
            text.replace("{network: front, sandbox: a}", "{network: front, sandbox: a, etherTypes: [35020]}")
        )
        scene.apply()
        assert wire.passes(lldp)


@isolated
def test_second_addresses_reach_nobody(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1) + endpoints("front/a", "front/b"))
        run("ip", "-n", "a", "address", "add", "10.1.0.77/24", "dev", "eth0")
        run("ip", "-n", "a", "address", "add", "fd01::77/64", "dev", "eth0", "nodad")
        for source, target in (("10.1.0.77", scene.address("front/b")), ("fd01::77", scene.address("front/b", 6)),
                               ("10.1.0.77", "10.1.0.1"), ("fd01::77", "fd01::1")):  # fmt: skip
            done = run("ip", "netns", "exec", "a", "ping", "-c1", "-W1", "-I", source, target, check=False)
            assert " 0% packet loss" not in done
        assert scene.reaches("a", scene.address("front/b"))


@isolated
def test_a_network_of_ipv4_has_no_ipv6(tmp_path: Path) -> None:
    """Also when root inside turns it on: not to its neighbours, and not to the host."""
    with Scene(tmp_path) as scene:
        scene.apply(
            "kind: Network\nmetadata: {name: front}\nspec: {subnets: [{cidr: 10.1.0.0/24}]}\n---\n"
            + endpoints("front/a", "front/b")
        )
        for name, address in (("a", "fd09::a"), ("b", "fd09::b")):
            run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=0")
            run("ip", "-n", name, "address", "add", f"{address}/64", "dev", "eth0", "nodad")
            run("ip", "-n", name, "address", "add", f"fe80::{name}/64", "dev", "eth0", "nodad")
        assert not scene.reaches("a", "fd09::b")
        assert not scene.reaches("a", "fe80::b%eth0")
        assert scene.reaches("a", scene.address("front/b"))


@both_hooks
@isolated
def test_link_local_and_multicast_obey_policy(hooks: str, tmp_path: Path) -> None:
    """What nobody may send to an endpoint does not come by fe80, by broadcast or by multicast either."""
    set_hooks(hooks)
    policy = (
        "\n---\nkind: Policy\nmetadata: {name: closed}\nspec: {selector: 'cnm/sandbox == \"b\"', types: [ingress], "
        "ingress: [{action: allow, source: {selector: 'cnm/sandbox == \"c\"'}}, {action: allow, protocol: udp, destination: {ports: [9]}}]}"
    )
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1) + endpoints("front/a", "front/b", "front/c") + policy)
        wire = Wire(scene)
        a, b = wire.at["a"], wire.at["b"]
        own, theirs = str(a.link_local[0].ip), str(b.link_local[0].ip)
        for name, frame in {
            "unicast": f.ethernet(a.mac, b.mac, f.IPV4, f.udp(_v4(a), _v4(b), 5, 6)),
            "link-local": f.ethernet(a.mac, b.mac, f.IPV6, f.udp(own, theirs, 5, 6)),
            "broadcast": f.ethernet(a.mac, f.BROADCAST, f.IPV4, f.udp(_v4(a), "10.1.0.255", 5, 6)),
            "all hosts": f.ethernet(a.mac, "01:00:5e:00:00:01", f.IPV4, f.udp(_v4(a), "224.0.0.1", 5, 6)),
            "all nodes": f.ethernet(a.mac, "33:33:00:00:00:01", f.IPV6, f.udp(own, "ff02::1", 5, 6)),
        }.items():
            assert not wire.passes(frame), name
        assert scene.reaches("c", f"{theirs}%eth0")
        assert not scene.reaches("a", f"{theirs}%eth0")


@pytest.mark.parametrize(
    ("driver", "options"),
    [
        pytest.param("vlan", "{id: 7}", marks=pytest.mark.requires("bridge-vlan")),
        pytest.param("vrf", "{vrf: red}", marks=pytest.mark.requires("link:vrf")),
    ],
)
@isolated
def test_what_root_inside_tries_on_another_drivers_port(driver: str, options: str, tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.apply(on("front", driver, options, "a", "b", "c"))
        wire = Wire(scene)
        tried = attempts(*(wire.at[name] for name in "abc"))
        assert [name for name, frame in tried.items() if wire.passes(frame)] == []
        assert scene.reaches("a", scene.address("front/b"))
        assert scene.reaches("a", scene.address("front/b", 6))
