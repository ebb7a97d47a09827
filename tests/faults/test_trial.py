"""A change on trial: kept when somebody says so, else the host is as before, whatever dies. Real processes, real
terminals."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kernel.private import isolated
from tests.lab.fingerprint import difference, take

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")

CNM = [sys.executable, "-c", "from reconciler.cli.main import main; main()"]
BRIDGE = Path("/sys/class/net/br-front")
MANIFEST = """\
apiVersion: cnm/v1alpha1
kind: Network
metadata: {name: front}
spec: {driver: bridge, subnets: [{cidr: 10.0.0.0/24}]}
---
apiVersion: cnm/v1alpha1
kind: Sandbox
metadata: {name: web}
spec: {}
---
apiVersion: cnm/v1alpha1
kind: Endpoint
metadata: {name: web}
spec: {network: front, sandbox: web}
"""


class Stage:
    """Manifests in a folder, and what the host was before."""

    def __init__(self, folder: Path) -> None:
        # /sys shows the network namespace in which it was mounted.
        subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)
        self.folder = folder
        (folder / "all.yaml").write_text(MANIFEST)
        self.before = take([""])

    def cnm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*CNM, *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)

    def start(self, *arguments: str, **options: object) -> subprocess.Popen[str]:
        argv = [*CNM, "try", "--yes", "--node", "here", *arguments, str(self.folder)]
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(argv, text=True, **{**streams, **options})  # type: ignore[call-overload, no-any-return]

    def waits(self) -> None:
        """Until it is applied and on trial."""
        self.until(lambda: any(Path("/run/cnm").glob("try-*")), "nothing is on trial")
        assert BRIDGE.exists()
        assert Path("/run/netns/web").exists()

    def is_back(self) -> None:
        self.until(lambda: not any(Path("/run/cnm").glob("journal-*")), "the journal is still there")
        assert difference(self.before, take([""])) == []
        assert not Path("/run/netns/web").exists()
        assert not any(Path("/run/cnm").glob("try-*"))

    @staticmethod
    def until(holds: Callable[[], bool], words: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, words
            time.sleep(0.02)


def guardian(process: subprocess.Popen[str]) -> int:
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


@contextlib.contextmanager
def terminal(stage: Stage, *arguments: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """`cnm try` as the leader of a session on a terminal of its own; our end of it, and the process."""
    ours, theirs = pty.openpty()
    setup = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    argv = [sys.executable, "-c", setup, *CNM, "try", "--yes", "--node", "here", *arguments, str(stage.folder)]
    process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, text=True, start_new_session=True)
    os.close(theirs)
    try:
        yield ours, process
    finally:
        with contextlib.suppress(OSError):
            os.close(ours)
        process.wait(30)


def drain(fd: int, process: subprocess.Popen[str]) -> str:
    text = b""
    with contextlib.suppress(OSError):  # EIO: nobody has the terminal open any more
        while part := os.read(fd, 4096):
            text += part
    process.wait(30)
    return text.decode(errors="replace")


@isolated
def test_confirmed_from_elsewhere_it_is_kept(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert stage.cnm("confirm").returncode == 1
    with stage.start() as process:
        stage.waits()
        meanwhile = stage.cnm("destroy", "--yes")
        assert (meanwhile.returncode, "cnm confirm" in meanwhile.stderr) == (5, True), meanwhile.stderr
        done = stage.cnm("confirm")
        assert (done.returncode, done.stdout) == (0, "kept\n"), done.stderr
        assert process.wait(30) == 0
    assert BRIDGE.exists()
    assert not any(Path("/run/cnm").glob("journal-*"))
    assert stage.cnm("plan", "--node", "here", str(tmp_path)).returncode == 0
    assert "no change is on trial" in stage.cnm("confirm").stderr
    assert stage.cnm("destroy", "--yes").returncode == 0


@isolated
def test_what_stands_already_can_be_changed_on_trial(tmp_path: Path) -> None:
    """An endpoint for a sandbox that is there; and a sandbox that somebody else made."""
    stage = Stage(tmp_path)
    subprocess.run(["ip", "netns", "add", "theirs"], check=True)
    head, sandbox, endpoint = MANIFEST.split("---\n")
    (tmp_path / "all.yaml").write_text(f"{head}---\n{sandbox}")
    assert stage.cnm("apply", "--yes", "--node", "here", str(tmp_path)).returncode == 0
    theirs = f"{sandbox}---\n{endpoint}".replace("name: web", "name: other").replace("sandbox: web", "sandbox: other")
    theirs = theirs.replace("spec: {}", "spec: {stack: {path: /run/netns/theirs}}")
    (tmp_path / "all.yaml").write_text(f"{MANIFEST}---\n{theirs}")
    with stage.start("--timeout", "60") as process:
        stage.until(lambda: any(Path("/run/cnm").glob("try-*")) or process.poll() is not None, "nothing is on trial")
        assert process.poll() is None, process.communicate()[0]
        for netns in ("web", "theirs"):
            subprocess.run(["ip", "-n", netns, "link", "show", "eth0"], check=True)
        assert stage.cnm("confirm", "--revert").returncode == 0
        assert process.wait(30) == 3
    assert subprocess.run(["ip", "-n", "web", "link", "show", "eth0"], check=False).returncode
    (tmp_path / "all.yaml").write_text(f"{head}---\n{sandbox}")
    assert stage.cnm("plan", "--node", "here", str(tmp_path)).returncode == 0


@isolated
def test_silence_goes_back(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with stage.start("--timeout", "1") as process:
        text = process.communicate(timeout=60)[0]
    assert process.returncode == 3, text
    assert "nobody confirmed within 1 s" in text
    assert "Rolled back: the host is as it was before" in text
    stage.is_back()


@isolated
def test_a_killed_parent_goes_back(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with stage.start() as process:
        stage.waits()
        process.send_signal(signal.SIGKILL)
    stage.is_back()


@isolated
def test_a_closed_terminal_goes_back(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with terminal(stage) as (ours, _process):
        stage.waits()
        os.close(ours)
        stage.is_back()


@isolated
def test_a_failing_probe_goes_back(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with stage.start("--probe", "cmd:echo so says the probe >&2; false", "--probe-timeout", "1") as process:
        text = process.communicate(timeout=60)[0]
    assert (process.returncode, "so says the probe" in text) == (3, True), text
    stage.is_back()
    done = stage.cnm(
        "apply", "--yes", "--node", "here", "--probe", "ping:192.0.2.99", "--probe-timeout", "1", str(tmp_path)
    )
    assert (done.returncode, "probe ping:192.0.2.99" in done.stdout) == (3, True), done.stdout
    stage.is_back()


@isolated
def test_a_probe_that_fails_while_it_waits_goes_back(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    witness = tmp_path / "witness"
    witness.touch()
    with stage.start("--probe", f"cmd:test -e {witness}", "--probe-timeout", "1", "--timeout", "60") as process:
        stage.waits()
        witness.unlink()
        text = process.communicate(timeout=60)[0]
    assert (process.returncode, "test -e" in text) == (3, True), text
    stage.is_back()


@isolated
def test_keys_on_a_terminal(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    for key, status in ((b"n", 3), (b"\x03", 3), (b"x", 3), (b"y", 0)):  # x means nothing: silence
        with terminal(stage, "--timeout", "3" if key == b"x" else "60") as (ours, process):
            stage.waits()
            time.sleep(0.2)
            os.write(ours, key)
            text = drain(ours, process)
            assert process.returncode == status, (key, text)
        if status:
            stage.is_back()
    assert BRIDGE.exists()


@isolated
def test_reverted_from_elsewhere(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with stage.start() as process:
        stage.waits()
        assert stage.cnm("confirm", "--revert").returncode == 0
        assert process.wait(30) == 3
    stage.is_back()


@isolated
def test_when_the_guardian_is_killed_recover_goes_back(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with stage.start() as process:
        stage.waits()
        os.kill(guardian(process), signal.SIGKILL)
        text = process.communicate(timeout=60)[0]
    assert (process.returncode, "cnm recover" in text) == (5, True), text
    assert "guardian" in stage.cnm("confirm").stderr
    assert "was interrupted" in stage.cnm("plan", "--node", "here", str(tmp_path)).stderr
    done = stage.cnm("recover")
    assert (done.returncode, "was undone: try" in done.stderr) == (0, True), done.stderr
    stage.is_back()


@isolated
def test_the_guardian_depends_on_nothing_of_its_parent(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with stage.start() as process:
        stage.waits()
        number = guardian(process)
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        session, tty = int(fields[3]), int(fields[4])
        assert (session, tty) == (number, 0)
        assert {str(Path(f"/proc/{number}/fd/{fd}").readlink()) for fd in range(3)} == {"/dev/null"}
        assert Path(f"/proc/{number}/cwd").readlink() == Path("/")
        assert stage.cnm("confirm").returncode == 0
        assert process.wait(30) == 0
