"""Fingerprints: the same for the same specs, whatever file or line they come from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256

from reconciler.resources.resource import Resource


def fingerprint(resources: Iterable[Resource]) -> str:
    """``sha256:`` and the hex digest over (key, data) of all, sorted. Origins are left out."""
    digest = sha256()
    for resource in sorted(resources, key=lambda resource: resource.key):
        digest.update(json.dumps([str(resource.key), resource.data()], sort_keys=True, separators=(",", ":")).encode())
        digest.update(b"\n")
    return f"sha256:{digest.hexdigest()}"
