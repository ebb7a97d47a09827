"""What has to wait because a sandbox could not be read: all that is in it, and all that needs something of that."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.planner.plan import Pending
from reconciler.resources.resource import Key, Resource


def held_up(wanted: Mapping[Key, Resource], unread: Mapping[str, str]) -> dict[Key, Pending]:
    """``unread``: sandbox -> why. Its ends of pairs on the host need it, and what is set on those needs them."""
    held: dict[Key, Pending] = {}
    reasons = {key: unread[key.sandbox] for key in wanted if key.sandbox in unread}
    while reasons:
        held.update((key, Pending(key, reason, wanted[key].origin)) for key, reason in reasons.items())
        reasons = {
            key: next(held[other].reason for other in need.keys)
            for key, resource in wanted.items()
            if key not in held
            for need in resource.needs()
            if need.keys and all(other in held for other in need.keys)
        }
    return held
