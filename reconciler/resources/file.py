"""Configuration files of daemons: written whole, checked before they are used, loaded, and put back when that fails."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from errno import EINVAL, EIO
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.resource import Key, Observed, Resource

if TYPE_CHECKING:
    from reconciler.host.host import Host


def file_key(path: str) -> Key:
    return Key("file", "", path)


class ConfigFile(Resource, frozen=True, kw_only=True):
    """A file of ``content``, whose first line says whose it is (``mark_of``). ``daemon`` reads it: ``frr``, whose sockets
    are in folder ``sockets``. ``loaded`` is whether the daemon works by it now."""

    kind: ClassVar[str] = "file"
    batch: ClassVar[str] = "file"
    marked: ClassVar[str] = "inventory"  # the mark is in the file; which file it is, nobody else remembers
    fixed: ClassVar[Mapping[str, str]] = {"daemon": "another daemon reads another file"}

    content: str
    daemon: Literal["frr"] | None = None
    sockets: str | None = None
    loaded: bool | None = None

    def restorable(self) -> Self | None:
        return self

    @property
    def path(self) -> str:
        return self.key.name


def mark_of(owner: str) -> str:
    """The beginning of the first line of a file of ours, after its comment sign."""
    return f" cnm {owner}:"


class ConfigFileActuator:
    """Reads the files that somebody wants or that the inventory remembers."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        paths = {key.name for key in scope.wanted if key.kind == "file"}
        paths |= {text.removeprefix("file/") for text in host.inventory.made if text.startswith("file/")}
        for path in sorted(paths):
            content = host.config.read(path)
            if content is None:
                continue
            wanted = scope.wanted.get(file_key(path))
            like = wanted if isinstance(wanted, ConfigFile) else None
            loaded = None
            if like is not None and like.daemon == "frr" and like.sockets is not None:
                loaded = host.config.works_by(content, like.sockets)
            spec = ConfigFile(
                key=file_key(path),
                content=content,
                daemon=like.daemon if like is not None else None,
                sockets=like.sockets if like is not None else None,
                loaded=loaded,
            )
            first = content.partition("\n")[0][1:]
            yield Observed(spec, scope.owner if first.startswith(mark_of(scope.owner)) else "")

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        for op in ops:
            spec = op.before if op.action == "delete" else op.after
            assert isinstance(spec, ConfigFile)
            before = host.config.read(spec.path)
            try:
                words = self._delete(host, spec) if op.action == "delete" else self._write(host, spec, before)
            except OSError as error:
                yield Outcome(op.id, error.errno or EIO, f"{spec.path}: {error.strerror or error}")
                continue
            yield Outcome(op.id, EINVAL, words) if words else Outcome(op.id)

    @staticmethod
    def _write(host: Host, spec: ConfigFile, before: str | None) -> str:
        """ "" or what the daemon says; then the file and the daemon are as they were."""
        if spec.daemon is None or spec.sockets is None:
            host.config.write(spec.path, spec.content)
            return ""
        words = host.config.check(spec.content, spec.sockets)
        if words:
            return words
        host.config.write(spec.path, spec.content)
        words = host.config.load(spec.path, spec.sockets)
        if words:
            if before is None:
                host.config.remove(spec.path)
            else:
                host.config.write(spec.path, before)
                host.config.load(spec.path, spec.sockets)
        return words

    @staticmethod
    def _delete(host: Host, spec: ConfigFile) -> str:
        """The daemon keeps running, with nothing to do."""
        if host.config.read(spec.path) is None:
            return ""
        if spec.daemon is not None and spec.sockets is not None:
            host.config.write(spec.path, "frr defaults datacenter\n")
            words = host.config.load(spec.path, spec.sockets)
            if words:
                host.config.write(spec.path, spec.content)
                return words
        host.config.remove(spec.path)
        return ""


KINDS = (ConfigFile,)
ACTUATOR = ConfigFileActuator()
