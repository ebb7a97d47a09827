"""Every error that this package raises on purpose.

::

    CnmError
    ├── ManifestError      bad input: every problem of the run, each with file, line, column, hint
    ├── UsageError         the command line or the call itself is wrong
    │   └── CommandError       a command to be run in a sandbox cannot be started
    ├── PlanError          the input is fine, but no plan can be made of it
    │   ├── ConflictError      something that is not ours stands where ours should be
    │   ├── CycleError         resources that wait for each other
    │   ├── StaleError         the host is no longer what the plan was made for
    │   └── UnsupportedError   this host lacks a capability that the manifests need
    ├── ObservationError   the host could not be read whole
    │   ├── RemoteError        something beyond it that belongs to the picture does not answer, or refuses to
    │   └── UnreadableError    a sandbox of it could not
    ├── ActuationError     the kernel or a daemon refused an operation
    ├── VerifyError        applied, but the host still differs
    ├── GuardError         a safeguard refuses; the user may overrule it
    ├── StateError         the state folder cannot be used: full, read-only, damaged
    └── LockError          another cnm holds this host

``exit_status`` is what the ``cnm`` command ends with; the table is in docs/cli.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from msgspec import Struct


class Origin(Struct, frozen=True, order=True):
    """Where something was asked for: a place in a manifest.

    ``file`` is relative to the manifest root (``<stdin>`` for standard input); ``line`` and ``column``
    count from 1, 0 means unknown. ``document`` is ``Kind/name``; ``driver`` names the driver that rendered it.
    """

    file: str = ""
    line: int = 0
    column: int = 0
    document: str = ""
    driver: str = ""

    def __str__(self) -> str:
        if not self.file:
            return self.document or "?"
        place = self.file
        if self.line:
            place += f":{self.line}"
            if self.column:
                place += f":{self.column}"
        return place


class Problem(Struct, frozen=True, order=True):
    """One thing that is wrong with the input, and what to write instead."""

    origin: Origin
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.origin}: {self.message}"
        return f"{text}\n    hint: {self.hint}" if self.hint else text


class CnmError(Exception):
    """Base of all errors raised on purpose; ``str()`` is fit for a person to read."""

    exit_status: ClassVar[int] = 1


class ManifestError(CnmError):
    """The manifests are not valid. Carries all problems found, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems,)


class UsageError(CnmError):
    """A call or command line that makes no sense; nothing was read or touched."""


class CommandError(UsageError):
    """A command to be run in a sandbox cannot be started; ``exit_status`` is what shells say then."""

    def __init__(self, text: str, exit_status: int) -> None:
        self.exit_status = exit_status  # type: ignore[misc]  # of this error, not of its class
        super().__init__(text)


class PlanError(CnmError):
    """No plan can be made: ``problems`` says why, each with its origin."""

    def __init__(self, problems: Iterable[Problem] | str) -> None:
        if isinstance(problems, str):
            problems = (Problem(Origin(), problems),)
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(p) if p.origin.file or p.origin.document else p.message for p in self.problems))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems,)


class ConflictError(PlanError):
    """An object that is not provably ours stands where ours should be."""

    exit_status: ClassVar[int] = 6


class CycleError(PlanError):
    """Resources that wait for each other."""


class StaleError(PlanError):
    """The host changed since the plan was made."""

    exit_status: ClassVar[int] = 5


class UnsupportedError(PlanError):
    """The host lacks a capability that the manifests need."""


class ObservationError(CnmError):
    """The host, or a part of it, could not be read whole. Nothing may be pruned on such a look."""


class RemoteError(ObservationError):
    """What is beyond this host, and belongs to the picture, does not answer or refuses to: a fabric's controllers."""


class UnreadableError(ObservationError):
    """One sandbox could not be read whole; the rest of the host can be."""

    def __init__(self, sandbox: str, text: str) -> None:
        self.sandbox = sandbox
        super().__init__(text)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.sandbox, str(self))


class ActuationError(CnmError):
    """The kernel or a daemon refused an operation. ``text`` is its own wording."""

    exit_status: ClassVar[int] = 4

    def __init__(self, key: str, action: str, errno: int, text: str) -> None:
        self.key, self.action, self.errno, self.text = key, action, errno, text
        super().__init__(f"{action} {key}: {text}" + (f" (errno {errno})" if errno else ""))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.key, self.action, self.errno, self.text)


class VerifyError(CnmError):
    """Everything was executed, but a second look at the host still finds differences: ``left``."""

    exit_status: ClassVar[int] = 4

    def __init__(self, left: Iterable[str]) -> None:
        self.left: tuple[str, ...] = tuple(left)
        super().__init__("after apply these still differ:\n" + "\n".join(f"  {line}" for line in self.left))


class GuardError(CnmError):
    """A plan that is right, but that would do what a safeguard is there to prevent. Nothing was touched."""


class StateError(CnmError):
    """What cnm must remember cannot be written or read. Nothing was touched."""


class LockError(CnmError):
    """Another cnm holds the lock of this host."""

    exit_status: ClassVar[int] = 5
