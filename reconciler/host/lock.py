"""One lock a host: only one cnm changes it at a time."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from reconciler.errors import LockError, StateError
from reconciler.host.line import line

_LARGEST = 4096


class HostLock:
    """A context manager. The kernel gives the lock back when its holder dies, so there is no stale lock; what
    is written into the file tells people who holds it, and whoever takes it next that somebody was here. It lies in
    the same folder whatever the owner and the state folder, and stays there, unless ``vanish`` is set: when
    everything of ours was removed.

    Raises LockError when it is taken, StateError when the folder cannot be used.
    """

    def __init__(self, folder: Path, identity: str, owner: str, purpose: str) -> None:
        self.path = _path(folder, identity)
        self._about = {
            "pid": os.getpid(),
            "owner": owner,
            "purpose": purpose,
            "since": time.strftime("%FT%TZ", time.gmtime()),
        }
        self._fd = -1
        self._runs = 0
        self.vanish = False
        self._current: frozenset[bytes] = frozenset()

    @staticmethod
    def stamp(folder: Path, identity: str) -> bytes:
        """What changes whenever somebody begins to change the host: take it before you look, and ask
        :meth:`unchanged` when you hold the lock. Writes nothing."""
        try:
            fd = os.open(_path(folder, identity), os.O_RDONLY | os.O_CLOEXEC)
            try:
                return os.read(fd, _LARGEST)
            finally:
                os.close(fd)
        except OSError:
            return b""

    def unchanged(self, stamp: bytes) -> bool:
        """Whether nobody, we neither, has begun to change the host since that stamp was taken."""
        return stamp in self._current

    def __enter__(self) -> Self:
        try:
            while not self._take():
                os.close(self._fd)
            before = os.pread(self._fd, _LARGEST, 0)
            self._runs = _number(before)
            self._write()
            self._current |= {before}
        except BlockingIOError:
            held = _holder(self._fd)
            os.close(self._fd)
            raise LockError(f"another cnm is changing this host: {held}; try again when it is done") from None
        except OSError as error:
            if self._fd >= 0:
                os.close(self._fd)
            raise StateError(f"{self.path}: {error.strerror}; without a lock nothing is changed") from None
        return self

    def _take(self) -> bool:
        """False when the file was removed while we opened it."""
        self._fd = -1
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:  # nobody but its owner may open it: who can open it can lock it
            self._fd = os.open(self.path, flags, 0o600)
        except FileNotFoundError:
            Path(self.path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._fd = os.open(self.path, flags, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            return os.fstat(self._fd).st_ino == os.stat(self.path).st_ino  # noqa: PTH116 - not a Path
        except FileNotFoundError:
            return False

    def begin(self, purpose: str) -> None:
        """Say what is done now; every stamp that was taken before is old from here on. Raises OSError."""
        self._about["purpose"] = purpose
        self._write()

    def _write(self) -> None:
        self._runs += 1
        text = line({**self._about, "run": self._runs})
        os.pwrite(self._fd, text, 0)
        os.truncate(self._fd, len(text))
        self._current = frozenset((text,))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.vanish:
            with suppress(OSError):
                Path(self.path).unlink(missing_ok=True)
                Path(self.path).parent.rmdir()  # unless there is something else in it
        os.close(self._fd)


def _path(folder: Path, identity: str) -> str:
    return f"{folder}/lock-{identity}"


def _number(text: bytes) -> int:
    try:
        return int(msgspec.json.decode(text)["run"])
    except (msgspec.DecodeError, ValueError, KeyError, TypeError):
        return 0


def _holder(fd: int) -> str:
    try:
        about = msgspec.json.decode(os.pread(fd, _LARGEST, 0))
        return f"process {about['pid']} ({about['purpose']}, owner {about['owner']}) since {about['since']}"
    except (msgspec.DecodeError, OSError, KeyError, TypeError):
        return "its holder did not say who it is"
