"""Finding manifests: files, folders at any depth, standard input. With limits, and without surprises."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from reconciler.errors import Origin, Problem

SUFFIXES = (".yaml", ".yml", ".json")
STDIN = "-"
STDIN_NAME = "<stdin>"
MAX_FILE = 8 << 20  # bytes
MAX_TOTAL = 64 << 20
MAX_FILES = 20_000
MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Source:
    """One text. ``file`` is relative to the manifest root."""

    file: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """All texts in a fixed order, what was wrong on the way, and the manifest root (None: only standard input)."""

    sources: tuple[Source, ...]
    problems: tuple[Problem, ...]
    root: Path | None


def find(arguments: Sequence[str], stdin: IO[bytes] | None = None) -> Found:
    """Read everything that the arguments name. The root is the first folder, or the folder of the first file.

    Symbolic links inside the root are followed (git-sync makes them); one that leaves it is a problem, and so
    is everything that is no regular file. What is reached in two ways is read once.
    """
    search = _Search(_root(arguments))
    for argument in dict.fromkeys(arguments):
        if argument == STDIN:
            search.read_stdin(stdin)
        else:
            search.add(Path(argument), argument)
    return Found(tuple(search.sources), tuple(search.problems), search.root)


def _root(arguments: Sequence[str]) -> Path | None:
    for argument in arguments:
        if argument != STDIN:
            return Path(argument) if os.path.isdir(argument) else Path(argument).parent  # noqa: PTH112  # never raises
    return None


class _Search:
    def __init__(self, root: Path | None) -> None:
        self.root = root
        self.sources: list[Source] = []
        self.problems: list[Problem] = []
        self._total = 0
        self._seen: set[Path] = set()  # folders and files, without symbolic links
        self._full = False

    def add(self, path: Path, shown: str) -> None:
        """One argument."""
        if not os.path.lexists(path):
            hint = "check the path; manifests are named as arguments, or by CNM_MANIFESTS"
            self._wrong(shown, "there is no such file or folder", hint)
        elif os.path.isdir(path):  # noqa: PTH112  # never raises, whatever the path holds
            bound = path.resolve()
            self._seen.add(bound)
            for found in self._walk(path, bound, 0):
                self._read(found, bound)
        else:
            self._read(path, path.parent.resolve())

    def read_stdin(self, stdin: IO[bytes] | None) -> None:
        if stdin is None:
            self._wrong(STDIN_NAME, "standard input was asked for, but there is none")
            return
        raw = stdin.read(MAX_FILE + 1)
        if len(raw) > MAX_FILE:
            self._wrong(STDIN_NAME, f"more than {MAX_FILE >> 20} MiB", "split it into files")
        else:
            self.sources.append(Source(STDIN_NAME, raw))

    def _walk(self, folder: Path, bound: Path, depth: int) -> Iterator[Path]:
        if depth > MAX_DEPTH:
            self._wrong(self._name(folder), f"folders are nested more than {MAX_DEPTH} levels deep")
            return
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            self._wrong(self._name(folder), f"cannot be listed: {error.strerror}")
            return
        for entry in entries:
            if entry.name.startswith("."):  # .git, and where git-sync and Kubernetes keep what their links point to
                continue
            path = folder / entry.name
            if entry.is_symlink() and not self._inside(path, bound):
                if os.path.isdir(path) or path.suffix in SUFFIXES:  # noqa: PTH112  # never raises
                    self._wrong(
                        self._name(path),
                        "is a symbolic link that leaves the manifest folder",
                        "copy the file into the folder",
                    )
                continue
            if entry.is_dir():
                real = path.resolve()
                if real not in self._seen:  # a link to a folder that was walked already, or to one above
                    self._seen.add(real)
                    yield from self._walk(path, bound, depth + 1)
            elif path.suffix in SUFFIXES:
                yield path

    @staticmethod
    def _inside(path: Path, bound: Path) -> bool:
        try:
            return path.resolve().is_relative_to(bound)
        except (OSError, RuntimeError):  # a loop of links
            return False

    def _name(self, path: Path) -> str:
        if self.root is not None:
            try:
                return path.relative_to(self.root).as_posix()
            except ValueError:
                pass
        return path.as_posix()

    def _wrong(self, file: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(Origin(file=file), message, hint))

    def _read(self, path: Path, bound: Path) -> None:
        if self._full:
            return
        name = self._name(path)
        if not self._inside(path, bound):
            self._wrong(name, "is a symbolic link that leaves the manifest folder", "copy the file into the folder")
            return
        try:
            real = path.resolve()
            if real in self._seen:
                return
            self._seen.add(real)
            # Asked before it is opened, because opening a device can act on it; and O_NONBLOCK, because by then
            # it may have become a FIFO, which waits for a writer.
            if not stat.S_ISREG(real.stat().st_mode):
                self._wrong(name, "is not a regular file", "manifests are regular files; use - for standard input")
                return
            fd = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError as error:
            self._wrong(name, f"cannot be read: {error.strerror}")
            return
        with os.fdopen(fd, "rb") as file:
            about = os.fstat(fd)
            if not stat.S_ISREG(about.st_mode):
                self._wrong(name, "is not a regular file", "manifests are regular files; use - for standard input")
                return
            if about.st_size > MAX_FILE:
                self._wrong(name, f"is larger than {MAX_FILE >> 20} MiB ({about.st_size:,} bytes)", "split it")
                return
            raw = file.read(MAX_FILE + 1)
        self._total += len(raw)
        if self._total > MAX_TOTAL or len(self.sources) >= MAX_FILES:
            self._full = True
            self._wrong(
                name, f"with this file there are more than {MAX_TOTAL >> 20} MiB or {MAX_FILES:,} files of manifests"
            )
            return
        self.sources.append(Source(name, raw))
