"""Small files of the host, read without surprises."""

from __future__ import annotations

import os
import stat

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
