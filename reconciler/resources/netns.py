"""Network namespaces: those that cnm makes for sandboxes, and those that others made and sandboxes live in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from reconciler.resources.resource import Key, Resource


def netns_key(sandbox: str) -> Key:
    """The key of a sandbox's namespace."""
    return Key("netns", "", sandbox)


@dataclass(frozen=True, slots=True, kw_only=True)
class Netns(Resource):
    """A network namespace; ``key.name`` is the sandbox's name.

    ``source`` says where it is found: ``named`` (made by us, mounted on /run/netns/NAME), or
    ``path:/run/netns/x``, ``pid:123``, ``docker:web``: somebody else's, awaited and never made or removed.
    ``lo`` True: loopback is up. ``sysctls``: what a stack of our own must not inherit from its host, as
    (slash path below /proc/sys, value), sorted.
    """

    kind: ClassVar[str] = "netns"
    batch: ClassVar[str] = "netns"

    source: str = "named"
    lo: bool | None = None
    sysctls: tuple[tuple[str, str], ...] | None = None

    def awaited(self) -> str:
        if self.source == "named":
            return ""
        how, _, what = self.source.partition(":")
        return {
            "path": f"there is no network namespace at {what}",
            "pid": f"there is no process {what}",
            "docker": f"there is no running Docker container {what}",
        }[how]

    def hangs_on(self) -> Iterable[Key]:
        return ()


KINDS = (Netns,)
