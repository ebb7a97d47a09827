"""Dummy interfaces: they swallow whatever is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from reconciler.resources.linkinfo.info import LinkInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Dummy(LinkInfo):
    """It has no fields of its own."""

    type: ClassVar[str] = "dummy"


INFO = Dummy
