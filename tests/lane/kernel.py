"""Which kernel the lane runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


class NoKernel(Exception):  # noqa: N818 - a state
    """There is no lane kernel; the message says what to do."""


def cache() -> Path:
    """Where built kernels are kept: $XDG_CACHE_HOME/cnm-lane, by default ~/.cache/cnm-lane."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cnm-lane"


def recipe() -> str:
    """A name for all that a kernel is built from here: its configuration, patch and script (SHA-256, 12 digits)."""
    content = b"".join((HERE / name).read_bytes() for name in ("kernel.config", "xstate.patch", "build"))
    return hashlib.sha256(content).hexdigest()[:12]


def kernel() -> Path:
    """The kernel to use: $CNM_LANE_KERNEL, else the one that `make lane` built from the recipe as it is now.
    Raises NoKernel."""
    chosen = os.environ.get("CNM_LANE_KERNEL")
    if chosen:
        path = Path(chosen)
        if not os.access(path, os.X_OK):
            raise NoKernel(f"CNM_LANE_KERNEL names {chosen}, which is not there or cannot be executed")
        return path.resolve()
    built = sorted(cache().glob(f"linux-*-{recipe()}"), key=lambda path: path.stat().st_mtime)
    if not built:
        raise NoKernel("there is no lane kernel: build one with `make lane`, or name one with CNM_LANE_KERNEL")
    return built[-1]


def qemu() -> Path:
    """The folder with QEMU's kernel, modules and initial RAM disk. Raises NoKernel, which says what is missing."""
    folder = cache() / "qemu"
    if not shutil.which("qemu-system-x86_64"):
        raise NoKernel("QEMU is missing: `tests/lane/qemu-setup DIR`, which `make test-sriov` runs, installs it")
    if not (folder / "stamp").exists():
        raise NoKernel(f"there is no kernel for QEMU in {folder}: `make test-sriov` unpacks one")
    return folder


def main() -> int:
    """``make lane``: build the kernel unless it is there, and print its path."""
    return subprocess.run([HERE / "build", cache(), recipe()], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
