"""Dummy interfaces: they swallow whatever is sent."""

from __future__ import annotations

from typing import ClassVar

from reconciler.resources.linkinfo.info import LinkInfo


class Dummy(LinkInfo, frozen=True, kw_only=True):
    """It has no fields of its own."""

    type: ClassVar[str] = "dummy"


INFO = Dummy
