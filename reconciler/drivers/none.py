"""Driver none: a stack of its own with loopback only."""

from __future__ import annotations

from typing import ClassVar

from reconciler.drivers.builtin import StackDriver


class NoNetwork(StackDriver):
    name: ClassVar[str] = "none"
    summary: ClassVar[str] = "a stack of its own with loopback only"
    stack: ClassVar[str] = "none"


DRIVER = NoNetwork()
