"""Small files of the host, read without surprises."""

from __future__ import annotations

import os

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
