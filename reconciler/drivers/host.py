"""Driver host: the host's own stack."""

from __future__ import annotations

from typing import ClassVar

from reconciler.drivers.builtin import StackDriver


class Host(StackDriver):
    name: ClassVar[str] = "host"
    summary: ClassVar[str] = "the host's own stack"
    stack: ClassVar[str] = "host"


DRIVER = Host()
