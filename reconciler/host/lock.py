"""One lock a host: only one cnm changes it at a time."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from reconciler.errors import LockError


class HostLock:
    """A context manager. The kernel gives the lock back when its holder dies, so there is no stale lock; what
    is written into the file only tells people who holds it. Raises LockError when it is taken."""

    def __init__(self, folder: Path, identity: str, owner: str, purpose: str) -> None:
        self.path = folder / f"lock-{identity}"
        self._about = {
            "pid": os.getpid(),
            "owner": owner,
            "purpose": purpose,
            "since": time.strftime("%FT%TZ", time.gmtime()),
        }
        self._fd = -1

    def __enter__(self) -> Self:
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held = _holder(fd)
                os.close(fd)
                raise LockError(f"another cnm is changing this host: {held}; try again when it is done") from None
            # The last holder removes the file: make sure that the one we hold still has the name.
            try:
                same = os.fstat(fd).st_ino == self.path.stat().st_ino
            except FileNotFoundError:
                same = False
            if same:
                break
            os.close(fd)
        os.truncate(fd, 0)
        os.write(fd, json.dumps(self._about).encode())
        self._fd = fd
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self._fd)
        try:
            self.path.parent.rmdir()
        except OSError:
            return  # other files of ours are in it


def _holder(fd: int) -> str:
    try:
        about = json.loads(os.read(fd, 4096))
        return f"process {about['pid']} ({about['purpose']}, owner {about['owner']}) since {about['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "its holder did not say who it is"
