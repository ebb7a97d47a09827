"""What comes, goes and changes in folders: inotify(7)."""

from __future__ import annotations

import ctypes
import os
from struct import Struct
from typing import NamedTuple

_IN_MODIFY, _IN_ATTRIB, _IN_CLOSE_WRITE, _IN_MOVED_FROM, _IN_MOVED_TO = 0x2, 0x4, 0x8, 0x40, 0x80
_IN_CREATE, _IN_DELETE, _IN_DELETE_SELF, _IN_MOVE_SELF = 0x100, 0x200, 0x400, 0x800
_IN_UNMOUNT, _IN_Q_OVERFLOW, _IN_IGNORED, _IN_ONLYDIR = 0x2000, 0x4000, 0x8000, 0x01000000
_IN_MASK_ADD, _IN_ISDIR = 0x20000000, 0x40000000
_ITSELF = _IN_DELETE_SELF | _IN_MOVE_SELF | _IN_UNMOUNT | _IN_IGNORED
_EVENT = Struct("=iIII")  # struct inotify_event: wd, mask, cookie, length of the name
_libc = ctypes.CDLL(None, use_errno=True)

NAMES = _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE
"""To hear which names were made, removed or moved in a folder."""
CONTENT = NAMES | _IN_MODIFY | _IN_ATTRIB | _IN_CLOSE_WRITE | _IN_DELETE_SELF | _IN_MOVE_SELF
"""To hear what is written into its files as well, and what becomes of the folder itself."""


class Stir(NamedTuple):
    """Something happened to ``name`` in a folder; ``folder``: that is a folder too. ``itself``: to the folder that was
    followed; it may be followed no longer."""

    number: int
    name: str
    folder: bool
    itself: bool


class Inotify:
    """Never waits. Raises OSError when the kernel gives no instance."""

    def __init__(self) -> None:
        fd: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)

    def follow(self, folder: str | os.PathLike[str], what: int = NAMES) -> int:
        """Hear of a folder, of this besides what was asked before; its number, the same whatever it was called by.
        Raises OSError when it is not there, or none more can be followed (fs.inotify.max_user_watches)."""
        number: int = _libc.inotify_add_watch(self._fd, os.fsencode(folder), what | _IN_ONLYDIR | _IN_MASK_ADD)
        if number < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), str(folder))
        return number

    def forget(self, number: int) -> None:
        """Hear of a folder no more; one that is gone is forgotten already."""
        _libc.inotify_rm_watch(self._fd, number)

    def heard(self) -> list[Stir] | None:
        """What happened since the last call; None when some of it was lost."""
        found: list[Stir] = []
        lost = False
        while True:
            try:
                data = os.read(self._fd, 65536)
            except BlockingIOError:
                return None if lost else found
            offset = 0
            while offset + 16 <= len(data):
                number, mask, _cookie, length = _EVENT.unpack_from(data, offset)
                lost = lost or bool(mask & _IN_Q_OVERFLOW)
                name = os.fsdecode(data[offset + 16 : offset + 16 + length].rstrip(b"\0"))
                found.append(Stir(number, name, bool(mask & _IN_ISDIR), bool(mask & _ITSELF)))
                offset += 16 + length
