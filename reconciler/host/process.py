"""Processes that outlive us: started detached, known again by a mark in their environment, ended by descriptor.

The mark ``CNM_PROCESS=OWNER/HOST/NAME`` proves whose a process is: its environment is written when it is started, and
others cannot change it. A small file beside its socket says which process it is, so that nobody has to look through
/proc; where that file is lost, /proc is looked through.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from reconciler.host.files import read_small
from reconciler.host.programs import PROGRAMS

_MARK = "CNM_PROCESS"
_START, _MOMENT, _END = 20.0, 0.2, 5.0  # seconds
_SCRIPTS = 10  # processes that one may have started, one from the other


class Running(NamedTuple):
    """A process of ours that runs."""

    pid: int
    netns: str
    program: str
    arguments: tuple[str, ...]
    dev: str = ""  # the interface that it works on


def find(runtime: Path, mark: str, name: str, *, search: bool) -> Running | None:
    """The process of this name; None when it does not run. ``search``: also where its file is lost."""
    found = _noted(runtime, name)
    if found is None:
        return _search(f"{mark}/{name}") if search else None
    return found if _marked(found.pid, f"{mark}/{name}") else None


def left(runtime: Path, name: str) -> Running | None:
    """What is known of one that does not run any more, where it left something behind."""
    return _noted(runtime, name) if (runtime / f"{name}.lease").exists() else None


def _noted(runtime: Path, name: str) -> Running | None:
    """What the file beside its socket says, whether it runs or not."""
    try:
        note = json.loads(read_small(str(runtime / f"{name}.pid")) or "{}")
        arguments = tuple(map(str, note["arguments"]))
        return Running(int(note["pid"]), str(note["netns"]), str(note["program"]), arguments, str(note.get("dev", "")))
    except (ValueError, KeyError, TypeError):
        return None


def _search(mark: str) -> Running | None:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and _marked(int(entry.name), mark):
            said = dict(_environment(int(entry.name)))
            with suppress(ValueError):
                arguments = tuple(map(str, json.loads(said[f"{_MARK}_ARGUMENTS"])))
                netns, program = said[f"{_MARK}_NETNS"], said[f"{_MARK}_PROGRAM"]
                return Running(int(entry.name), netns, program, arguments, said.get(f"{_MARK}_DEV", ""))
    return None


def _environment(pid: int) -> list[tuple[str, str]]:
    items = (item.partition("=") for item in read_small(f"/proc/{pid}/environ").split("\0"))
    return [(name, value) for name, _, value in items]


def _marked(pid: int, mark: str) -> bool:
    return (_MARK, mark) in _environment(pid)


def start(
    runtime: Path, mark: str, name: str, netns: str, program: str, arguments: Sequence[str], dev: str = ""
) -> None:
    """Start it in the network namespace of the calling thread, which is that of ``netns``, and wait until it serves.
    Raises OSError with its last words when it does not."""
    known = PROGRAMS[program]
    runtime.mkdir(mode=0o755, parents=True, exist_ok=True)
    environment = {
        **_environment_of(mark, name),
        f"{_MARK}_NETNS": netns,
        f"{_MARK}_PROGRAM": program,
        f"{_MARK}_ARGUMENTS": json.dumps(list(arguments)),
        f"{_MARK}_DEV": dev,
    }
    log = runtime / f"{name}.log"
    with _notifications(runtime / f"{name}.notify") as heard, log.open("w") as words:
        environment["NOTIFY_SOCKET"] = str(runtime / f"{name}.notify")
        process = subprocess.Popen(  # noqa: S603 - a program of PROGRAMS
            [*known.command, str(runtime), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=words,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
        note: dict[str, Any] = {"pid": process.pid, "netns": netns, "program": program, "dev": dev}
        note["arguments"] = list(arguments)
        (runtime / f"{name}.pid").write_text(json.dumps(note))
        ready = _wait(process.pid, heard, _START if known.notifies else _MOMENT) == known.notifies
    if not ready or process.poll() is not None:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
        (runtime / f"{name}.pid").unlink(missing_ok=True)
        said = log.read_text(errors="replace").strip().splitlines()
        raise OSError(5, said[-1] if said else f"{program} ended at once, or did not say that it serves")
    process.returncode = 0  # it is not ours to wait for any more: keeps the interpreter from complaining


def _environment_of(mark: str, name: str) -> dict[str, str]:
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", _MARK: f"{mark}/{name}"}


class _notifications:  # noqa: N801 - reads as what it is, in a with statement
    """A socket that hears sd_notify(3)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def __enter__(self) -> socket.socket:
        self._path.unlink(missing_ok=True)
        self._socket.bind(str(self._path))
        return self._socket

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)


def _wait(pid: int, heard: socket.socket, seconds: float) -> bool:
    """Whether READY=1 came before the process ended or the time was up."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        found = select.select([heard.fileno(), pidfd], [], [], seconds)[0]
        return heard.fileno() in found and b"READY=1" in heard.recv(4096)
    finally:
        os.close(pidfd)


def undo(runtime: Path, mark: str, name: str) -> None:
    """Take away what one left that was ended before it could. In the network namespace of the calling thread, which is that
    where it ran. Raises OSError with the last words of what was to do it."""
    gone = left(runtime, name)
    if gone is None or not PROGRAMS[gone.program].undo:
        return
    for _ in range(_SCRIPTS):  # what it had started may have outlived it, and still be at work
        child = _search(f"{mark}/{name}")
        if child is None:
            break
        _stop(child.pid, f"{mark}/{name}")
    done = subprocess.run(  # noqa: S603 - a program of PROGRAMS
        [*PROGRAMS[gone.program].undo, str(runtime), *gone.arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=_environment_of(mark, name),
    )
    if done.returncode:
        raise OSError(5, (done.stderr.strip().splitlines() or [f"{name}: ended with {done.returncode}"])[-1])


def end(runtime: Path, mark: str, name: str) -> None:
    """End it: SIGTERM, and after five seconds SIGKILL. Absent is success."""
    running = find(runtime, mark, name, search=True)
    if running is not None:
        _stop(running.pid, f"{mark}/{name}")


def _stop(pid: int, mark: str) -> None:
    with suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            if _marked(pid, mark):  # still the one that we looked at
                signal.pidfd_send_signal(pidfd, signal.SIGTERM)
                if not select.select([pidfd], [], [], _END)[0]:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    select.select([pidfd], [], [], _END)
        finally:
            os.close(pidfd)
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def forget(runtime: Path, name: str) -> None:
    """Remove the files of one that has ended."""
    for suffix in ("pid", "log", "socket", "lease", "lease.new"):
        (runtime / f"{name}.{suffix}").unlink(missing_ok=True)
    with suppress(OSError):
        runtime.rmdir()
