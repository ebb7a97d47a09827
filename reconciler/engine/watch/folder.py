"""The manifests' files: told when they change and have come to rest."""

from __future__ import annotations

import fcntl
import os
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from watchfiles import Change

from reconciler.engine.watch.notices import Notices
from reconciler.manifest.lockfile import LOCK_NAME
from reconciler.manifest.source import MAX_DEPTH, SUFFIXES, Found, Texts, find, find_again

_PATIENCE = 10.0  # seconds that a file may be open for writing
_LINKS = 40  # symbolic links on the way to a source: as many as the kernel follows (path_resolution(7))


class Folder:
    """Watches the folders of the sources, those that symbolic links in them lead to, and every name on the way there:
    git-sync and Kubernetes exchange a link, and a folder may go and come back.

    :meth:`fileno` is readable when something happened; then :meth:`hear` it. When it is :meth:`due`, :meth:`settled`
    tells what it means, and :attr:`found` is what it looked at. Raises ObservationError when a folder cannot be watched.
    """

    def __init__(self, sources: Sequence[str], texts: Texts | None = None) -> None:
        self._sources = [source for source in sources if source != "-"]
        self._memory = texts or Texts()
        self._notices = Notices()
        # By path without symbolic links: folders on the way, with the names that lead on; and folders of manifests.
        self._ways: dict[str, set[str]] = {}
        self._whole: set[str] = set()
        self._elsewhere = True  # whether other folders or files may be the ones to read
        self._changed: set[str] = set()  # else: what is in these files
        self._places: dict[str, int] = {}  # of the files in what was found
        self._due = False  # something happened that nobody has looked at
        self._since = 0.0
        self._texts: dict[str, bytes] | None = None
        self.found: Found | None = None

    def fileno(self) -> int:
        return self._notices.fileno()

    def close(self) -> None:
        self._notices.close()

    def hear(self) -> None:
        """Take in what happened."""
        heard = self._notices.heard()
        concerned = [self._concerns(change, path) for change, path in heard or ()]  # each of them is to be seen
        if heard is None:
            self.doubt()
        elif any(concerned):
            self._due = True

    def doubt(self) -> None:
        """Not everything is told (a mount, another host's write to a network's file system): look, whatever was heard."""
        self._elsewhere = True
        self._due = True

    @property
    def due(self) -> bool:
        """Whether :meth:`settled` should be asked."""
        return self._due

    def settled(self) -> bool | None:
        """True: there is other content than at the last call that said so. False: there is not. None: somebody still
        writes; ask again soon."""
        self._due = False
        self.found = found = self._look()
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
        root, before = found.root or "", self._texts or {}
        fresh = [source.file for source in found.sources if before.get(source.file) != source.raw]
        if now - self._since < _PATIENCE and any(_written(os.path.join(root, file)) for file in fresh):  # noqa: PTH118 - not a Path
            return None
        self._texts, self._since = texts, 0.0
        return True

    def _look(self) -> Found:
        """Read what may have changed: of many files those that were named, as long as they are the same files."""
        changed, self._changed = self._changed, set()
        found = None
        if not self._elsewhere and self.found is not None:
            found = find_again(self.found, self._places, changed, self._memory)
        if found is None:
            self._elsewhere = True  # should anything fail
            self._follow()  # before they are read: what changes from here on is heard
            found = find(self._sources, texts=self._memory)
            self._places = {source.real: place for place, source in enumerate(found.sources)}
            self._elsewhere = False
        return found

    def _concerns(self, change: Change, path: str) -> bool:
        """Whether this may be a manifest, a lock file, a folder or a link: not an editor's file for the meantime."""
        folder, _, name = path.rpartition("/")
        followed = path in self._ways or path in self._whole
        if (followed and change is not Change.modified) or name in self._ways.get(folder or "/", ()):
            self._elsewhere = True
            return True
        if folder not in self._whole:
            return False
        if not followed and (os.path.islink(path) or os.path.isdir(path)):  # noqa: PTH112, PTH114 - two calls an event
            self._elsewhere = True
            return True
        if name.endswith(SUFFIXES) and not name.startswith("."):
            self._changed.add(path)
            return True
        return name == LOCK_NAME

    def _follow(self) -> None:
        """Follow what leads to the sources now, and no more what did; until nothing came while it was looked for."""
        before = None
        while before != (before := self._leading()):
            on_the_way = {folder: frozenset(names) for folder, names in self._ways.items()}
            self._notices.follow({**on_the_way, **dict.fromkeys(self._whole)})

    def _leading(self) -> tuple[dict[str, set[str]], set[str]]:
        self._ways, self._whole = {}, set()
        for source in self._sources:
            end = self._lead("/", Path(source).absolute().parts[1:])
            if os.path.isdir(end):  # noqa: PTH112 - not a Path
                self._below(end, end, 0)
            elif end:
                self._take(os.path.dirname(end))  # noqa: PTH120 - not a Path
        return self._ways, self._whole

    def _lead(self, at: str, names: Sequence[str]) -> str:
        """Follow every name that is looked up on this way; where it ends, "" when something on it is not there."""
        steps, end = _way(at, names)
        for folder, name in steps:
            self._ways.setdefault(folder, set()).add(name)
        return end

    def _below(self, folder: str, bound: str, depth: int) -> None:
        """Follow a folder, and all that :func:`find` reads below it."""
        if depth > MAX_DEPTH or not self._take(folder):
            return
        try:
            entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
        except OSError:
            return
        for entry in entries:
            if entry.is_symlink():
                real = self._lead(folder, [entry.name])
                if not real.startswith(f"{bound.rstrip('/')}/"):  # it leaves the manifests: that is refused
                    continue
                if os.path.isdir(real):  # noqa: PTH112 - not a Path
                    self._below(real, bound, depth + 1)
                else:
                    self._take(os.path.dirname(real))  # noqa: PTH120 - not a Path
            elif entry.is_dir(follow_symlinks=False):
                self._below(entry.path, bound, depth + 1)

    def _take(self, folder: str) -> bool:
        """Follow one folder. False: it was followed already, or it is not there."""
        if folder in self._whole or not os.path.isdir(folder):  # noqa: PTH112 - not a Path
            return False
        self._whole.add(folder)
        return True


def _way(at: str, names: Sequence[str]) -> tuple[list[tuple[str, str]], str]:
    """Each (folder, name) that is looked up for these names from a folder on, symbolic links followed; and where that
    ends, "" when something on the way is not there."""
    steps: list[tuple[str, str]] = []
    links, waiting = 0, deque(names)
    while waiting:
        name = waiting.popleft()
        if name == "..":
            at = os.path.dirname(at)  # noqa: PTH120 - not a Path
            continue
        steps.append((at, name))
        here = f"{at.rstrip('/')}/{name}"
        try:
            target = os.readlink(here)  # noqa: PTH115 - not a Path
        except FileNotFoundError:
            return steps, ""
        except OSError:  # EINVAL: no link
            at = here
            continue
        links += 1
        if links > _LINKS:
            return steps, ""
        waiting.extendleft(reversed([part for part in target.split("/") if part not in ("", ".")]))
        if target.startswith("/"):
            at = "/"
    return steps, at


def _written(path: str) -> bool:
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
