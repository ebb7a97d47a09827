"""A change on trial: applied, then kept only if somebody says so in time.

The guardian is a process of its own, in a session of its own: it applies, holds the deadline and goes back. It does
not depend on the terminal, the ssh session or the process that started it; when that process ends, however it
does, the guardian goes back. When the guardian itself is killed, its journal is left for `cnm recover`.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from reconciler.engine.result import Planned, Report
from reconciler.errors import CnmError, LockError, UsageError
from reconciler.host.probe import Probe, wait_for

if TYPE_CHECKING:
    from reconciler.engine.controller import NetworkController
    from reconciler.engine.transaction import Transaction

CONFIRM, REVERT = b"confirm", b"revert"
PROBE_EVERY = 5.0  # seconds between rounds of probes while we wait
_LENGTH = struct.Struct("=I")


class Waiting(NamedTuple):
    """All is applied and holds: now somebody has to confirm, within ``seconds``."""

    seconds: float


class Ended(NamedTuple):
    """The trial is over. ``report.ok``: it was kept; else ``report.reason`` says why not. ``error`` instead of a
    report when it never began."""

    report: Report | None
    error: CnmError | None = None


class Trial:
    """The parent's end: ask :meth:`receive` what happens, tell the guardian what to do. Closing it, or dying,
    is telling it to go back."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self._channel = channel

    def fileno(self) -> int:
        """To wait on, for the next message."""
        return self._channel.fileno()

    def receive(self) -> Waiting | Ended:
        """The next message; blocks. Raises LockError when the guardian was killed."""
        header = _read(self._channel, _LENGTH.size)
        body = _read(self._channel, _LENGTH.unpack(header)[0]) if header else b""
        if not body:
            self.close()
            raise LockError("the guardian of this trial was killed; `cnm recover` puts the host back")
        message: Waiting | Ended = pickle.loads(body)  # noqa: S301 - from a fork of this very process
        return message

    def confirm(self) -> None:
        self._channel.send(CONFIRM)

    def revert(self) -> None:
        self._channel.send(REVERT)

    def close(self) -> None:
        self._channel.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def begin_trial(
    make: Callable[[], NetworkController],
    planned: Planned,
    *,
    timeout: float,
    probes: Sequence[Probe] = (),
    patience: float = 10.0,
) -> Trial:
    """Start a guardian. ``make`` gives it a controller of its own; probes have ``patience`` seconds to become good
    before they count as failed. For a process with one thread."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    pid = os.fork()
    if not pid:
        ours.close()
        _guard(theirs, make, planned, timeout, probes, patience)
    theirs.close()
    return Trial(pid, ours)


def _guard(
    channel: socket.socket,
    make: Callable[[], NetworkController],
    planned: Planned,
    timeout: float,
    probes: Sequence[Probe],
    patience: float,
) -> NoReturn:
    try:
        _detach(channel)
        with make() as controller:
            _Guardian(channel, controller, timeout, probes, patience).go(planned)
    except CnmError as error:
        _say(channel, Ended(None, error))
    except BaseException as error:
        _say(channel, Ended(None, CnmError(f"unexpected {type(error).__name__}: {error}")))
    finally:
        os._exit(0)


def _detach(channel: socket.socket) -> None:
    """A session of its own, no terminal, nothing open but the channel to the parent's end and what the plan came with."""
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTTOU, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        if fd != channel.fileno():
            os.dup2(null, fd)
    os.chdir("/")
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("-900")


