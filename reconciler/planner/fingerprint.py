"""Fingerprints: the same for the same specs, whatever file or line they come from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from msgspec.json import Encoder

from reconciler.resources.resource import Resource

_ENCODER = Encoder(order="sorted")


def fingerprint(resources: Iterable[Resource]) -> str:
    """``sha256:`` and the hex digest over (key, data) of all, sorted. Origins are left out."""
    digest = sha256()
    for resource in sorted(resources, key=lambda resource: resource.key):
        digest.update(_canonical([str(resource.key), resource.data()]))
        digest.update(b"\n")
    return f"sha256:{digest.hexdigest()}"


def _canonical(data: Any) -> bytes:
    try:
        return _ENCODER.encode(data)
    except UnicodeEncodeError:  # an interface's name is bytes, and those may be no text
        return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
