"""What continuous integration may read of this host: what is applied, how it stands, and a fresh snapshot."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from reconciler.engine.watch.situation import FORMAT_VERSION, Situation
from reconciler.planner.file import snapshot_to_data
from reconciler.planner.plan import Observation


class Publisher:
    """Writes ``status.json``, ``applied.json`` and ``snapshot.json`` into a folder, each in one step: who reads sees
    an old or a new one, never a half. Readable for all; they hold no secrets. Raises OSError."""

    def __init__(self, folder: Path, node: str, owner: str) -> None:
        self._folder = folder
        self._about = {"node": node, "owner": owner}
        self._commit = ""

    def status(self, situation: Situation) -> None:
        self._write("status.json", {**situation.data(), **self._about, "time": _now()})
        if situation.commit and situation.commit != self._commit:
            self._commit = situation.commit
            applied = {"format": "cnm-applied", "format_version": FORMAT_VERSION, "commit": situation.commit}
            self._write("applied.json", {**applied, **self._about, "time": _now()})

    def snapshot(self, observation: Observation) -> None:
        """For ``cnm plan --observed``."""
        self._write("snapshot.json", snapshot_to_data(observation))

    def _write(self, name: str, data: dict[str, Any]) -> None:
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = self._folder / f".{name}.{os.getpid()}"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(fd, "w") as file:
            json.dump(data, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._folder / name)


def _now() -> str:
    return time.strftime("%FT%TZ", time.gmtime())


def revision(source: Path) -> str:
    """The commit that a folder is checked out at, read from Git's own files (gitrepository-layout(5)); "" outside of a
    work tree."""
    folder = os.path.realpath(source)
    while True:
        with suppress(OSError):
            os.stat(f"{folder}/.git")  # noqa: PTH116 - most folders have none, and this is asked for at every change
            return _head(Path(folder))
        if folder == "/":
            return ""
        folder = os.path.dirname(folder)  # noqa: PTH120 - as above


def _head(folder: Path) -> str:
    git = folder / ".git"
    if git.is_file():
        git = (folder / git.read_text().removeprefix("gitdir:").strip()).resolve()
    return _resolve(git, (git / "HEAD").read_text().strip())


def _resolve(git: Path, head: str) -> str:
    if not head.startswith("ref:"):
        return head
    name = head.removeprefix("ref:").strip()
    try:
        common = (git / (git / "commondir").read_text().strip()).resolve()
    except OSError:
        common = git
    for folder in (git, common):
        try:
            return (folder / name).read_text().strip()
        except OSError:
            continue
    try:
        for line in (common / "packed-refs").read_text().splitlines():
            commit, _, ref = line.partition(" ")
            if ref == name:
                return commit
    except OSError:
        pass
    return ""