class _Guardian:
    def __init__(
        self,
        channel: socket.socket,
        controller: NetworkController,
        timeout: float,
        probes: Sequence[Probe],
        patience: float,
    ) -> None:
        self._channel = channel
        self._controller = controller
        self._timeout = timeout
        self._probes = probes
        self._patience = patience
        self._ended = ""
        signal.signal(signal.SIGTERM, self._terminated)

    def _terminated(self, *_: object) -> None:
        self._ended = "the guardian was asked to end"

    def go(self, planned: Planned) -> None:
        controller = self._controller
        with controller.changing("try"):
            # This process has not looked at the host yet: a plan alone does not lead into its namespaces.
            run = controller.begin(planned, purpose="try", again=True, stop=self._stop)
            try:
                reason = ""
                confirmed_by: socket.socket | None = None
                if run.run():
                    reason = wait_for(self._probes, self._patience, self._stop) or self._stop()
                    if not reason:
                        reason, confirmed_by = self._wait(run)
                if run.holds and not reason:
                    controller.keep(run, planned)
                else:
                    run.undo(reason)
            except BaseException:
                run.undo("interrupted")
                raise
            report = run.report()
        controller.note(report, "try")
        if confirmed_by is not None:
            _answer(confirmed_by, _words(report))
        _say(self._channel, Ended(report))

    def _stop(self) -> str:
        """Why to go back at once, if there is a reason."""
        if self._ended:
            return self._ended
        if select.select([self._channel], [], [], 0)[0]:
            word = self._heard()
            if word != CONFIRM:  # nothing to confirm yet
                return _WHY[word]
        return ""

    def _heard(self) -> bytes:
        """What the parent's end says; nothing when it is gone."""
        try:
            return self._channel.recv(64)[: len(CONFIRM)].strip()
        except OSError:
            return b""

    def _wait(self, run: Transaction) -> tuple[str, socket.socket | None]:
        """(why to go back, or ""; who asked from elsewhere and wants an answer)."""
        with _door(self._controller.state_dir, self._controller.host.identity) as door:
            until = time.strftime("%H:%M:%SZ", time.gmtime(time.time() + self._timeout))
            self._controller.announce(f"try, which waits for `cnm confirm` until {until}")
            deadline = _now() + self._timeout
            probing = _now() + PROBE_EVERY
            _say(self._channel, Waiting(self._timeout))
            while True:
                left = min(deadline, probing if self._probes else deadline) - _now()
                ready = select.select([self._channel, door], [], [], max(left, 0))[0] if left > 0 else []
                if self._ended:
                    return self._ended, None
                if self._channel in ready:
                    word = self._heard()
                    return _WHY.get(word, ""), None
                if door in ready:
                    asked, _ = door.accept()
                    asked.settimeout(2)
                    with suppress(OSError):
                        word = asked.recv(64).strip()
                        if word in (CONFIRM, REVERT):
                            return ("" if word == CONFIRM else "reverted from elsewhere"), asked
                    asked.close()
                if _now() >= deadline:
                    return f"nobody confirmed within {self._timeout:.0f} s", None
                if self._probes and _now() >= probing:
                    reason = wait_for(self._probes, self._patience, self._stop)
                    if reason:
                        return reason, None
                    probing = _now() + PROBE_EVERY


_WHY = {
    CONFIRM: "",
    REVERT: "reverted by the user",
    b"": "the terminal, or the process that started this, is gone",
}


def _now() -> float:
    """Seconds since boot; a suspended machine's time counts."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _say(channel: socket.socket, message: Waiting | Ended) -> None:
    body = pickle.dumps(message)
    with suppress(OSError):  # nobody may be there any more
        channel.sendall(_LENGTH.pack(len(body)) + body)


def _read(channel: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        try:
            part = channel.recv(size - len(data))
        except ConnectionResetError:
            part = b""
        if not part:
            return b""
        data += part
    return data


@contextmanager
def _door(folder: Path, identity: str) -> Iterator[socket.socket]:
    """Where `cnm confirm` knocks. Only who owns the folder can."""
    name = f"try-{identity}"
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path = f"/proc/self/fd/{fd}/{name}"  # a socket's name has at most 107 bytes, a folder's may have more
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=fd)  # of a guardian that was killed: we hold the lock
        mask = os.umask(0o177)
        try:
            door.bind(path)
        finally:
            os.umask(mask)
        door.listen()
        yield door
    finally:
        door.close()
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=fd)
        os.close(fd)


def answer_trial(folder: Path, identity: str, *, confirm: bool, timeout: float = 60.0) -> tuple[bool, str]:
    """Tell the guardian of this host's trial to keep it, or to go back. (whether it did so, in words).
    Raises UsageError when nothing waits."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise UsageError("no change is on trial on this host") from None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
            knock.settimeout(timeout)
            knock.connect(f"/proc/self/fd/{fd}/try-{identity}")
            knock.send(CONFIRM if confirm else REVERT)
            text = knock.recv(65536).decode("utf-8", "replace")
    except FileNotFoundError:
        raise UsageError("no change is on trial on this host") from None
    except ConnectionRefusedError:
        raise UsageError("the guardian of the trial here was killed; `cnm recover` puts the host back") from None
    finally:
        os.close(fd)
    done, _, words = text.partition(" ")
    return done == "yes", words or "the guardian did not say what became of it"


def _words(report: Report) -> str:
    if report.ok:
        return "yes kept"
    if report.rollback is None:
        return f"no {'; '.join(map(str, report.failed)) or report.reason}"
    rest = "" if report.rollback.complete else "; not as it was: " + "; ".join(report.rollback.left)
    kept = "yes" if report.reason == "reverted from elsewhere" and report.rollback.complete else "no"
    return f"{kept} the host is as before ({report.reason}){rest}" if not rest else f"{kept} went back{rest}"


def _answer(asked: socket.socket, words: str) -> None:
    with suppress(OSError):
        asked.sendall(words.encode()[:65536])
    asked.close()
