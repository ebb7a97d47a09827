"""Addresses that others give: by a real DHCP server, and by a real router's advertisements."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.kernel.lan import LAN4, LAN6, add_lan, everything, plug, reach, refused
from tests.kernel.private import isolated, run
from tests.kernel.scene import Scene
from tests.lab.fingerprint import difference

pytestmark = pytest.mark.requires(
    "netns", "nft", "link:macvlan", "link:veth", "link:bridge", "ping", "command:dnsmasq", "command:busybox"
)


@contextmanager
def router(folder: Path) -> Iterator[Callable[[], str]]:
    """dnsmasq on the LAN: DHCP, router advertisements, and what it wrote down; ends with the block."""
    log = folder / "dnsmasq.log"
    command = ["dnsmasq", "--keep-in-foreground", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=sw0"]
    command += [
        "--bind-interfaces",
        "--dhcp-authoritative",
        "--log-dhcp",
        f"--log-facility={log}",
        "--no-ping",
        "--user=root",
    ]
    command += ["--dhcp-range=10.1.0.50,10.1.0.99,2h", "--dhcp-option=option:dns-server,192.0.2.53"]
    command += [f"--dhcp-option=option:router,{LAN4}", f"--dhcp-leasefile={folder}/leases", f"--pid-file={folder}/pid"]
    command += ["--enable-ra", "--dhcp-range=fd01::,ra-only", "--ra-param=sw0,4"]
    server = subprocess.Popen(["ip", "netns", "exec", "lan", *command])
    try:
        yield log.read_text
    finally:
        server.terminate()
        server.wait()


def until(what: Callable[[], bool], seconds: float = 15) -> None:
    deadline = monotonic() + seconds
    while not what():
        assert monotonic() < deadline, "it did not come"
        sleep(0.05)


def addresses(netns: str, version: int = 4) -> list[str]:
    found = json.loads(run("ip", "-n", netns, "-j", f"-{version}", "address", "show", "dev", "eth0", "scope", "global"))
    return [info["local"] for link in found for info in link.get("addr_info", ()) if "local" in info]


def manifest(addresses: str, driver: str = "macvlan", mode: str = "bridge") -> str:
    parts = [
        f"kind: Network\nmetadata: {{name: lan}}\nspec: {{driver: {driver}, subnets: [], options: {{parent: uplink, mode: {mode}}}}}"
    ]
    for name in ("a", "b"):
        parts.append(f"kind: Sandbox\nmetadata: {{name: {name}}}")
        parts.append(
            f"kind: Endpoint\nmetadata: {{name: {name}}}\nspec: {{network: lan, sandbox: {name}, addresses: {addresses}}}"
        )
    return "\n---\n".join(parts)


@isolated
def test_a_lease_is_taken_kept_and_given_back(tmp_path: Path) -> None:
    add_lan(addresses=False)
    plug("sw0", "lan", LAN4, LAN6)
    run("sysctl", "-qw", "net.ipv6.conf.uplink.accept_ra=0")  # the host itself does not listen to that router
    before = everything()
    with router(tmp_path) as log, Scene(tmp_path) as scene:
        scene.apply(manifest("dhcp"))
        until(lambda: bool(addresses("a")) and bool(addresses("b")))
        assert addresses("a") != addresses("b")
        assert reach("a", LAN4, addresses("b")[0])
        assert f"default via {LAN4} dev eth0 proto dhcp" in run("ip", "-n", "a", "route")
        lease = next(Path("/run/cnm").rglob("dhcp.a.eth0.lease")).read_text()
        assert f'ip="{addresses("a")[0]}"' in lease
        assert 'dns="192.0.2.53"' in lease
        was = addresses("a")
        assert scene.plan().empty  # what the server gave is neither drift nor foreign in the way
        run("ip", "-n", "a", "link", "delete", "eth0")
        scene.apply()
        until(lambda: addresses("a") == was)
        assert log().count("DHCPRELEASE") == 0
        scene.destroy()
        until(lambda: log().count("DHCPRELEASE") == 2)
        assert not list(Path("/run/cnm").rglob("dhcp*"))
    # On the host; the router's own namespace is dnsmasq's business.
    assert [
        line for line in difference(before, everything()) if line.startswith(": ") and "neighbour/" not in line
    ] == []


def _client_killed(scene: Scene) -> None:
    """Endpoint ``a`` has a lease, and its client is gone."""
    scene.apply(manifest("dhcp"))
    until(lambda: bool(addresses("a")))
    pid = json.loads(next(Path("/run/cnm").rglob("dhcp.a.eth0.pid")).read_text())["pid"]
    run("kill", "-KILL", str(pid))
    until(lambda: not scene.plan().empty)


@isolated
def test_a_client_that_died_is_started_again(tmp_path: Path) -> None:
    add_lan(addresses=False)
    plug("sw0", "lan", LAN4)
    with router(tmp_path), Scene(tmp_path) as scene:
        _client_killed(scene)
        assert [str(op.key) for op in scene.plan().ops()] == ["process/@a/dhcp.a.eth0"]
        scene.apply()
        scene.apply(manifest("auto"))  # no subnets, no addresses: the client goes
        assert addresses("a") == []
        scene.destroy()


@isolated
def test_what_a_client_held_goes_also_when_it_was_killed(tmp_path: Path) -> None:
    add_lan(addresses=False)
    plug("sw0", "lan", LAN4)
    with router(tmp_path), Scene(tmp_path) as scene:
        _client_killed(scene)
        scene.apply(manifest("auto"))  # nobody started it again
        assert addresses("a") == []
        assert "dhcp" not in run("ip", "-n", "a", "route")
        assert not list(Path("/run/cnm").rglob("dhcp.a.*"))
        assert scene.plan().empty
        scene.destroy()


@isolated
def test_addresses_from_a_router(tmp_path: Path) -> None:
    add_lan(addresses=False)
    plug("sw0", "lan", LAN6)
    with router(tmp_path), Scene(tmp_path) as scene:
        scene.apply(manifest("slaac"))
        until(lambda: bool(addresses("a", 6)) and bool(addresses("b", 6)))
        assert addresses("a", 6)[0].startswith("fd01::")
        assert reach("a", LAN6, addresses("b", 6)[0])
        assert "default via fe80::fe dev eth0 proto ra" in run("ip", "-n", "a", "-6", "route")
        assert addresses("a") == []
        assert scene.plan().empty
        scene.destroy()


@isolated
def test_both_and_what_has_nobody_to_ask(tmp_path: Path) -> None:
    add_lan(addresses=False)
    plug("sw0", "lan", LAN4, LAN6)
    with router(tmp_path), Scene(tmp_path) as scene:
        scene.apply(manifest("[dhcp, slaac]"))
        until(lambda: bool(addresses("a", 6)) and bool(addresses("a")))
        refused(scene, manifest("[dhcp, dhcp]"), "dhcp is written twice")
        bridge = "kind: Network\nmetadata: {name: back}\nspec: {subnets: [{cidr: 10.9.0.0/24}]}"
        endpoint = "kind: Endpoint\nmetadata: {name: x}\nspec: {network: back, sandbox: x, addresses: dhcp}"
        refused(scene, "\n---\n".join((bridge, "kind: Sandbox\nmetadata: {name: x}", endpoint)), "could answer dhcp")
        scene.destroy()


@pytest.mark.requires("link:ipvlan")
@isolated
def test_endpoints_with_one_mac_address_have_leases_of_their_own(tmp_path: Path) -> None:
    """The client's identity is the endpoint's name."""
    add_lan(addresses=False)
    plug("sw0", "lan", LAN4)
    with router(tmp_path), Scene(tmp_path) as scene:
        scene.apply(manifest("dhcp", "ipvlan", "l2"))
        until(lambda: bool(addresses("a")) and bool(addresses("b")))
        assert addresses("a") != addresses("b")
        assert reach("a", LAN4, addresses("b")[0])
        scene.destroy()
