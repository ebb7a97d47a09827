"""Driver container: the stack of another sandbox, shared."""

from __future__ import annotations

from typing import ClassVar

from reconciler.drivers.builtin import StackDriver


class Container(StackDriver):
    name: ClassVar[str] = "container"
    summary: ClassVar[str] = "the stack of another sandbox, shared"
    stack: ClassVar[str] = "{container: NAME}"


DRIVER = Container()
