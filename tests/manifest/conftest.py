"""Loading as the command does it: with the options of all drivers."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from reconciler.drivers import registry
from reconciler.errors import ManifestError, Problem
from reconciler.manifest.load import Manifests, load

Load = Callable[..., Manifests]
Refused = Callable[..., tuple[Problem, ...]]


@pytest.fixture
def read() -> Load:
    """Documents of a text: ``read(text, node=..., environment=...)``."""

    def _read(text: str | bytes, **limits: Any) -> Manifests:
        raw = text.encode() if isinstance(text, str) else text
        return load(["-"], options=registry.options(), stdin=io.BytesIO(raw), **limits)

    return _read


@pytest.fixture
def refused() -> Refused:
    """What is wrong with a text, or with the sources named by ``paths``."""

    def _refused(text: str | bytes = "", paths: list[str] | None = None, **limits: Any) -> tuple[Problem, ...]:
        sources = ["-"] if paths is None else paths
        stdin = io.BytesIO(text.encode() if isinstance(text, str) else text)
        with pytest.raises(ManifestError) as caught:
            load(sources, options=registry.options(), stdin=stdin, **limits)
        return caught.value.problems

    return _refused
