"""nftables: the tables that belong to cnm whole, with their chains, sets, maps and elements.

A table of ours carries a comment that names its owner. Everything inside it is ours: what somebody adds by
hand is drift. All changes of a plan go down in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from reconciler.resources.netns import netns_key
from reconciler.resources.resource import Key, Need, Part, Resource


def table_key(family: str, table: str, netns: str = "") -> Key:
    return Key("nft-table", netns, f"{family}/{table}")


def chain_key(family: str, table: str, chain: str, netns: str = "") -> Key:
    return Key("nft-chain", netns, f"{family}/{table}/{chain}")


def set_key(family: str, table: str, name: str, netns: str = "") -> Key:
    return Key("nft-set", netns, f"{family}/{table}/{name}")


def element_key(family: str, table: str, name: str, element: str, netns: str = "") -> Key:
    """``element`` is an interface name, an address or a CIDR, as nft lists it; of a concatenation the parts with
    `` . `` between them."""
    return Key("nft-element", netns, f"{family}/{table}/{name}/{element}")


class Rule(Part, frozen=True, kw_only=True):
    """One rule: ``expr`` is the JSON of libnftables-json(5) in the very form in which nft lists it (compact,
    keys sorted); ``comment`` says in words what it is for and is shown in plans."""

    comment: str
    expr: str


class NftTable(Resource, frozen=True, kw_only=True):
    """A table. Its mark is an empty chain that names the owner; the inventory remembers where tables of ours are, for
    who would look into every namespace?"""

    kind: ClassVar[str] = "nft-table"
    batch: ClassVar[str] = "nft"
    marked: ClassVar[str] = "inventory"
    transaction: ClassVar[bool] = True
    guard: ClassVar[bool] = True

    def needs(self) -> Iterable[Need]:
        if self.key.netns:
            yield Need((netns_key(self.key.netns),))

    def hangs_on(self) -> Iterable[Key]:
        if self.key.netns:
            yield netns_key(self.key.netns)


class _InTable(Resource, frozen=True, kw_only=True):
    """What lives in a table and goes with it."""

    def needs(self) -> Iterable[Need]:
        family, table = self.key.name.split("/")[:2]
        yield Need((table_key(family, table, self.key.netns),))

    def hangs_on(self) -> Iterable[Key]:
        family, table = self.key.name.split("/")[:2]
        yield table_key(family, table, self.key.netns)


class NftChain(_InTable, frozen=True, kw_only=True):
    """A chain with all its rules in order; ``rules`` None: the admin's, never compared, written or emptied. Base chains
    have ``type``, ``hook``, ``priority`` and ``policy``."""

    kind: ClassVar[str] = "nft-chain"
    batch: ClassVar[str] = "nft"
    transaction: ClassVar[bool] = True
    guard: ClassVar[bool] = True
    fixed: ClassVar[Mapping[str, str]] = dict.fromkeys(("type", "hook", "priority"), "a base chain cannot be moved")

    type: str | None = None
    hook: str | None = None
    priority: int | None = None
    policy: str | None = None
    rules: tuple[Rule, ...] | None = None


class NftSet(_InTable, frozen=True, kw_only=True):
    """A set, or with ``data_type`` a map. ``type`` as in nft(8): ``ifname``, ``ipv4_addr``, or several
    with `` . `` between them. Without ``interval`` it is a hash. Elements are resources of their own."""

    kind: ClassVar[str] = "nft-set"
    batch: ClassVar[str] = "nft"
    transaction: ClassVar[bool] = True
    guard: ClassVar[bool] = True
    fixed: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("type", "data_type", "interval"), "nft cannot change the type of a set"
    )

    type: str
    data_type: str | None = None
    interval: bool = False


class NftElement(_InTable, frozen=True, kw_only=True):
    """One element of a set (``value`` None) or map (``value`` is a verdict like ``goto to-front`` or an address).
    A change of the value is a removal and an addition in one transaction: no packet meets neither."""

    kind: ClassVar[str] = "nft-element"
    batch: ClassVar[str] = "nft"
    transaction: ClassVar[bool] = True
    guard: ClassVar[bool] = True

    value: str | None = None

    def needs(self) -> Iterable[Need]:
        family, table, name = self.key.name.split("/")[:3]
        yield Need((set_key(family, table, name, self.key.netns),))

    def hangs_on(self) -> Iterable[Key]:
        family, table, name = self.key.name.split("/")[:3]
        yield set_key(family, table, name, self.key.netns)


KINDS = (NftTable, NftChain, NftSet, NftElement)
