"""The systemd unit: what it may do, what it must not have, and that a watch works with just that."""

from __future__ import annotations

import configparser
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.kernel.private import isolated, run
from tests.kernel.scene import Scene
from tests.kernel.test_watch import write
from tests.kernel.watched import Watched

UNIT = Path(__file__).resolve().parents[2] / "packaging" / "systemd" / "cnm-watch.service"
# Settings that give a service its own mount namespace (systemd.exec(5)).
MOUNTING = {
    "PrivateTmp", "PrivateDevices", "PrivateMounts", "PrivateIPC", "ProtectSystem", "ProtectHome", "ProtectProc",
    "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups", "ReadOnlyPaths",
    "ReadWritePaths", "InaccessiblePaths", "ExecPaths", "NoExecPaths", "TemporaryFileSystem", "BindPaths",
    "BindReadOnlyPaths", "RootDirectory", "RootImage", "MountImages", "ExtensionImages", "DynamicUser", "MountFlags",
    "ProcSubset", "LogNamespace", "PrivateNetwork", "NetworkNamespacePath",
}  # fmt: skip


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]  # case matters
    parser.read_string(UNIT.read_text())
    return parser


def test_it_has_no_mount_namespace_of_its_own() -> None:
    assert not MOUNTING.intersection(unit()["Service"])


def test_it_comes_before_those_who_need_the_network() -> None:
    before = unit()["Unit"]["Before"].split()
    assert {"network-online.target", "docker.service"} <= set(before)


@pytest.mark.requires("command:systemd-analyze")
def test_systemd_understands_it(tmp_path: Path) -> None:
    analyze = "systemd-analyze"
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/bin/cnm", "/bin/true"))
    done = subprocess.run([analyze, "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert not complaints


@pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")
@isolated
def test_its_capabilities_are_enough_and_its_namespaces_open_from_outside(tmp_path: Path) -> None:
    capabilities = unit()["Service"]["CapabilityBoundingSet"].lower().replace("cap_", "+").split()
    reaper = ["setpriv", "--bounding-set", ",".join(("-all", *capabilities)), "--no-new-privs", "--"]
    with Scene(tmp_path) as scene:
        write(scene, "a")
        with Watched(tmp_path, "--interval", "600", before=reaper) as watched:
            watched.hear("state", state="ok")
            assert "eth0" in run("ip", "netns", "exec", "a", "ip", "-br", "link")  # from outside of the service
            run("ip", "-n", "a", "link", "delete", "eth0")
            watched.hear("repaired", 2)


@pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")
@isolated
def test_it_says_when_it_is_ready_and_that_it_lives(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, Scene(tmp_path) as scene:
        manager.bind("/run/notify")
        manager.settimeout(30)
        write(scene, "a")
        said = b""
        with Watched(tmp_path, "--interval", "1", env={"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "2000000"}):
            while b"READY=1" not in said:
                said += manager.recv(4096) + b"\n"
            assert scene.plan().empty, "ready means that the network is there"
            while b"WATCHDOG=1" not in said:
                said += manager.recv(4096) + b"\n"
        assert b"STATUS=ok" in said


@pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")
@isolated
def test_what_was_applied_comes_back_without_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    with Scene(folder) as scene:
        write(scene, "a")
        with Watched(folder, "--interval", "600") as watched:
            watched.hear("state", state="ok")
        scene.destroy()
    assert not Path("/run/netns/a").exists()  # as after a reboot
    shutil.rmtree(folder)
    with Watched(folder, "--interval", "600") as watched:
        watched.wait(lambda: Path("/run/netns/a").exists(), "the last applied state")
        assert watched.said("invalid")
    folder.mkdir()
    with Scene(folder) as scene:  # healing follows no files
        write(scene, "b")
        with Watched(folder, "--mode", "heal", "--interval", "600") as watched:
            watched.hear("state", state="ok")
            run("ip", "netns", "delete", "a")
            watched.wait(lambda: "eth0" in run("ip", "-n", "a", "-br", "link", check=False), "healed")
            assert not Path("/run/netns/b").exists()
