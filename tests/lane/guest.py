"""Run one command on another kernel, over this machine's own files: ``python -m tests.lane.guest [OPTION...] CMD...``

The command runs as root with the folder, environment and files of this machine. Its standard output, standard error
and exit status are passed on. Underneath, the files are read-only; what the command writes goes to the guest's memory
and is lost, but for what it leaves in ``$CNM_LANE_KEEP``. A guest has one CPU, no network but ``lo``, and starts in
less than a second.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from reconciler.host import libc
from tests.lane.kernel import NoKernel
from tests.lane.machine import Machine
from tests.lane.machine import command as machine_command
from tests.lane.relay import send

_PREFIX = "cnm-guest."
_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1
_BROKEN = 125  # our own exit status when the guest did not get as far as the command's

_libc = ctypes.CDLL(None, use_errno=True)


class Broken(Exception):  # noqa: N818 - it is the guest that is broken
    """A guest died, or was ended, before its command did; the message is what its console said."""


class Job:
    """A folder shared with a guest: ``command`` goes in; ``ready``, ``status`` and ``keep/`` come out."""

    def __init__(self, command: Sequence[str], machine: Machine, *, stdin: bool) -> None:
        _sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        for name in ("keep", "memory"):
            (self.folder / name).mkdir()
        for name in ("init", "relay.py"):
            shutil.copy(Path(__file__).with_name(name), self.folder)
        environment = {name: value for name, value in os.environ.items() if name.isidentifier()}
        environment |= {"CNM_LANE": machine, "CNM_LANE_KEEP": "/run/lane/keep"}
        if not sys.stdout.isatty():
            environment["TERM"] = "dumb"  # inside, it is one: a serial line
        lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
        python, folder = shlex.quote(sys.executable), shlex.quote(str(Path.cwd()))
        relayed = f"mkfifo /run/stdin; {python} /run/lane/relay.py <&3 >/run/stdin & exec </run/stdin 5>&-"
        lines += [
            relayed if stdin else "exec </dev/null 5>&-",
            "exec 3>&- 4>&-",
            f"cd {folder}",
            f"exec {shlex.join(command)}",
        ]
        (self.folder / "command").write_text("\n".join(lines) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)

    def status(self) -> int:
        """The command's exit status. Raises Broken when there is none."""
        try:
            return int((self.folder / "status").read_text())
        except (OSError, ValueError):
            raise Broken((self.folder / "console").read_text(errors="replace")) from None


def _sweep() -> None:
    """Remove the folders of jobs whose process was killed: those that nobody holds a lock on
    a minute after they were made."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # somebody else's, or gone just now
            if time.time() - folder.stat().st_mtime < 60:
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def fence(folder: Path) -> None:
    """Make every file of this machine read-only for this process and what it starts, but for those in ``folder``:
    a guest's root may remount what it likes and still changes nothing here. It dies with its parent. Raises OSError."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.geteuid():
        maps = {"setgroups": "deny", "uid_map": f"0 {os.geteuid()} 1", "gid_map": f"0 {os.getegid()} 1"}
        libc.unshare(_CLONE_NEWUSER | libc.CLONE_NEWNS)
        for name, text in maps.items():
            Path("/proc/self", name).write_text(text)
    else:
        libc.unshare(libc.CLONE_NEWNS)
    libc.mount("none", "/", libc.MS_REC | libc.MS_PRIVATE)
    _read_only("/", True)
    libc.mount(str(folder), str(folder), libc.MS_BIND)
    _read_only(str(folder), False)
    # The guest's memory is a file, which must be neither on a disk nor on a file system without programs.
    if _libc.mount(b"tmpfs", os.fsencode(folder / "memory"), b"tmpfs", 0, b"size=100%"):
        raise OSError(ctypes.get_errno(), "no tmpfs for the guest's memory")


def _read_only(path: str, on: bool) -> None:
    """mount_setattr(2): on for a whole tree of mounts, off for one."""
    change = (ctypes.c_uint64 * 4)(*((_MOUNT_ATTR_RDONLY, 0) if on else (0, _MOUNT_ATTR_RDONLY)))
    flags = _AT_RECURSIVE if on else 0
    if _libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(path), flags, change, ctypes.sizeof(change)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)


def run(
    machine: Machine,
    command: Sequence[str],
    *,
    memory: str = "2G",
    timeout: float = 3600,
    stdin: bool = False,
    keep: Path | None = None,
) -> int:
    """Run ``command`` in a guest and return its exit status. ``timeout`` in seconds; ``stdin``: pass on standard
    input (else it is empty). Raises NoKernel, Broken, and OSError."""
    with Job(command, machine, stdin=stdin) as job, (job.folder / "console").open("wb") as console:
        errors, answers = os.pipe(), os.pipe()
        outputs = (errors[1], answers[1])
        guest = subprocess.Popen(
            machine_command(machine, job.folder, memory, console.fileno(), outputs),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=console,
            env={**os.environ, "TMPDIR": str(job.folder / "memory")},
            pass_fds=(console.fileno(), *outputs),
            preexec_fn=lambda: fence(job.folder),
        )
        for fd in outputs:
            os.close(fd)
        assert guest.stdin
        assert guest.stdout
        pumps = [
            threading.Thread(target=_pump, args=(source, sink))
            for source, sink in ((guest.stdout.fileno(), 1), (errors[0], 2))
        ]
        for pump in pumps:
            pump.start()
        if stdin:
            feed = (job.folder / "ready", guest.stdin.fileno(), answers[0])
            threading.Thread(target=_feed, args=feed, daemon=True).start()
        try:
            guest.wait(timeout)
        except subprocess.TimeoutExpired:
            print(f"lane: the guest is ended after {timeout:.0f} s", file=sys.stderr)
        finally:
            guest.kill()
            guest.wait()
            for pump in pumps:
                pump.join()
        if keep:
            shutil.copytree(job.folder / "keep", keep, dirs_exist_ok=True)
        return job.status()


def _pump(source: int, sink: int) -> None:
    while data := os.read(source, 65536):
        while data:
            data = data[os.write(sink, data) :]


def _feed(ready: Path, frames: int, answers: int) -> None:
    """Standard input to the guest, from when its line is raw."""
    while not ready.exists():
        time.sleep(0.02)
    with suppress(OSError):  # the guest has ended
        send(0, frames, answers)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.lane.guest", description=__doc__.partition("\n")[0])
    parser.add_argument("--machine", type=Machine, default=Machine.UML, help=f"{' or '.join(Machine)} (default uml)")
    parser.add_argument("--stdin", action="store_true", help="pass on standard input")
    parser.add_argument("--memory", default="2G", help="the guest's memory (default 2G)")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds (default 3600)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="copy what is left in $CNM_LANE_KEEP to DIR")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args(argv)
    if not given.command:
        parser.error("which command?")
    try:
        return run(
            given.machine, given.command, memory=given.memory, timeout=given.timeout, stdin=given.stdin, keep=given.keep
        )
    except (NoKernel, Broken) as error:
        print(f"lane: {error}", file=sys.stderr)
        return _BROKEN


if __name__ == "__main__":
    sys.exit(main())
