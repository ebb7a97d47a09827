"""Which part of what is wanted a plan is about: ``--target`` and ``--exclude``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase

from reconciler.resources.resource import Key, Resource


def matches(resource: Resource, globs: Collection[str]) -> bool:
    """A glob names a key (``link/br-*``) or a document (``Endpoint/front/web``)."""
    names = (str(resource.key), resource.origin.document)
    return any(fnmatchcase(name, glob) for glob in globs for name in names)


def select(wanted: Mapping[Key, Resource], targets: Collection[str], excludes: Collection[str]) -> dict[Key, Resource]:
    """The targets (default: all) with what they need, less what is excluded.

    Both ends of a pair are in or out together: they are made in one step.
    """
    chosen = {key for key, resource in wanted.items() if not targets or matches(resource, targets)}
    if targets:
        chosen = with_needs(wanted, chosen)
    if excludes:
        ends = _other_ends(wanted)
        out = {key for key in chosen if matches(wanted[key], excludes)}
        chosen -= out | {other for key in out for other in ends.get(key, ())}
    return {key: resource for key, resource in wanted.items() if key in chosen}


def with_needs(wanted: Mapping[Key, Resource], keys: Iterable[Key]) -> set[Key]:
    """``keys`` and what they need, transitively: what stands below them, the other ends of their pairs, and the
    guards of what lets traffic through (without its filter it would be open)."""
    ends = _other_ends(wanted)
    guards = [key for key, resource in wanted.items() if resource.guard]
    chosen: set[Key] = set()
    waiting = list(keys)
    while waiting:
        key = waiting.pop()
        if key in chosen or key not in wanted:
            continue
        chosen.add(key)
        resource = wanted[key]
        waiting += (below for need in resource.needs() for below in need.keys)
        waiting += ends.get(key, ())
        if resource.guarded():
            waiting += guards
            guards = []
    return chosen


def _other_ends(wanted: Mapping[Key, Resource]) -> dict[Key, list[Key]]:
    ends: dict[Key, list[Key]] = {}
    for key, resource in wanted.items():
        maker = resource.made_by()
        if maker is not None:
            ends.setdefault(key, []).append(maker)
            ends.setdefault(maker, []).append(key)
    return ends
