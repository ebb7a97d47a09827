"""Who applied what when: one JSON object a line, in a file that is kept small.

It outlives a reboot, so it is named by the host rather than by its boot: ``host`` for the machine's first network
namespace, else the namespace's identity.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from reconciler.errors import StateError
from reconciler.host.line import line

FORMAT_VERSION = 1
LASTING_FOLDER = Path("/var/lib/cnm")
LARGEST = 1 << 20  # bytes; past this the older half goes
_LONGEST = 16 << 10  # bytes of one entry


def history_path(folder: Path, name: str) -> str:
    return f"{folder}/history-{name}.jsonl"


def who() -> dict[str, Any]:
    """The person and program behind this process: what sudo says of a person is believed, since it ran us."""
    return dict(_who(os.getpid()))


@lru_cache(maxsize=1)
def _who(pid: int) -> dict[str, Any]:
    """Nothing of it changes in the life of a process."""
    found: dict[str, Any] = {"uid": os.getuid(), "pid": pid}
    person = os.environ.get("SUDO_USER") or os.environ.get("USER") or os.environ.get("LOGNAME")
    if person:
        found["user"] = person[:64]
    with suppress(OSError, ValueError):
        login = int(Path("/proc/self/loginuid").read_text())
        if login != 0xFFFFFFFF:
            found["login_uid"] = login
    return found


def append(path: str, entry: dict[str, Any]) -> None:
    """Add an entry, with time and author. Raises OSError."""
    text = line({"format_version": FORMAT_VERSION, "time": _now(), "by": who(), **entry})
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + b"\n"
    with _locked(path) as fd:
        if os.fstat(fd).st_size + len(text) > LARGEST:
            _halve(Path(path), fd, text)
        else:
            os.write(fd, text)


def _halve(path: Path, fd: int, text: bytes) -> None:
    """Keep the newer half. Others who wait for the file see that it is another one and open it again."""
    kept = os.pread(fd, LARGEST, max(0, os.fstat(fd).st_size - LARGEST // 2)).partition(b"\n")[2]
    draft = path.with_suffix(".new")
    with draft.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(kept + text)
    draft.replace(path)


@contextmanager
def _locked(path: str) -> Iterator[int]:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        try:
            fd = os.open(path, flags, 0o600)
        except FileNotFoundError:
            Path(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            fd = os.open(path, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.fstat(fd).st_ino == os.stat(path).st_ino:  # noqa: PTH116 - not a Path
                    yield fd
                    return
        finally:
            os.close(fd)


def read(path: str, last: int = 0) -> list[dict[str, Any]]:
    """Entries, oldest first; the ``last`` so many, 0 for all. What cannot be read as an entry is left out. Raises
    StateError."""
    try:
        lines = Path(path).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    found = []
    for text in lines[-last:] if last else lines:
        with suppress(ValueError):
            entry = json.loads(text)
            if isinstance(entry, dict) and entry.get("format_version") == FORMAT_VERSION:
                found.append(entry)
    return found


def _now() -> str:
    return time.strftime("%FT%TZ", time.gmtime())
