"""Small files of the host, read without surprises."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress

_LARGEST = 1 << 20


def read_small(path: str) -> str:
    """Up to a mebibyte of a text file; "" when it is absent or unreadable."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return os.read(fd, _LARGEST).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(fd)


def device_node(path: str) -> str:
    """``/dev/tap7 0:107 0660 (246:1)``: path, owner and group, mode, major and minor number; what is wrong with it, when it
    is not there or no character device (containers often have a /dev of their own, without it)."""
    try:
        found = os.stat(path)  # noqa: PTH116 - one call a device
    except OSError as error:
        return f"{path}: {error.strerror}"
    if not stat.S_ISCHR(found.st_mode):
        return f"{path} is no character device"
    number = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    return f"{path} {found.st_uid}:{found.st_gid} {stat.S_IMODE(found.st_mode):04o} ({number})"


def exists(path: str) -> bool:
    """Whether anything is there, be it a link to nowhere."""
    return os.path.lexists(path)


def below(folder: str) -> Iterator[str]:
    """The files one folder down, sorted; nothing when it is not there."""
    try:
        inner = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    for path in inner:
        with suppress(OSError):
            yield from sorted(entry.path for entry in os.scandir(path) if entry.is_file(follow_symlinks=False))


def write_in_place(path: str, text: str) -> None:
    """The same inode as before, its folder made where it is missing. Raises OSError."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)  # noqa: PTH103, PTH120 - many small files
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        data = text.encode()
        os.pwrite(fd, data, 0)
        os.ftruncate(fd, len(data))
    finally:
        os.close(fd)


def remove(path: str, folder: str) -> None:
    """Remove a file, and what is then empty up to and with ``folder``; absent is success. Raises OSError."""
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - many small files
    while (path := os.path.dirname(path)).startswith(folder):  # noqa: PTH120 - as above
        try:
            os.rmdir(path)  # noqa: PTH106 - as above
        except OSError:
            return
