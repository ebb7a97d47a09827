"""Drivers host, none and container, end to end: which stack a sandbox is in, and what is heard there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.private import isolated, run
from tests.kernel.scene import Scene
from tests.kernel.test_bridge import endpoints, network

DRIVERS = ("host", "none", "container")
pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth", "ping")

TTL = Path("/proc/sys/net/ipv4/ip_default_ttl")
_SERVE = "import socket; s = socket.create_server(('127.0.0.1', 7)); print('ready', flush=True); s.accept()"
_CALL = "import socket; socket.create_connection(('127.0.0.1', 7), 2)"


def sandbox(name: str, stack: str, more: str = "") -> str:
    return f"kind: Sandbox\nmetadata: {{name: {name}}}\nspec: {{stack: {stack}{more}}}\n---\n"


def succeeds(scene: Scene, name: str, *command: str) -> bool:
    return scene.controller.run_inside(name, command, [str(scene.folder)]) == 0


def pings(scene: Scene, name: str, address: str) -> bool:
    return succeeds(scene, name, "ping", "-c1", "-W1", "-q", address)


@isolated
def test_host_is_the_hosts_own_stack(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.apply(sandbox("agent", "host") + network("front", 1) + endpoints("front/web"))
        assert succeeds(scene, "agent", "ip", "link", "show", "br-front")
        assert pings(scene, "agent", scene.address("front/web"))
        assert pings(scene, "agent", scene.address("front/web", 6))


@isolated
def test_a_sysctl_of_the_host_is_set_changed_and_put_back(tmp_path: Path) -> None:
    was = TTL.read_text()
    with Scene(tmp_path) as scene:
        for value in ("70", "71"):
            scene.apply(sandbox("agent", "host", f", sysctls: {{net.ipv4.ip_default_ttl: {value}}}"))
            assert TTL.read_text().strip() == value
        scene.apply(sandbox("agent", "host"))
        assert TTL.read_text() == was


@isolated
def test_none_has_loopback_and_nothing_else(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.apply(sandbox("batch", "none") + network("front", 1) + endpoints("front/web"))
        assert run("ip", "-n", "batch", "-o", "link").count("\n") == 1
        assert pings(scene, "batch", "127.0.0.1")
        assert pings(scene, "batch", "::1")
        for version in (4, 6):
            assert not pings(scene, "batch", scene.address("front/web", version))
        scene.destroy()
        assert "batch" not in run("ip", "netns", "list")


@isolated
def test_container_shares_addresses_and_loopback(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        text = network("front", 1) + sandbox("proxy", "{container: app}") + sandbox("log", "{container: proxy}")
        scene.apply(text + endpoints("front/app", "front/other"))
        assert "proxy" not in run("ip", "netns", "list")
        for name in ("proxy", "log"):
            assert pings(scene, name, scene.address("front/other"))
            assert pings(scene, name, scene.address("front/app", 6))
        serve = ["ip", "netns", "exec", "app", sys.executable, "-c", _SERVE]
        process = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert not succeeds(scene, "other", sys.executable, "-c", _CALL)
        assert succeeds(scene, "log", sys.executable, "-c", _CALL)
        process.communicate()


@isolated
def test_a_shared_stack_stays_when_a_sharer_goes(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        rest = network("front", 1) + endpoints("front/app", "front/other")
        scene.apply(sandbox("proxy", "{container: app}") + rest)
        report = scene.apply(rest)
        assert report.plan.empty
        assert scene.reaches("app", scene.address("front/other"))
