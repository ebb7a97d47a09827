"""The unit as it is shipped, under a real systemd: ready in time, confined, watched over, started again, and back after
a reboot before anybody who needs the network."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.kernel.private import isolated, run
from tests.kernel.scene import Scene
from tests.kernel.test_watch import write
from tests.service.manager import Manager
from tests.service.test_unit import UNIT, unit

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth", "systemd")
NAME = UNIT.name
SEEN = "/run/seen-by-docker"
UNITS = {
    NAME: UNIT.read_text(),
    f"{NAME}.d/fast.conf": "[Service]\nWatchdogSec=5s\nRestartSec=100ms\n",
    "multi-user.target": f"[Unit]\nDefaultDependencies=no\nWants={NAME} network-online.target docker.service\n",
    # Stands for Docker, which wants the network: what of it is there when it starts?
    "docker.service": f"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'ip -n a -br address > {SEEN}'\n",
}


def install() -> None:
    """/usr/bin/cnm is there, as the unit says."""
    for part in ("upper", "work"):
        Path("/run/bin", part).mkdir(parents=True)
    run(
        "mount",
        "-t",
        "overlay",
        "own",
        "-o",
        "lowerdir=/usr/bin,upperdir=/run/bin/upper,workdir=/run/bin/work",
        "/usr/bin",
    )
    cnm = Path("/usr/bin/cnm")
    cnm.unlink(missing_ok=True)
    cnm.write_text(f'#!/bin/sh\nPYTHONPATH={os.getcwd()} exec {sys.executable} -m reconciler.cli.main "$@"\n')  # noqa: PTH109
    cnm.chmod(0o755)
    Path("/etc/cnm").mkdir()


def main_process(manager: Manager) -> int:
    return int(manager.show(NAME, "MainPID"))


def status(manager: Manager, name: str) -> str:
    """A line of the service's /proc/PID/status."""
    text = manager.inside("cat", f"/proc/{main_process(manager)}/status")
    return next(line.partition(":")[2].strip() for line in text.splitlines() if line.startswith(f"{name}:"))


@isolated
def test_the_unit_under_a_real_systemd() -> None:
    install()
    with Scene(Path("/etc/cnm")) as scene:
        write(scene, "a")
    with Manager(UNITS) as manager:
        assert manager.ctl("is-active", NAME).strip() == "active"
        assert "10.1.0." in Path(SEEN).read_text(), "it came before Docker"
        assert manager.show(NAME, "StatusText").startswith("ok: ")

        # Just what it is allowed to.
        numbers = {
            "CAP_NET_BROADCAST": 11,
            "CAP_NET_ADMIN": 12,
            "CAP_NET_RAW": 13,
            "CAP_SYS_PTRACE": 19,
            "CAP_SYS_ADMIN": 21,
        }
        asked = unit()["Service"]["CapabilityBoundingSet"].split()
        assert int(status(manager, "CapBnd"), 16) == sum(1 << numbers[name] for name in asked)
        assert int(status(manager, "CapEff"), 16) == int(status(manager, "CapBnd"), 16)
        assert (status(manager, "NoNewPrivs"), status(manager, "Seccomp")) == ("1", "2")
        # No mount namespace of its own: what it made opens from outside.
        own = manager.inside("readlink", f"/proc/{main_process(manager)}/ns/mnt")
        assert own == manager.inside("readlink", "/proc/1/ns/mnt")
        manager.inside("ip", "netns", "exec", "a", "true")

        eth0 = lambda: "UP" in manager.inside("ip", "-n", "a", "-br", "link", "show", "eth0", check=False)  # noqa: E731
        manager.inside("ip", "-n", "a", "link", "delete", "eth0")
        manager.until(eth0, "drift is repaired")

        first = main_process(manager)  # killed: started again, and what happened meanwhile is repaired
        manager.inside("kill", "-KILL", str(first))
        manager.inside("ip", "-n", "a", "link", "set", "eth0", "down")
        manager.until(lambda: main_process(manager) not in (0, first) and eth0(), "it is started again")

        second = main_process(manager)  # hung: the watchdog sees to it
        manager.inside("kill", "-STOP", str(second))
        manager.until(lambda: main_process(manager) not in (0, second), "the watchdog starts it again")
        manager.until(lambda: manager.ctl("is-active", NAME, check=False).strip() == "active", "and it is ready")
        assert int(manager.show(NAME, "NRestarts")) >= 2

        manager.ctl("stop", NAME)
        assert manager.show(NAME, "Result") == "success"
        manager.inside("ip", "netns", "exec", "a", "true")  # what it made stays when it is stopped

    # A reboot: nothing of the network is there, and the files are gone too.
    Path("/run/netns/a").unlink()
    for line in run("ip", "-br", "link", "show", "type", "bridge").splitlines():
        run("ip", "link", "delete", line.split()[0])
    run("nft", "flush", "ruleset")
    shutil.rmtree("/etc/cnm")
    shutil.rmtree("/run/cnm")
    Path(SEEN).unlink()
    with Manager(UNITS) as manager:
        assert "10.1.0." in Path(SEEN).read_text(), "the last applied state is back before Docker"
        assert manager.ctl("is-active", NAME).strip() == "active"
