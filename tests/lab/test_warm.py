"""The warm `cnm` does what the installed one does; whoever uses it need not know which one it is."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest

from tests.lab import Host
from tests.lab.host import ENVIRONMENT
from tests.lab.warm import Warm

NETWORK = "apiVersion: cnm/v1alpha1\nkind: Network\nmetadata: {name: a}\nspec: {subnets: [{cidr: 10.1.0.0/24}]}\n"


def _both(warm: Warm, folder: Path, *argv: str, stdin: str = "") -> list[tuple[int, str, str]]:
    return [
        (done.returncode, done.stdout, done.stderr)
        for environment in (warm.environment, {})
        for done in (
            subprocess.run(
                argv,
                input=stdin,
                capture_output=True,
                text=True,
                check=False,
                cwd=folder,
                env={**ENVIRONMENT, **environment},
                timeout=60,
            ),
        )
    ]


@pytest.mark.parametrize(
    ("command", "stdin"),
    [
        ("cnm version", ""),
        ("cnm validate - --node here", NETWORK),
        ("cnm validate - --node here", NETWORK.replace("10.1.0.0/24", "somewhere")),
        ("cnm frobnicate", ""),
        ("cnm schema Network | head -n1", ""),
        ("CNM_MANIFESTS=$PWD/a.yaml cnm validate --node here", ""),
        ("cnm validate --node here a.yaml no-such.yaml >&2 2>/dev/null || echo $?", ""),
        ("umask 077; cnm schema --dir made && stat -c %a made/*.json | uniq", ""),
        ("cnm completion", ""),
    ],
)
def test_it_says_and_does_the_same(command: str, stdin: str, warm: Warm, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(NETWORK)
    ours, installed = _both(warm, tmp_path, "sh", "-c", command, stdin=stdin)
    assert ours == installed


@pytest.mark.requires("command:script")
def test_a_terminal_is_left_to_the_installed_one(warm: Warm, tmp_path: Path) -> None:
    ours, installed = _both(warm, tmp_path, "script", "-qec", "cnm frobnicate", "/dev/null")
    assert ours == installed


@pytest.mark.requires("netns", "command:hostname")
def test_it_is_where_its_command_is(warm: Warm, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"{NETWORK}---\napiVersion: cnm/v1alpha1\nkind: Node\nmetadata: {{name: there}}\n")
    with Host() as host:
        host.run("touch", "/run/only-here")
        script = "hostname there && cnm validate a.yaml && cnm exec --help >/run/written"
        said = host.run("unshare", "--uts", "sh", "-ec", script, cwd=tmp_path, env=warm.environment).stdout
        assert "valid: 1 network" in said
        assert "Usage: cnm exec" in host.run("cat", "/run/written").stdout
        assert not Path("/run/written").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=str)
def test_a_signal_ends_it(number: signal.Signals, warm: Warm, tmp_path: Path) -> None:
    """It reads standard input, which does not end, from a process that is not its command's child."""
    environment = {**ENVIRONMENT, **warm.environment}
    command = [shutil.which("cnm", path=environment["PATH"]) or "", "validate", "-"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=environment)
    assert process.stdin
    process.stdin.write(b"# the first line\n")
    process.stdin.flush()
    reader = _the_one_in(tmp_path, process.pid)
    while fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4)) != bytes(4):
        time.sleep(0.02)  # until it reads
    process.send_signal(number)
    process.wait(timeout=20)  # with its standard input open
    process.communicate()
    assert process.returncode == (130 if number is signal.SIGINT else -number)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{reader}").exists():
        assert time.monotonic() < deadline, "it runs on"
        time.sleep(0.02)


def _the_one_in(folder: Path, command: int) -> int:
    """The process, other than ``command``, whose current folder that is."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for path in Path("/proc").glob("[0-9]*/cwd"):
            try:
                if path.readlink() == folder and int(path.parts[2]) not in (command, os.getpid()):
                    return int(path.parts[2])
            except OSError:
                continue
        time.sleep(0.02)
    raise AssertionError("the warm one never came")
