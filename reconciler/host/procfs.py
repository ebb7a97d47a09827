"""Where the sysctls of other namespaces are read and written: instances of procfs that nobody else uses.

The kernel keeps one cache entry for each namespace under the same name in the same folder of one procfs, and looks
through all of them, one by one, for the one that belongs to the caller (fs/proc/proc_sysctl.c: proc_sys_compare).
Visiting n namespaces through /proc costs n squared: with 3,000 of them, fourteen values take 20 ms, with a fresh
instance for every few namespaces 0.3 ms, however many there are.
"""

from __future__ import annotations

import os

from reconciler.host import libc

_NAMESPACES = 64  # an instance: making one costs 60 us, and so many entries of one name are not felt yet


class Procfs:
    """Hands out a procfs that few namespaces were visited through. One instance is open at a time."""

    __slots__ = ("_fd", "_left", "_visited")

    def __init__(self) -> None:
        self._fd = -1
        self._left = 0
        self._visited = 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._left, self._visited = -1, 0, 0

    def folder(self, inode: int) -> int:
        """A descriptor of the root of a procfs to look into from the namespace with this inode. Raises OSError."""
        if inode != self._visited:
            if not self._left:
                self.close()
                self._fd, self._left = _instance(), _NAMESPACES
            self._left -= 1
            self._visited = inode
        return self._fd


def _instance() -> int:
    """A new procfs; /proc itself where making one is not allowed (a user namespace without one for processes)."""
    try:
        return libc.new_mount("proc")
    except OSError:
        return os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
