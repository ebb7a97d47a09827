"""The routes of BGP sessions: asked of the router when somebody wants to see them, and no part of an observation."""

from __future__ import annotations

from reconciler.host.bgp import Routes
from reconciler.host.host import Host
from reconciler.planner.plan import Observation
from reconciler.resources.bird import BgpSession, BirdConfig, session_routes
from reconciler.resources.resource import Key


def routes_of(host: Host, observation: Observation, most: int) -> dict[Key, Routes | OSError]:
    """By session that was seen, ``most`` routes each way; or why they are not known."""
    seen = [each.resource for each in observation.items.values()]
    asked = {one.key for one in seen if isinstance(one, BgpSession)}
    found: dict[Key, Routes | OSError] = {}
    for config in seen:
        if isinstance(config, BirdConfig) and asked:
            try:
                found.update(session_routes(host, config, most))
            except OSError as error:
                found.update(dict.fromkeys(asked - found.keys(), error))
    return found
