"""Where the sysctls of other namespaces are read and written: instances of procfs that nobody else uses.

The kernel keeps one cache entry for each namespace under the same name in the same folder of one procfs, and looks
through all of them, one by one, for the one that belongs to the caller (fs/proc/proc_sysctl.c: proc_sys_compare).
Visiting n namespaces through /proc costs n squared: with 3,000 of them, fourteen values take 20 ms, with a fresh
instance for every few namespaces 0.3 ms, however many there are.
"""

from __future__ import annotations

import os
import resource

from reconciler.host import libc

_NAMESPACES = 16  # an instance: making one costs 60 us, and so many entries of one name are hardly felt
_SPARE = 1_200  # descriptors that a run needs besides those of its sandboxes (link_actuator: 1,000 links at once)


class Procfs:
    """Hands out a procfs that few namespaces were visited through. One instance is open at a time.

    ``kept`` are the sysctls that stay open, by the inode of their namespace and path: as many as leave enough
    descriptors for all else (:meth:`may_keep`, :meth:`make_room`). ``read_only``: none is opened for writing.
    """

    __slots__ = ("_fd", "_left", "_most", "_visited", "kept", "read_only")

    def __init__(self, *, read_only: bool = False) -> None:
        self.read_only = read_only
        self._fd = -1
        self._left = 0
        self._visited = 0
        self._most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.kept: dict[int, dict[str, int]] = {}

    def close(self) -> None:
        self._end()
        for inode in list(self.kept):
            self.drop(inode)

    def _end(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._left, self._visited = -1, 0, 0

    def drop(self, inode: int) -> None:
        """Close what is kept of a namespace."""
        for fd in self.kept.pop(inode, {}).values():
            os.close(fd)

    def may_keep(self, fd: int) -> bool:
        """Whether this descriptor may stay open: the kernel gives out the lowest that is free, so it tells how many
        are in use."""
        return fd < self._most - max(self._most // 8, 2 * _SPARE)

    def make_room(self, fd: int) -> None:
        """Something else was opened: where few descriptors are left after it, nothing is kept any more."""
        if fd >= self._most - max(self._most // 16, _SPARE):
            for inode in list(self.kept):
                self.drop(inode)

    def folder(self, inode: int) -> int:
        """A descriptor of the root of a procfs to look into from the namespace with this inode. Raises OSError."""
        if inode != self._visited:
            if not self._left:
                self._end()
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
