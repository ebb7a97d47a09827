"""Which part of what is wanted a plan is about: ``--target`` and ``--exclude``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase

from reconciler.resources.resource import Key, Resource


def matches(resource: Resource, globs: Collection[str]) -> bool:
    """A glob names a key (``link/br-*``) or a document (``Endpoint/front/web``)."""
    names = (str(resource.key), resource.origin.document)
    return any(fnmatchcase(name, glob) for glob in globs for name in names)


def select(wanted: Mapping[Key, Resource], targets: Collection[str], excludes: Collection[str]) -> dict[Key, Resource]:
    """The targets (default: all) and what they need, without what is excluded."""
    chosen = {key: r for key, r in wanted.items() if not targets or matches(r, targets)}
    waiting = list(chosen.values()) if targets else []
    while waiting:
        resource = waiting.pop()
        keys = [key for need in resource.needs() for key in need.keys]
        maker = resource.made_by()
        keys += [maker] if maker is not None else []
        for key in keys:
            if key in wanted and key not in chosen:
                chosen[key] = wanted[key]
                waiting.append(wanted[key])
    if excludes:
        chosen = {key: resource for key, resource in chosen.items() if not matches(resource, excludes)}
    return chosen
