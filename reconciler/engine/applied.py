"""The service's own copy of what was last applied: what comes back after a reboot, whatever became of the files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from reconciler.manifest.lockfile import LOCK_NAME
from reconciler.manifest.source import Found

_Signs = dict[str, tuple[int, int]]


class Applied:
    """A folder of manifests beside the history: ``applied-OWNER-HOST`` is a symbolic link that is exchanged, so that
    there is one whole copy at any time. The copy before is kept beside it: what differs from it is all that is written
    for the next one, however many files there are."""

    def __init__(self, folder: Path, owner: str, host: str, lock_file: Path | None = None) -> None:
        self._link = folder / f"applied-{owner}-{host}"
        self._before = f"{self._link}.before"
        self._lock_file = lock_file
        self._mine = ""  # the folder of the copy, as far as this process knows
        self._digests: dict[str, tuple[bytes, str]] = {}  # of each file in it
        self._spare: dict[str, tuple[bytes, str]] = {}  # and in the one before it
        self._signs: _Signs | None = None  # of the folders of the one before; None: it is not as we left it

    def sources(self) -> Sequence[str]:
        """The copy, as arguments for a load; empty while there is none."""
        return [str(self._link)] if self._link.is_dir() else []

    @property
    def lock_file(self) -> Path:
        return self._link / LOCK_NAME

    def remember(self, found: Found) -> str:
        """Copy these texts; the fingerprint of the copy. The same content is not written again, and what a copy before
        has as well is kept or linked, not written. Raises OSError."""
        lock = self._lock_file or (found.root / LOCK_NAME if found.root is not None else None)
        texts = {source.file.lstrip("/").replace("../", "up/"): source.raw for source in found.sources}
        if lock is not None:
            with suppress(FileNotFoundError):
                texts[LOCK_NAME] = lock.read_bytes()
        present = self._present()
        if present != self._mine:  # somebody else's
            self._digests, self._signs = {}, None
        digests = {name: self._digest(name, raw) for name, raw in texts.items()}
        digest = sha256()
        for name, (_raw, own) in sorted(digests.items()):
            digest.update(f"{name}\0{own}\n".encode())
        fingerprint = digest.hexdigest()[:16]
        folder = f"{self._link}.{fingerprint}"
        if present == folder:
            self._mine, self._digests = folder, digests
            return fingerprint
        draft = self._brought_up(digests) or self._begun(folder, digests)
        _moved(draft, folder)
        new, name = f"{self._link}.new", os.path.basename(folder)  # noqa: PTH119 - not a Path
        try:
            os.symlink(name, new)  # noqa: PTH211 - not a Path
        except FileExistsError:  # left by one who was killed
            os.unlink(new)  # noqa: PTH108 - not a Path
            os.symlink(name, new)  # noqa: PTH211 - not a Path
        os.replace(new, self._link)  # noqa: PTH105 - not a Path
        self._put_by(present, folder)
        self._mine, self._digests = folder, digests
        return fingerprint

    def _present(self) -> str:
        """The folder of the copy that there is; "" when there is none."""
        try:
            folder = f"{self._link.parent}/{os.readlink(self._link)}"  # noqa: PTH115 - not a Path
        except OSError:
            return ""
        return folder if os.path.isdir(folder) else ""  # noqa: PTH112 - not a Path

    def _begun(self, folder: str, digests: Mapping[str, tuple[bytes, str]]) -> str:
        """A new copy."""
        self._link.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = f"{folder}.{os.getpid()}"
        shutil.rmtree(draft, ignore_errors=True)
        os.mkdir(draft, 0o700)  # noqa: PTH102 - not a Path
        self._write(draft, digests, digests)
        return draft

    def _brought_up(self, digests: Mapping[str, tuple[bytes, str]]) -> str:
        """The copy before, made into this one; "" where there is none, or it is not as we left it."""
        signs, self._signs, draft = self._signs, None, self._before
        if signs is None or _signs(draft, self._spare) != signs:
            return ""
        fresh = [name for name, (_raw, own) in digests.items() if self._spare.get(name, (b"", ""))[1] != own]
        try:
            for name in {*fresh, *self._spare.keys() - digests.keys()}:
                with suppress(FileNotFoundError):
                    os.unlink(f"{draft}/{name}")  # noqa: PTH108 - never written in place: it may be the other copy's too
            self._write(draft, digests, fresh)
        except OSError:  # a file where there was a folder
            return ""
        return draft

    def _write(self, draft: str, digests: Mapping[str, tuple[bytes, str]], names: Iterable[str]) -> None:
        """Some of the files."""
        for within in filter(None, _folders(names)):
            Path(draft, within).mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in names:
            raw, own = digests[name]
            path = f"{draft}/{name}"
            if self._digests.get(name, (b"", ""))[1] != own or not self._linked(name, path, len(raw)):
                _written(path, raw)

    def _put_by(self, present: str, folder: str) -> None:
        """Keep the copy before for the next one, and remove all others."""
        if present and present == self._mine:
            _moved(present, self._before)
            self._spare, self._signs = self._digests, _signs(self._before, self._digests)
            return
        for old in self._link.parent.glob(f"{self._link.name}.*"):
            if str(old) != folder:
                shutil.rmtree(old, ignore_errors=True)

    def _digest(self, name: str, raw: bytes) -> tuple[bytes, str]:
        known = self._digests.get(name)
        return known if known is not None and known[0] == raw else (raw, sha256(raw).hexdigest())

    def _linked(self, name: str, path: str, size: int) -> bool:
        """Take a file from the copy that we wrote before. False where it is not there as we wrote it."""
        try:
            os.link(f"{self._link}/{name}", path)
            if os.stat(path).st_size == size:  # noqa: PTH116 - ten thousand files
                return True
            os.unlink(path)  # noqa: PTH108 - as above
        except OSError:
            pass
        return False


def _folders(names: Iterable[str]) -> list[str]:
    return sorted({os.path.dirname(name) for name in names})  # noqa: PTH120 - ten thousand files


def _signs(folder: str, names: Iterable[str]) -> _Signs | None:
    """By what one sees that nobody took a file out of these folders, or put one into them."""
    found: _Signs = {}
    try:
        for within in _folders(names):
            about = os.stat(f"{folder}/{within}")  # noqa: PTH116 - not a Path
            found[within] = (about.st_ino, about.st_mtime_ns)
    except OSError:
        return None
    return found


def _moved(folder: str, place: str) -> None:
    """Put a folder in a place, instead of what may be there."""
    try:
        os.rename(folder, place)  # noqa: PTH104 - not a Path
    except OSError:
        shutil.rmtree(place, ignore_errors=True)
        os.rename(folder, place)  # noqa: PTH104 - not a Path


def _written(path: str, raw: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    with os.fdopen(fd, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
