"""What a BGP speaker tells of itself, whichever program it is."""

from __future__ import annotations

from typing import NamedTuple

ESTABLISHED = "Established"


class Session(NamedTuple):
    """``state`` is that of RFC 4271, 8.2.2: Established, Active, Connect, Idle, ..., or the router's own word for one that
    is off; ``words`` what it says about why. ``imported`` and ``exported`` are numbers of routes."""

    name: str
    state: str
    words: str
    imported: int
    exported: int


class BgpRoute(NamedTuple):
    """A route as it came by a session, behind what filters did to it, or as it went. ``best``: of all routes to its prefix
    this is the one that counts here. Of what goes some routers do not tell the next hop: "" then, as with all that is not
    there. ``communities`` are those of RFC 1997 and RFC 8092, like 64512:100 and 64512:1:100."""

    prefix: str
    next_hop: str = ""
    dev: str = ""
    best: bool = False
    as_path: str = ""
    local_pref: int | None = None
    communities: tuple[str, ...] = ()


class Routes(NamedTuple):
    """The routes of a session, by prefix; ``more``: some were left out, because so many were not asked for."""

    learned: tuple[BgpRoute, ...]
    exported: tuple[BgpRoute, ...]
    more_learned: bool = False
    more_exported: bool = False
