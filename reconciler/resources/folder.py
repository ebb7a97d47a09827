"""Folders of ours on the host: where programs in sandboxes and daemons outside meet by sockets."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from errno import EEXIST, EIO, ENOTDIR, ENOTEMPTY
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.resource import Key, Observed, Resource

if TYPE_CHECKING:
    from reconciler.host.host import Host


def folder_key(path: str) -> Key:
    return Key("folder", "", path)


class Folder(Resource, frozen=True, kw_only=True):
    """A folder: ``uid`` and ``gid`` are its owner's numbers, ``mode`` its permission bits. It is made with those above it
    that are missing, and removed when it is empty but for sockets that nobody serves; those above it stay."""

    kind: ClassVar[str] = "folder"
    batch: ClassVar[str] = "folder"
    marked: ClassVar[str] = "inventory"

    uid: int | None = None
    gid: int | None = None
    mode: int | None = None


class FolderActuator:
    """Reads the folders that somebody wants or that the inventory remembers."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        prefix = f"{Folder.kind}/"
        paths = {key.name for key in scope.wanted if key.kind == Folder.kind}
        made = {text.removeprefix(prefix) for text in host.inventory.made if text.startswith(prefix)}
        for path in sorted(paths | made):
            try:
                about = Path(path).lstat()
            except OSError:
                continue
            if stat.S_ISDIR(about.st_mode):
                key = folder_key(path)
                spec = Folder(key=key, uid=about.st_uid, gid=about.st_gid, mode=stat.S_IMODE(about.st_mode))
                yield Observed(spec, scope.owner if path in made else "")

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        for op in ops:
            try:
                host.step("file", op.key.name)
                self._bring(op)
            except OSError as error:
                yield Outcome(op.id, error.errno or EIO, f"{op.key.name}: {error.strerror or error}")
            else:
                yield Outcome(op.id)

    @staticmethod
    def _bring(op: OpView) -> None:
        path = Path(op.key.name)
        if op.action == "release":
            return
        if op.action == "delete":
            _remove(path)
            return
        spec = op.after
        assert isinstance(spec, Folder)
        if op.action == "create":
            try:
                path.mkdir(mode=0o700, parents=True)
            except FileExistsError:
                if path.is_symlink() or not path.is_dir():
                    raise OSError(ENOTDIR, "something that is no folder is there") from None
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchown(fd, spec.uid if spec.uid is not None else -1, spec.gid if spec.gid is not None else -1)
            if spec.mode is not None:
                os.fchmod(fd, spec.mode)
        finally:
            os.close(fd)


def _remove(path: Path) -> None:
    """Sockets that are left of programs which ended go with it; anything else in it keeps it."""
    with suppress(FileNotFoundError):
        for entry in os.scandir(path):
            if stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode):
                with suppress(FileNotFoundError):
                    os.unlink(entry.path)  # noqa: PTH108 - of scandir
        try:
            path.rmdir()
        except OSError as error:
            if error.errno in (ENOTEMPTY, EEXIST):
                raise OSError(ENOTEMPTY, "something is still in it") from None
            raise


KINDS = (Folder,)
ACTUATOR = FolderActuator()
