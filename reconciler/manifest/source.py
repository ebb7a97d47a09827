"""Finding manifests: files, folders at any depth, standard input. With limits, and without surprises."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from msgspec import Struct
from msgspec.structs import replace

from reconciler.errors import Origin, Problem

SUFFIXES = (".yaml", ".yml", ".json")
STDIN = "-"
STDIN_NAME = "<stdin>"
MAX_FILE = 8 << 20  # bytes
MAX_TOTAL = 64 << 20
MAX_FILES = 20_000
MAX_DEPTH = 32


class Source(Struct, frozen=True):
    """One text. ``file`` is relative to the manifest root; ``real`` is where it is, without symbolic links."""

    file: str
    raw: bytes
    real: str = ""


class Found(Struct, frozen=True):
    """All texts in a fixed order, what was wrong on the way, and the manifest root (None: only standard input)."""

    sources: tuple[Source, ...]
    problems: tuple[Problem, ...]
    root: Path | None


class Texts:
    """What files hold, for those who look at the same ones again and again.

    A file is not read again while the kernel tells the same of it (inode, size, times), if its last change was well
    before it was read: two writes within a tick of the clock look the same.
    """

    _TICK = 2_000_000_000  # nanoseconds; file systems with the coarsest times (FAT) have two seconds

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, ...], bytes]] = {}

    def read(self, path: str) -> bytes:
        """As :func:`read_regular`; the very same object while nothing changed."""
        try:
            about = os.lstat(path)
        except OSError as error:
            raise UnreadableError(f"cannot be read: {error.strerror}") from None
        signs = (about.st_dev, about.st_ino, about.st_mode, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
        known = self._known.get(path)
        if known is not None and known[0] == signs:
            return known[1]
        raw = read_regular(path)
        if known is not None and known[1] == raw:
            raw = known[1]
        came_to_rest = time.time_ns() - max(about.st_mtime_ns, about.st_ctime_ns) > self._TICK
        self._known[path] = (signs if came_to_rest else (), raw)
        return raw


def find(arguments: Sequence[str], stdin: IO[bytes] | None = None, texts: Texts | None = None) -> Found:
    """Read everything that the arguments name. The root is the first folder, or the folder of the first file.

    Symbolic links inside the root are followed (git-sync makes them); one that leaves it is a problem, and so
    is everything that is no regular file. What is reached in two ways is read once; what ``texts`` knows, not at all.
    """
    search = _Search(_root(arguments), texts)
    for argument in dict.fromkeys(arguments):
        if argument == STDIN:
            search.read_stdin(stdin)
        else:
            search.add(Path(argument), argument)
    return Found(tuple(search.sources), tuple(search.problems), search.root)


def find_again(found: Found, places: Mapping[str, int], changed: Iterable[str], texts: Texts) -> Found | None:
    """What :func:`find` would give after it gave ``found``, when nothing became otherwise but what is in these files.
    ``places`` are those of ``found.sources`` by ``real``. None: it does not hold, so find."""
    sources = list(found.sources)
    for real in changed:
        place = places.get(real)
        if place is None or found.problems:
            return None
        try:
            sources[place] = replace(sources[place], raw=texts.read(real))
        except UnreadableError:
            return None
    if sum(len(source.raw) for source in sources) > MAX_TOTAL:
        return None
    return Found(tuple(sources), (), found.root)


def _root(arguments: Sequence[str]) -> Path | None:
    for argument in arguments:
        if argument != STDIN:
            path = Path(argument)
            return path if _is_folder(path) else path.parent
    return None


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112  # Path.is_dir raises for a loop of links, or what it may not look at


class _Search:
    def __init__(self, root: Path | None, texts: Texts | None) -> None:
        self.root = root
        self._texts = texts
        self.sources: list[Source] = []
        self.problems: list[Problem] = []
        self._total = 0
        self._seen: set[str] = set()  # folders and files, without symbolic links
        self._full = False

    def add(self, path: Path, shown: str) -> None:
        """One argument."""
        if not shown:  # a shell variable without a value, never the folder one happens to be in
            self._wrong(shown, "an empty argument", "name a file or a folder")
        elif not os.path.lexists(path):
            hint = "check the path; manifests are named as arguments, or by CNM_MANIFESTS"
            self._wrong(shown, "there is no such file or folder", hint)
        elif _is_folder(path):
            bound = path.resolve()
            self._seen.add(str(bound))
            for name, real in self._walk(path, str(bound), bound, 0):
                self._read(name, real)
        else:
            self._follow(self._name(path), path, path.parent.resolve())

    def read_stdin(self, stdin: IO[bytes] | None) -> None:
        if stdin is None:
            self._wrong(STDIN_NAME, "standard input was asked for, but there is none")
            return
        try:
            raw = stdin.read(MAX_FILE + 1)
        except (OSError, ValueError) as error:  # a folder; closed
            self._wrong(STDIN_NAME, f"cannot be read: {error}")
            return
        if len(raw) > MAX_FILE:
            self._wrong(STDIN_NAME, f"more than {MAX_FILE >> 20} MiB", "split it into files")
        else:
            self.sources.append(Source(STDIN_NAME, raw))

    def _walk(self, folder: Path, real: str, bound: Path, depth: int) -> Iterator[tuple[str, str]]:
        """The name of each file, and where it is without symbolic links. ``real`` is where the folder is."""
        if depth > MAX_DEPTH:
            self._wrong(self._name(folder), f"folders are nested more than {MAX_DEPTH} levels deep")
            return
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            self._wrong(self._name(folder), f"cannot be listed: {error.strerror}")
            return
        shown = "" if folder == self.root else f"{self._name(folder)}/"
        for entry in entries:
            name = entry.name
            if name.startswith("."):  # .git, and where git-sync and Kubernetes keep what their links point to
                continue
            link = entry.is_symlink()
            is_folder = _is_folder(folder / name) if link else entry.is_dir()
            if not is_folder and not name.endswith(SUFFIXES):
                continue
            inside: str | None = f"{real.rstrip('/')}/{name}"
            if link:
                inside = self._real(shown + name, folder / name, bound)
            if inside is None:
                continue
            if not is_folder:
                yield shown + name, inside
            elif inside not in self._seen:  # else a link to a folder that was walked already, or to one above
                self._seen.add(inside)
                yield from self._walk(folder / name, inside, bound, depth + 1)

    def _real(self, name: str, path: Path, bound: Path) -> str | None:
        """Where a path leads; None, and told, when that is nowhere or outside."""
        try:
            return str(real_path(path, bound))
        except UnreadableError as error:
            self._wrong(name, str(error), error.hint)
            return None

    def _follow(self, name: str, path: Path, bound: Path) -> None:
        real = self._real(name, path, bound)
        if real is not None:
            self._read(name, real)

    def _name(self, path: Path) -> str:
        if self.root is not None:
            try:
                return path.relative_to(self.root).as_posix()
            except ValueError:
                pass
        return path.as_posix()

    def _wrong(self, file: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(Origin(file=file), message, hint))

    def _read(self, name: str, real: str) -> None:
        if self._full or real in self._seen:
            return
        self._seen.add(real)
        try:
            raw = self._texts.read(real) if self._texts is not None else read_regular(real)
        except UnreadableError as error:
            self._wrong(name, str(error), error.hint)
            return
        self._total += len(raw)
        if self._total > MAX_TOTAL or len(self.sources) >= MAX_FILES:
            self._full = True
            self._wrong(
                name, f"with this file there are more than {MAX_TOTAL >> 20} MiB or {MAX_FILES:,} files of manifests"
            )
            return
        self.sources.append(Source(name, raw, real))


class UnreadableError(Exception):
    """A path that is not read, and why; ``hint`` says what to do instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def real_path(path: Path, bound: Path) -> Path:
    """Where a path leads, without symbolic links; inside ``bound``. Raises UnreadableError."""
    try:
        real = path.resolve()
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from None
    except (RuntimeError, ValueError):  # pathlib's words for a loop, and for a path with a NUL
        raise UnreadableError("is a symbolic link that leads nowhere") from None
    if not real.is_relative_to(bound):
        raise UnreadableError(
            "is a symbolic link that leaves the manifest folder", "copy what it points to into the folder"
        )
    return real


def read_regular(path: str | Path) -> bytes:
    """The bytes of a regular file of at most MAX_FILE. Never waits for anybody, follows no symbolic link at the
    path's end, opens no device. Raises UnreadableError."""
    try:
        # Asked before it is opened, because opening a device can act on it; and O_NONBLOCK, because by then it may
        # have become a FIFO, which waits for a writer.
        _check(os.lstat(path))
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(fd, "rb") as file:
            _check(os.fstat(fd))
            raw = file.read(MAX_FILE + 1)
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from None
    if len(raw) > MAX_FILE:
        raise UnreadableError(f"is larger than {MAX_FILE >> 20} MiB", "split it")
    return raw


def _check(about: os.stat_result) -> None:
    if not stat.S_ISREG(about.st_mode):
        raise UnreadableError("is not a regular file", "manifests are regular files; use - for standard input")
    if about.st_size > MAX_FILE:
        raise UnreadableError(f"is larger than {MAX_FILE >> 20} MiB ({about.st_size:,} bytes)", "split it")
