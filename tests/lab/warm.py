"""A `cnm` for tests that starts in a tenth of the time: one process has imported it, and forks for each command.

``with Warm() as warm:`` makes a folder with a command named ``cnm``, for the front of $PATH (:attr:`Warm.environment`).
That command, a small one without imports, hands what makes it the process that it is to the one that is warm: its
arguments, environment, streams, folder and namespaces. There a child takes all of it on and runs the entry point. Signals
go there, its exit status (or the signal that ended it) comes back, and who kills the command kills the child.

What a fork cannot stand in for is left to the installed command, which then takes the small one's place: a terminal, a
tracer, other limits, another user namespace. What a fork hides, that the installed command is there and that each verb
imports what it needs, is shown where `cnm` is started as users start it: in the demonstration, in tests/cli, and in
tests/stories at the first use of each verb.
"""

from __future__ import annotations

import array
import atexit
import marshal
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from reconciler.host import libc
from tests.lab.host import ENVIRONMENT, ROOT
from tests.lab.ready import ready

NAMESPACES = ("pid", "ipc", "uts", "net", "mnt")  # in this order: a new process namespace is that of children only
FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
_STREAMS = 3
_WHOLE = 1 << 20  # bytes of a request: arguments and environment

# The small command. `_socket`, `_signal` and `posix` are in the interpreter: their namesakes cost ten times its start.
_COMMAND = """\
#!{python} -IS
import sys, marshal, posix, _signal, _socket
def own(name):
    with open('/proc/self/' + name) as file:
        return file.read()
special = (
    any(map(posix.isatty, range(3)))
    or 'TracerPid:\\t0\\n' not in own('status')
    or own('limits') != {limits!r}
    or posix.readlink('/proc/self/ns/user') != {user!r}
)
if special:
    posix.execve({cnm!r}, [{cnm!r}, *sys.argv[1:]], posix.environ)
umask = posix.umask(0)
fds = [0, 1, 2, posix.open('.', posix.O_RDONLY)]
fds += [posix.open('/proc/self/ns/' + name, posix.O_RDONLY) for name in {namespaces!r}]
warm = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
warm.connect({socket!r})
for number in {forwarded!r}:
    if _signal.getsignal(number) != _signal.SIG_IGN:
        _signal.signal(number, lambda number, frame: warm.send(bytes([number])))
rights = b''.join(fd.to_bytes(4, sys.byteorder) for fd in fds)
request = marshal.dumps((sys.argv[1:], posix.environ, umask))
warm.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, 2 * len(request))
warm.sendmsg([request], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
answer = warm.recv(4)
status = int.from_bytes(answer, sys.byteorder, signed=True) if answer else 125
if status < 0:
    _signal.signal(-status, _signal.SIG_DFL)
    posix.kill(posix.getpid(), -status)
posix._exit(status)
"""


class Warm:
    """The process that has imported `cnm`, and the folder with its command; both are gone after the block, and the
    process also when the one that started it is."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="cnm-warm.")
        folder = Path(self._folder.name)
        folder.chmod(0o755)
        address = folder / "socket"
        installed = Path(sys.executable).with_name("cnm")
        command = folder / "cnm"
        words = {
            "python": sys.executable,
            "cnm": str(installed),
            "socket": str(address),
            "limits": Path("/proc/self/limits").read_text(),
            "user": os.readlink("/proc/self/ns/user"),  # noqa: PTH115 - a link of the kernel's own sort
            "namespaces": NAMESPACES,
            "forwarded": tuple(map(int, FORWARDED)),
        }
        command.write_text(_COMMAND.format(**words))
        command.chmod(0o755)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.warm", str(address), str(installed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=ENVIRONMENT,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", "the warm cnm does not start; its words are above"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()  # closes its standard input, and waits
        self._folder.cleanup()

    @property
    def environment(self) -> Mapping[str, str]:
        """What is to be added to a command's environment."""
        return {"PATH": f"{self._folder.name}:{ENVIRONMENT['PATH']}"}


