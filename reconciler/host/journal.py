"""The journal of a run: what stood before, and how far it came, on disk before it is done.

A file of records, one JSON object a line, in the state folder; it is there exactly while a run is under way, so
one that is found under the host's lock tells of a run that was interrupted. It is named by the host's identity:
boot id and network namespace.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from reconciler.errors import StateError
from reconciler.host.line import line
from reconciler.host.step import Step, unhindered

FORMAT_VERSION = 2
_LARGEST = 1 << 30
Record = Mapping[str, Any]


class Journal:
    """Open for appending. Every record is on disk when :meth:`record` returns."""

    def __init__(self, path: str, fd: int, step: Step) -> None:
        self.path = path
        self._fd = fd
        self._step = step

    @staticmethod
    def path_of(folder: Path, identity: str) -> str:
        return f"{folder}/journal-{identity}"

    @classmethod
    def begin(cls, folder: Path, identity: str, first: Record, step: Step = unhindered) -> Self:
        """A new journal with its first record. Raises StateError, and then leaves none behind."""
        path = cls.path_of(folder, identity)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            try:
                fd = os.open(path, flags, 0o600)
            except FileNotFoundError:
                folder.mkdir(mode=0o755, parents=True, exist_ok=True)
                fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}; without a journal nothing is changed") from None
        journal = cls(path, fd, step)
        try:
            journal.record({"format_version": FORMAT_VERSION, **first})
            _sync_folder(folder)
        except OSError as error:
            journal.close()
            forget(path)
            raise StateError(f"{path}: {error.strerror}; without a journal nothing is changed") from None
        return journal

    def record(self, record: Record) -> None:
        """Append one. Raises OSError: then the step that it announces must not be done."""
        self._step("journal", str(record.get("record", "")))
        text = line(record)
        size = os.fstat(self._fd).st_size
        try:
            view = memoryview(text)
            while view:
                view = view[os.write(self._fd, view) :]
            os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, size)  # half a record would spoil the next one
            raise

    def close(self) -> None:
        """Stop writing, and leave the file for whoever finishes or undoes the run."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def end(self, *, last: bool = True) -> None:
        """The run is over: nothing of it needs to be known any more. ``last``: as in :func:`forget`."""
        self._step("journal", "end")
        self.close()
        forget(self.path, last=last)


def forget(path: str, *, last: bool = True) -> None:
    """Remove a journal; and its folder, if it may be the ``last`` file in there and is."""
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - not a Path
    if last:
        with suppress(OSError):
            os.rmdir(os.path.dirname(path))  # noqa: PTH106, PTH120 - not a Path


def read_journal(path: str) -> list[dict[str, Any]] | None:
    """All records; None when there is no journal. A last line that was not finished does not count: what it
    announces was not done. No records at all: nothing was done.

    Raises StateError for one that this cnm cannot read: guessing what stood before is worse than stopping.
    """
    try:
        if os.stat(path).st_size > _LARGEST:  # noqa: PTH116 - not a Path
            raise StateError(f"{path}: not a journal: it is too large")
        raw = Path(path).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    lines = raw.split(b"\n")[:-1]
    try:
        records: list[dict[str, Any]] = [json.loads(text) for text in lines]
        version = records[0]["format_version"] if records else FORMAT_VERSION
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StateError(
            f"{path}: a run was interrupted here, and its journal is damaged ({error}); {_WAYS_OUT}"
        ) from None
    if version != FORMAT_VERSION:
        raise StateError(
            f"{path}: a run was interrupted here by a cnm that writes journals of format {version}; this one reads "
            f"{FORMAT_VERSION}. Run `cnm recover` with that cnm, or {_WAYS_OUT}"
        )
    return records


_WAYS_OUT = "take the host as it is now: cnm recover --forget"


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
