"""Docker's daemon on a private host, with an image of busybox alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tarfile
import time
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import Self

from tests.kernel.private import answers, run

_FOLDER = Path("/run/dockerd")


class Dockerd:
    """Runs for the length of the block. It makes no network of its own: containers are attached by others."""

    def __init__(self) -> None:
        self._group = f"/cnm-test-{token_hex(6)}"
        self._process: subprocess.Popen[bytes] | None = None
        _FOLDER.mkdir()

    def start(self) -> None:
        argv = ["dockerd", f"--data-root={_FOLDER}/data", f"--exec-root={_FOLDER}/exec", f"--pidfile={_FOLDER}/pid",
                "--host=unix:///run/docker.sock", "--storage-driver=vfs", "--bridge=none", "--iptables=false",
                "--ip-forward=false", f"--cgroup-parent={self._group}", "--exec-opt=native.cgroupdriver=cgroupfs"]  # fmt: skip
        Path(_FOLDER, "pid").unlink(missing_ok=True)
        with Path(_FOLDER, "log").open("ab") as log:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not answers("docker", "-H", "unix:///run/docker.sock", "version"):
            assert self._process.poll() is None, Path(_FOLDER, "log").read_text()[-3000:]
            assert time.monotonic() < deadline, "dockerd does not answer"
            time.sleep(0.1)

    def kill(self) -> None:
        """The daemon and its containerd, as if they had crashed; containers go on. In a private host of ours, where what
        loses its parent becomes our child."""
        assert self._process is not None
        inner = int(Path(_FOLDER, "exec/containerd/containerd.pid").read_text())
        self._process.kill()
        self._process.wait()
        with suppress(ProcessLookupError):
            os.kill(inner, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(inner, 0)

    def __enter__(self) -> Self:
        self.start()
        self("import", str(_image()), "box")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(AssertionError):
            self("rm", "--force", *self("ps", "--all", "--quiet").split())
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
        deadline = time.monotonic() + 5
        while (folders := self._groups()) and time.monotonic() < deadline:
            for folder in folders:  # what is in them is in the private host too: nobody else's
                for pid in map(int, (folder / "cgroup.procs").read_text().split()):
                    with suppress(ProcessLookupError):
                        if pid:  # 0: one that is not of our process namespace
                            os.kill(pid, signal.SIGKILL)
                with suppress(OSError):
                    folder.rmdir()
            time.sleep(0.05)

    def _groups(self) -> list[Path]:
        """The control groups of its containers, in every hierarchy, inner ones first."""
        roots = [*Path("/sys/fs/cgroup").glob(f"*{self._group}"), Path(f"/sys/fs/cgroup{self._group}")]
        return sorted((path for root in roots for path in (root, *root.rglob("*")) if path.is_dir()), reverse=True)

    def __call__(self, *words: str) -> str:
        """A command of docker(1)."""
        return run("docker", "-H", "unix:///run/docker.sock", *words).strip()

    def sleeper(self, name: str) -> None:
        """A container that does nothing, without a network."""
        self("run", "--detach", "--name", name, "--network", "none", "box", "/bin/busybox", "sleep", "600")


def _image() -> Path:
    """A tar of busybox and what it is linked with."""
    busybox = Path(str(shutil.which("busybox"))).resolve()
    words = subprocess.run(["ldd", str(busybox)], capture_output=True, text=True, check=False).stdout.split()
    path = _FOLDER / "box.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(busybox, "bin/busybox")
        for library in {word for word in words if word.startswith("/") and os.path.exists(word)}:  # noqa: PTH110 - plain words
            tar.add(os.path.realpath(library), library.lstrip("/"))
    return path
