"""A test body on a host of its own: forked into fresh network and mount namespaces that die with it."""

from __future__ import annotations

import ctypes
import functools
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from reconciler.host import libc
from reconciler.host.rtnl import Rtnl
from reconciler.netlink.link import set_link
from tests.lab.ready import ready

Test = TypeVar("Test", bound=Callable[..., Any])
_PR_SET_PDEATHSIG = 1
_SETUP = os.environ.get("CNM_HOST_SETUP", "")  # shell commands that make each private host unlike a fresh one
_CLONE_NEWPID = 0x20000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def isolated(test: Test) -> Test:
    """Run the test in a child process that has its own network and process namespaces, /run, /etc and /var/lib.

    The namespaces have no name, so they vanish with the child, however it ends; the child dies with pytest, and
    with it whatever it started, daemons too.
    """

    @functools.wraps(test)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        ready()
        readable, writable = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = _fork()
        if not pid:
            os.close(readable)
            _child(writable, lambda: test(*args, **kwargs))
        os.close(writable)
        with os.fdopen(readable, "rb") as pipe:
            answer = pipe.read()
        os.waitpid(pid, 0)
        kind, text = pickle.loads(answer) if answer else ("failed", "the child died without a word")
        if kind == "skipped":
            pytest.skip(text)
        if kind == "failed":
            pytest.fail(text, pytrace=False)

    return wrapper  # type: ignore[return-value]  # the same parameters


@functools.cache
def _own_processes() -> int | None:
    """Our process namespace, open; None where this thread may not come back to it, as in a user namespace."""
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc.setns(own, _CLONE_NEWPID)
    except OSError:
        os.close(own)
        return None
    return own


def _fork() -> int:
    """fork(2) into a new process namespace: the child is its first process, and when that ends, all in there end. A large
    Python takes 20 ms of processor time to fork, so a second one between us is used only where it must be."""
    own = _own_processes()
    if own is None:
        pid = os.fork()
        if pid:
            return pid
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.unshare(_CLONE_NEWPID)
        inner = os.fork()
        if inner:
            os.closerange(3, 1 << 16)
            os.waitpid(inner, 0)
            os._exit(0)
        return inner
    libc.unshare(_CLONE_NEWPID)  # of this thread's children
    try:
        pid = os.fork()
    except BaseException:
        libc.setns(own, _CLONE_NEWPID)
        raise
    if pid:
        libc.setns(own, _CLONE_NEWPID)
    return pid


def _child(writable: int, body: Callable[[], Any]) -> None:
    answer = ("passed", "")
    try:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.unshare(libc.CLONE_NEWNET | libc.CLONE_NEWNS)
        libc.mount("none", "/", libc.MS_REC | libc.MS_PRIVATE)
        _mount("proc", "/proc")
        _mount("tmpfs", "/run")
        for folder, own in (("/etc", "/run/etc"), ("/var/lib", "/run/var")):
            for part in ("upper", "work"):
                Path(own, part).mkdir(parents=True)
            if folder == "/etc":  # ours to write also where root is root in a user namespace only
                Path(own, "upper/resolv.conf").write_bytes(Path("/etc/resolv.conf").read_bytes())
            layers = f"lowerdir={folder},upperdir={own}/upper,workdir={own}/work"
            _mount("overlay", folder, layers)
        Rtnl().send([set_link(1, up=True)])
        if _SETUP:
            run("sh", "-ec", _SETUP)
        body()
    except pytest.skip.Exception as reason:
        answer = ("skipped", str(reason))
    except BaseException:
        answer = ("failed", traceback.format_exc())
    try:
        os.write(writable, pickle.dumps(answer))
    finally:  # where nobody listens any more, it must not go on as a second pytest either
        os._exit(0)


def _mount(kind: str, target: str, options: str = "") -> None:
    """mount(2), and not mount(8): some two thousand tests do this four times each."""
    if _LIBC.mount(kind.encode(), target.encode(), kind.encode(), 0, options.encode()):
        raise OSError(ctypes.get_errno(), f"{kind} cannot be mounted on {target}")


def run(*argv: str, check: bool = True, stdin: str | None = None) -> str:
    """A command's standard output; AssertionError with its words when it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, input=stdin, check=False)
    assert not check or done.returncode == 0, f"{' '.join(argv)}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def answers(*argv: str) -> bool:
    """Whether a command succeeds."""
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0
