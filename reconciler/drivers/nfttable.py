"""One nftables table as drivers and features render it: its own record, chains, sets and their elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from reconciler.errors import Origin
from reconciler.resources.nft import (
    NftChain,
    NftElement,
    NftSet,
    NftTable,
    Rule,
    chain_key,
    element_key,
    set_key,
    table_key,
)


class Hook(NamedTuple):
    """Where a base chain is hooked in, as nft(8) has it; what none of its rules decides goes on."""

    type: str  # filter | nat | route
    place: str
    priority: int


class Table(Struct, frozen=True):
    """``origin`` is that of all parts that name no other one; ``netns`` the namespace whose table it is."""

    family: str
    name: str
    origin: Origin
    netns: str = ""

    def itself(self) -> NftTable:
        return NftTable(key=table_key(self.family, self.name, self.netns), origin=self.origin)

    def set(self, name: str, kind: str, data: str | None = None, *, interval: bool = False) -> NftSet:
        """A set; with ``data`` (a type, or ``verdict``) a map."""
        key = set_key(self.family, self.name, name, self.netns)
        return NftSet(key=key, origin=self.origin, type=kind, data_type=data, interval=interval)

    def element(self, name: str, element: str, origin: Origin | None = None, value: str | None = None) -> NftElement:
        """An element of set ``name``; ``value`` is what a map has for it."""
        key = element_key(self.family, self.name, name, element, self.netns)
        return NftElement(key=key, origin=origin or self.origin, value=value)

    def chain(
        self, name: str, rules: Sequence[Rule] | None, hook: Hook | None = None, origin: Origin | None = None
    ) -> NftChain:
        """``rules`` None: they are somebody else's business. Without a hook it is there to be jumped to."""
        return NftChain(
            key=chain_key(self.family, self.name, name, self.netns),
            origin=origin or self.origin,
            type=hook.type if hook else None,
            hook=hook.place if hook else None,
            priority=hook.priority if hook else None,
            policy="accept" if hook else None,
            rules=tuple(rules) if rules is not None else None,
        )
