"""What comes and goes in a folder: inotify(7)."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from struct import Struct

_IN_MOVED_FROM, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE, _IN_Q_OVERFLOW = 0x40, 0x80, 0x100, 0x200, 0x4000
_EVENT = Struct("=iIII")  # struct inotify_event: wd, mask, cookie, length of the name
_libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """Names that were made, removed or moved in one folder. Raises OSError when the folder is not there."""

    def __init__(self, folder: Path) -> None:
        fd: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        mask = _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE
        if _libc.inotify_add_watch(fd, os.fsencode(folder), mask) < 0:
            number = ctypes.get_errno()
            os.close(fd)
            raise OSError(number, os.strerror(number), str(folder))
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)

    def names(self) -> set[str] | None:
        """Those since the last call; None when some were lost."""
        found: set[str] = set()
        lost = False
        while True:
            try:
                data = os.read(self._fd, 65536)
            except BlockingIOError:
                return None if lost else found
            offset = 0
            while offset + 16 <= len(data):
                _watch, mask, _cookie, length = _EVENT.unpack_from(data, offset)
                lost = lost or bool(mask & _IN_Q_OVERFLOW)
                found.add(os.fsdecode(data[offset + 16 : offset + 16 + length].rstrip(b"\0")))
                offset += 16 + length
