"""What the attendant serves (reconciler.attendant): a kind is a spec and the sockets that go with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from errno import EIO, ENOENT
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import TypeAdapter, ValidationError

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


def attendant_process(origin: Origin) -> Process:
    """The process itself. A newer cnm starts a newer one."""
    return Process(key=ATTENDANT, origin=origin, program="attendant", arguments=(__version__,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attended(Resource):
    """It goes when the attendant goes, and is handed over anew. Nobody else has one: all that it serves is ours."""

    marked: ClassVar[str] = "itself"

    def needs(self) -> Iterable[Need]:
        yield Need((ATTENDANT,))

    def hangs_on(self) -> Iterable[Key]:
        yield ATTENDANT

    def sockets(self, host: Host) -> Sequence[socket]:
        """Opened anew, where they belong. Raises OSError; KeyError when their namespace is not there."""
        return ()


class AttendedActuator:
    """Reads and hands over one kind, a request a batch."""

    def __init__(self, kind: type[Attended]) -> None:
        self._kind = kind

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        if not host.runtime.is_dir():
            return
        for text, data in attendant.served(host.runtime, self._kind.kind):
            with suppress(ValueError, ValidationError):  # of a version that spoke otherwise: it goes with its process
                yield Observed(self._spec(Key.parse(text), data), scope.owner)

    def _spec(self, key: Key, data: dict[str, Any]) -> Attended:
        whole = json.dumps({"key": list(key), **data})
        return TypeAdapter(self._kind).validate_json(whole)

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        outcomes = {op.id: Outcome(op.id) for op in ops}
        changes: list[tuple[OpView, attendant.Change]] = []
        for op in ops:
            try:
                host.step("attendant", str(op.key))
                changes.append((op, self._change(host, op)))
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
    def _change(host: Host, op: OpView) -> attendant.Change:
        if op.action in ("delete", "release"):
            return str(op.key), None, ()
        spec = op.after
        assert isinstance(spec, Attended)
        if op.action == "create":
            known = {key for key, _spec in attendant.served(host.runtime, spec.kind)}
            if str(op.key) in known:
                return str(op.key), spec.data(), None
            return str(op.key), spec.data(), spec.sockets(host)
        return str(op.key), spec.data(), None
