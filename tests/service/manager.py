"""A real systemd as the first process of a private process namespace, with just the units that a test gives it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import Self

SYSTEMD = "/lib/systemd/systemd"
# What services expect of a system that has booted; nothing of the machine's own is started.
_TARGETS = ("sysinit", "basic", "shutdown", "network-pre", "network-online", "multi-user")
# It gets a control group of its own as the root of all that it sees, and a console that is a file.
_START = """\
set -e
mkdir -p /run/groups {state}
mountpoint -q /run/groups || mount -t cgroup2 cgroup2 /run/groups
mkdir /run/groups/{group}
echo $$ > /run/groups/{group}/cgroup.procs
: > {state}/console
exec unshare --fork --pid --mount --ipc --uts --cgroup --kill-child sh -ec '
mount --make-rprivate /
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind {state}/console /dev/console
export container=test SYSTEMD_UNIT_PATH={state}/units SYSTEMD_LOG_TARGET=console
exec {systemd} --system --unit=multi-user.target --show-status=no --log-target=console'
"""


class Manager:
    """Runs for the length of the block, in this network namespace. ``units``: name -> text."""

    def __init__(self, units: Mapping[str, str]) -> None:
        self._state = Path(f"/run/systemd-{token_hex(4)}")
        self._group = f"cnm-test-{token_hex(6)}"
        folder = self._state / "units"
        folder.mkdir(parents=True)
        for name in _TARGETS:
            (folder / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        for name, text in units.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        script = _START.format(state=self._state, group=self._group, systemd=SYSTEMD)
        self._unshare = subprocess.Popen(["sh", "-ec", script], stdin=subprocess.DEVNULL)

    def __enter__(self) -> Self:
        self.until(lambda: self.init() and "running" in self.ctl("is-system-running", check=False), "systemd is up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unshare.kill()
        self._unshare.wait()
        root = Path("/run/groups") / self._group
        deadline = time.monotonic() + 10
        while root.exists() and time.monotonic() < deadline:
            for folder in sorted((path for path in (root, *root.rglob("*")) if path.is_dir()), reverse=True):
                try:
                    folder.rmdir()
                except OSError:  # who lived in it dies
                    time.sleep(0.02)

    def init(self) -> int:
        """The number of its first process, as it is seen here; 0 while there is none."""
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def inside(self, *argv: str, check: bool = True) -> str:
        """What a command says that is run on the machine that this systemd is the first process of."""
        enter = ["nsenter", "--target", str(self.init()), "--mount", "--pid", "--ipc", "--uts", "--cgroup"]
        done = subprocess.run([*enter, *argv], capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}\n{self.console()}"
        return done.stdout

    def ctl(self, *words: str, check: bool = True) -> str:
        return self.inside("systemctl", *words, check=check)

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.ctl("show", unit, f"--property={name}", "--value").strip()

    def console(self) -> str:
        return (self._state / "console").read_text(errors="replace")[-6000:]

    def until(self, holds: Callable[[], object], why: str, patience: float = 60.0) -> None:
        deadline = time.monotonic() + patience
        while not holds():
            assert self._unshare.poll() is None, f"systemd ended: {self.console()}"
            assert time.monotonic() < deadline, f"not in {patience:g} s: {why}\n{self.console()}"
            time.sleep(0.1)
