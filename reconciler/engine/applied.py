"""The service's own copy of what was last applied: what comes back after a reboot, whatever became of the files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from reconciler.manifest.lockfile import LOCK_NAME
from reconciler.manifest.source import Found


class Applied:
    """A folder of manifests beside the history: ``applied-OWNER-HOST`` is a symbolic link that is exchanged, so that
    there is one whole copy at any time."""

    def __init__(self, folder: Path, owner: str, host: str, lock_file: Path | None = None) -> None:
        self._link = folder / f"applied-{owner}-{host}"
        self._lock_file = lock_file
        self._digests: dict[str, tuple[bytes, str]] = {}  # of each file in the copy that this process wrote

    def sources(self) -> Sequence[str]:
        """The copy, as arguments for a load; empty while there is none."""
        return [str(self._link)] if self._link.is_dir() else []

    @property
    def lock_file(self) -> Path:
        return self._link / LOCK_NAME

    def remember(self, found: Found) -> str:
        """Copy these texts; the fingerprint of the copy. The same content is not written again, and what the copy before
        has as well is linked, not written. Raises OSError."""
        lock = self._lock_file or (found.root / LOCK_NAME if found.root is not None else None)
        texts = {source.file.lstrip("/").replace("../", "up/"): source.raw for source in found.sources}
        if lock is not None:
            with suppress(FileNotFoundError):
                texts[LOCK_NAME] = lock.read_bytes()
        digests = {name: self._digest(name, raw) for name, raw in texts.items()}
        digest = sha256()
        for name, (_raw, own) in sorted(digests.items()):
            digest.update(f"{name}\0{own}\n".encode())
        fingerprint = digest.hexdigest()[:16]
        folder = self._link.with_name(f"{self._link.name}.{fingerprint}")
        if self._link.is_symlink() and str(self._link.readlink()) == folder.name and folder.is_dir():
            self._digests = digests
            return fingerprint
        folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        for within in sorted({str(Path(name).parent) for name in digests}):
            (draft / within).mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, (raw, own) in digests.items():
            path = f"{draft}/{name}"
            if self._digests.get(name, (b"", ""))[1] != own or not self._linked(name, path, len(raw)):
                _written(path, raw)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
        new = self._link.with_name(f"{self._link.name}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(folder.name)
        new.replace(self._link)
        for old in self._link.parent.glob(f"{self._link.name}.*"):
            if old.name != folder.name:
                shutil.rmtree(old, ignore_errors=True)
        self._digests = digests
        return fingerprint

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


def _written(path: str, raw: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    with os.fdopen(fd, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
