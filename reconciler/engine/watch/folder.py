"""The manifests' files: told when they change and have come to rest."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from watchfiles import watch

from reconciler.manifest.lockfile import LOCK_NAME
from reconciler.manifest.source import SUFFIXES, Found, Texts, find

_STEP = 50  # milliseconds without a change before changes are told
_DEBOUNCE = 500  # milliseconds after which they are told in any case
_PATIENCE = 10.0  # seconds that a file may be open for writing
_AGAIN = 1.0  # seconds until a folder that is not there is looked for again


class Folder:
    """Watches the sources, and the folders in which symbolic links on the way to them stand (git-sync and Kubernetes
    exchange such a link). :meth:`fileno` is readable when something happened, :meth:`settled` tells what it means;
    :attr:`found` is what it looked at.

    The threads only wake the loop; all is read by the caller.
    """

    def __init__(self, sources: Sequence[str], texts: Texts | None = None) -> None:
        self._sources = [source for source in sources if source != "-"]
        self._memory = texts or Texts()
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stop = threading.Event()
        self._since = 0.0
        self._texts: dict[str, bytes] | None = None
        self.found: Found | None = None
        self._threads = [
            threading.Thread(target=self._follow, args=(deep,), daemon=True, name=f"cnm-files-{number}")
            for number, deep in enumerate((True, False))
        ]
        for thread in self._threads:
            thread.start()

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=2)
        os.close(self._fd)

    def settled(self) -> bool | None:
        """True: there is other content than at the last call that said so. False: there is not. None: somebody still
        writes; ask again soon."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._fd)
        self.found = found = find(self._sources, texts=self._memory)
        texts = {source.file: source.raw for source in found.sources}
        lock = found.root / LOCK_NAME if found.root is not None else None
        if lock is not None:
            with suppress(OSError):
                texts[LOCK_NAME] = lock.read_bytes()
        texts |= {str(problem): b"" for problem in found.problems}
        if texts == self._texts:
            self._since = 0.0
            return False
        now = time.monotonic()
        self._since = self._since or now
        root, before = found.root or Path(), self._texts or {}
        fresh = [source.file for source in found.sources if before.get(source.file) != source.raw]
        if now - self._since < _PATIENCE and any(_written(root / file) for file in fresh):
            return None
        self._texts, self._since = texts, 0.0
        return True

    def _follow(self, deep: bool) -> None:
        """A thread: wake the loop whenever something happens; start again when links lead elsewhere."""
        while not self._stop.is_set():
            paths = self._paths(deep)
            if not paths:
                self._stop.wait(_AGAIN)
                continue
            try:
                for changes in watch(
                    *paths,
                    watch_filter=None,
                    debounce=_DEBOUNCE,
                    step=_STEP,
                    stop_event=self._stop,
                    rust_timeout=1000,
                    yield_on_timeout=True,
                    recursive=deep,
                    raise_interrupt=False,
                ):
                    if changes and (deep is False or _concern(path for _change, path in changes)):
                        os.eventfd_write(self._fd, 1)
                    if self._paths(deep) != paths:
                        os.eventfd_write(self._fd, 1)
                        break
            except (OSError, RuntimeError):  # a folder that went meanwhile
                self._stop.wait(_AGAIN)

    def _paths(self, deep: bool) -> list[Path]:
        found: list[Path] = []
        for source in self._sources:
            path = Path(source).absolute()
            if deep:
                with suppress(OSError, RuntimeError):
                    real = path.resolve(strict=True)
                    found.append(real if real.is_dir() else real.parent)
            else:
                found += _link_folders(path)
                found.append(path.parent)
        return list(dict.fromkeys(folder for folder in found if folder.is_dir()))


def _link_folders(path: Path) -> list[Path]:
    """The folders that hold a symbolic link on the way to a path."""
    found: list[Path] = []
    for _ in range(40):
        link = next((part for part in (*reversed(path.parents), path) if part.is_symlink()), None)
        if link is None:
            break
        found.append(link.parent)
        path = (link.parent / link.readlink()) / path.relative_to(link)
    return found


def _concern(paths: Iterable[str]) -> bool:
    """Whether one of these may be a manifest, a lock file, a folder or a link: not an editor's file for the meantime."""
    for text in paths:
        path = Path(text)
        if path.suffix in SUFFIXES or path.name == LOCK_NAME or path.suffix == "" or path.name.startswith(".."):
            return True
    return False


def _written(path: Path) -> bool:
    """Whether somebody has a file open for writing: a lease for reading is refused then (fcntl(2))."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:  # not our file, or a file system without leases
        return False
    finally:
        os.close(fd)
    return False
