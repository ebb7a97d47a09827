"""What watchfiles tells of folders, brought to a loop that waits for file descriptors."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Event, Thread

from watchfiles import Change
from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError  # documented: "Rust backend direct usage"

from reconciler.errors import ObservationError

_REST = 50  # milliseconds without a change before changes are told; as often a thread of ours looks for some
_MOST = 500  # milliseconds after which they are told in any case

Identity = tuple[int, int]  # (device, inode): another folder may have come in the place of one
Names = frozenset[str] | None  # those in a folder of which to hear; None: of all


class Notices:
    """Hears of folders, not of what is deeper. :meth:`fileno` is readable when there is something to be heard.

    A thread waits for watchfiles and wakes the loop; it reads nothing.
    """

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._told: SimpleQueue[set[tuple[int, str]] | None] = SimpleQueue()
        self._followed: dict[str, Identity] = {}
        self._names: Mapping[str, Names] = {}
        self._watcher: RustNotify | None = None
        self._stop = Event()
        self._thread: Thread | None = None

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        self._end()
        os.close(self._fd)

    def follow(self, folders: Mapping[str, Names]) -> None:
        """From now on hear of these (absolute paths without symbolic links), as far as they are there and can be read, and of
        no others. Raises ObservationError when the kernel has no room for it."""
        self._names = folders
        there = _identities(folders)
        while there != self._followed:
            self._end()
            try:
                watcher = RustNotify(sorted(there), False, False, 0, False, False) if there else None
            except (FileNotFoundError, PermissionError):  # it went meanwhile
                there = _identities(folders)
                continue
            except OSError as error:
                hint = "raise fs.inotify.max_user_watches, or fs.inotify.max_user_instances"
                raise ObservationError(f"manifests cannot be watched: {error}; {hint}") from None
            self._begin(watcher, there)
            there = _identities(folders)

    def heard(self) -> set[tuple[Change, str]] | None:
        """What happened since the last call, to which path; None when some of it may be lost."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._fd)
        found: set[tuple[Change, str]] = set()
        lost = False
        with suppress(Empty):
            while True:
                told = self._told.get_nowait()
                lost = lost or told is None
                found.update((Change(change), path) for change, path in told or ())
        return None if lost else found

    def _begin(self, watcher: RustNotify | None, followed: dict[str, Identity]) -> None:
        self._followed, self._watcher = followed, watcher
        if watcher is not None:
            self._stop = Event()
            self._thread = Thread(target=self._wait, args=(watcher, self._stop), daemon=True, name="cnm-files")
            self._thread.start()

    def _end(self) -> None:
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
        self._followed = {}

    def _wait(self, watcher: RustNotify, stop: Event) -> None:
        try:
            while isinstance(told := watcher.watch(_MOST, _REST, 0, stop), set):
                wanted = {change for change in told if self._is_wanted(change[1])}
                if wanted:
                    self._told.put(wanted)
                    os.eventfd_write(self._fd, 1)
        except WatchfilesRustInternalError:
            self._followed = {}  # so that the next look follows anew
            self._told.put(None)
            os.eventfd_write(self._fd, 1)

    def _is_wanted(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        names = self._names.get(folder or "/", frozenset())
        return names is None or name in names or path in self._names


def _identities(folders: Iterable[str]) -> dict[str, Identity]:
    found = {}
    for folder in folders:
        with suppress(OSError):
            if not os.access(folder, os.R_OK):
                continue
            state = os.stat(folder)  # noqa: PTH116 - of each folder, at each change of one
            found[folder] = (state.st_dev, state.st_ino)
    return found