def _serve(address: str) -> tuple[list[str], dict[str, str], int, list[int]] | None:
    """Fork for each request until standard input ends. Returns in the child that shall be the command, with its
    arguments, environment, umask and open files; else None."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(address)
    listening.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    poll = select.poll()
    poll.register(listening, select.POLLIN)
    poll.register(0, select.POLLIN)
    while True:
        ready = dict(poll.poll())
        if 0 in ready:
            return None
        connection, _ = listening.accept()
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listening.close()
            return _attend(connection)
        connection.close()


def _attend(connection: socket.socket) -> tuple[list[str], dict[str, str], int, list[int]]:
    """Take one request; returns in a grandchild that is to serve it, while the child waits for its end and says so."""
    raw, rights, _, _ = connection.recvmsg(_WHOLE, socket.CMSG_SPACE(64))
    fds = array.array("i", rights[0][2])
    arguments, environment, umask = marshal.loads(raw)
    streams, spaces = fds[: _STREAMS + 1], fds[_STREAMS + 1 :]
    for name, fd in zip(NAMESPACES, spaces, strict=True):
        # One's own, as almost always for some of them, need not be entered; of the process namespace that is even an error
        # where it is not a descendant of one's own.
        if name != "mnt" and _foreign(name, fd):
            libc.setns(fd, 0)
    worker = os.fork()
    if not worker:
        connection.close()
        if _foreign("mnt", spaces[-1]):
            libc.setns(spaces[-1], 0)
        for fd in spaces:
            os.close(fd)
        return arguments, {os.fsdecode(k): os.fsdecode(v) for k, v in environment.items()}, umask, list(streams)
    for fd in fds:
        os.close(fd)
    ended = os.pidfd_open(worker)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(connection, select.POLLIN)
    while ended not in (ready := dict(poll.poll())):
        if connection.fileno() in ready:
            number = connection.recv(1)
            os.kill(worker, number[0] if number else signal.SIGKILL)
            if not number:
                poll.unregister(connection)
    status = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    try:
        connection.send(status.to_bytes(4, sys.byteorder, signed=True))
    finally:
        os._exit(0)


def _foreign(name: str, fd: int) -> bool:
    """Whether it is another namespace than this process's own."""
    return os.fstat(fd).st_ino != Path("/proc/self/ns", name).stat().st_ino


def _become(installed: str, arguments: list[str], environment: dict[str, str], umask: int, files: list[int]) -> None:
    """Make this process what one that was started with these would be."""
    os.setsid()
    for number, fd in enumerate(files[:_STREAMS]):
        os.dup2(fd, number)
    os.fchdir(files[_STREAMS])
    for fd in files:
        os.close(fd)
    os.umask(umask)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = [installed, *arguments]
    stream: Any
    for number, (name, mode, errors) in enumerate(
        (("stdin", "r", "strict"), ("stdout", "w", "strict"), ("stderr", "w", "backslashreplace"))
    ):
        stream = open(number, mode, errors=errors, closefd=False, buffering=1 if name == "stderr" else -1)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _run(installed: str) -> NoReturn:
    """The installed script's two lines, and what the interpreter does at its end, but for tearing down a thousand modules:
    in a child that shares their memory that takes longer than most commands."""
    module = sys.modules["__main__"]
    module.__file__, module.__spec__, module.__package__ = installed, None, None
    from reconciler.cli.main import main

    status: object = 1
    try:
        main()
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as the interpreter does
    atexit._run_exitfuncs()
    if not isinstance(status, int | None):
        print(status, file=sys.stderr)
        status = 1
    try:
        sys.stdout.flush()
    except OSError as error:
        print(error, file=sys.stderr)
        status = 120  # as the interpreter has it
    sys.stderr.flush()
    os._exit(status or 0)


if __name__ == "__main__":
    ready()
    address, installed = sys.argv[1:]
    task = _serve(address)
    if task is not None:
        _become(installed, *task)
        _run(installed)
