"""What the attendant serves (reconciler.attendant): a kind is a spec and the sockets that go with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from errno import EIO, ENOENT
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import ValidationError, convert

from reconciler import __version__
from reconciler.errors import Origin
from reconciler.host import attendant
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.process import Process, process_key
from reconciler.resources.resource import Key, Need, Observed, Resource

if TYPE_CHECKING:
    from socket import socket

    from reconciler.host.host import Host

ATTENDANT = process_key("attendant")
_NAMESPACE = "namespace"


def attendant_process(origin: Origin) -> Process:
    """The process itself. A newer cnm starts a newer one."""
    return Process(key=ATTENDANT, origin=origin, program="attendant", arguments=(__version__,))


class Attended(Resource, frozen=True, kw_only=True):
    """It goes when the attendant goes, and is handed over anew. Nobody else has one: all that it serves is ours."""

    marked: ClassVar[str] = "itself"

    def needs(self) -> Iterable[Need]:
        yield Need((ATTENDANT,))

    def hangs_on(self) -> Iterable[Key]:
        yield ATTENDANT

    def sockets(self, host: Host) -> Sequence[socket]:
        """Opened anew, where they belong. Raises OSError; KeyError when their namespace is not there."""
        return ()


def _told(host: Host, spec: Attended) -> dict[str, Any]:
    """What the attendant keeps of it: with the namespace that its sockets are in, which may be made anew under its name."""
    here = {_NAMESPACE: host.netns(spec.key.netns).inode} if spec.key.netns else {}
    return {**spec.data(), **here}


def _is_there(host: Host, key: Key, namespace: int | None) -> bool:
    """Whether its sockets are in the namespace that has this name now; one that is gone has no other."""
    if not key.netns or namespace is None or key.netns not in host.open_namespaces():
        return True
    return host.netns(key.netns).inode == namespace


class AttendedActuator:
    """Reads and hands over one kind, a request a batch."""

    def __init__(self, kind: type[Attended]) -> None:
        self._kind = kind

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        if not host.runtime.is_dir():
            return
        for text, data in attendant.served(host.runtime, self._kind.kind):
            with suppress(ValueError, ValidationError):  # of a version that spoke otherwise: it goes with its process
                key = Key.parse(text)
                if _is_there(host, key, data.pop(_NAMESPACE, None)) or key not in scope.wanted:
                    yield Observed(self._spec(key, data), scope.owner)

    def _spec(self, key: Key, data: dict[str, Any]) -> Attended:
        return convert({"key": list(key), **data}, self._kind)

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        outcomes = {op.id: Outcome(op.id) for op in ops}
        changes: list[tuple[OpView, attendant.Change]] = []
        makes = any(op.action == "create" for op in ops)
        known = dict(attendant.served(host.runtime, self._kind.kind)) if makes else {}
        for op in ops:
            try:
                host.step("attendant", str(op.key))
                changes.append((op, self._change(host, op, known.get(str(op.key)))))
            except KeyError:
                outcomes[op.id] = Outcome(op.id, ENOENT, f"the network namespace {op.key.netns} is not there")
            except OSError as error:
                outcomes[op.id] = Outcome(op.id, error.errno or EIO, error.strerror or str(error))
        if changes:
            try:
                answers = attendant.change(host.runtime, [change for _op, change in changes])
            except OSError as error:
                absent = isinstance(error, (FileNotFoundError, ConnectionRefusedError))
                for op, _change in changes:
                    if not (absent and op.action == "delete"):
                        outcomes[op.id] = Outcome(
                            op.id, error.errno or EIO, f"the attendant: {error.strerror or error}"
                        )
            else:
                for (op, _change), (number, text) in zip(changes, answers, strict=True):
                    outcomes[op.id] = Outcome(op.id, number, text)
        return outcomes.values()

    @staticmethod
    def _change(host: Host, op: OpView, known: dict[str, Any] | None) -> attendant.Change:
        """``known`` is what the attendant has of it."""
        if op.action in ("delete", "release"):
            return str(op.key), None, ()
        spec = op.after
        assert isinstance(spec, Attended)
        if op.action == "create" and (known is None or not _is_there(host, op.key, known.get(_NAMESPACE))):
            return str(op.key), _told(host, spec), spec.sockets(host)
        return str(op.key), _told(host, spec), None
