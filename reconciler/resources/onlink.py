"""What stands on one interface and goes with it."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.resources.link import link_key
from reconciler.resources.resource import Key, Need, Resource


class OnLink(Resource, frozen=True, kw_only=True):
    """Base of such kinds; ``dev`` is the interface's name."""

    dev: str

    def needs(self) -> Iterable[Need]:
        yield Need((link_key(self.key.netns, self.dev),))

    def hangs_on(self) -> Iterable[Key]:
        yield link_key(self.key.netns, self.dev)

    def group(self) -> Key | None:
        return link_key(self.key.netns, self.dev)
