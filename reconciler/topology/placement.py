"""Addresses by where a node is: Romana's topology-aware allocation.

A node gives out addresses of its group's prefix only, in blocks that are one owner's each: those that the owner has on this
node first, lowest address first; then a free block, beside the node's others if it has any, else where most is free.
A block without an address is free again: there is nothing to give back.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from ipaddress import collapse_addresses
from typing import Any

from msgspec import Struct

from reconciler.topology.allocate import Asker, Pool
from reconciler.topology.groups import Group, Layout, inside, prefix
from reconciler.topology.space import Space
from reconciler.topology.view import Address, BlockView, Subnet


class Owners(Struct, frozen=True):
    """Whose endpoints share blocks: ``TENANT:SEGMENT``, by the labels of these names; without the first one the tenant is
    the sandbox's Kubernetes namespace."""

    tenant: str
    segment: str

    def tenant_of(self, asker: Asker) -> str:
        return asker.labels.get(self.tenant) or asker.namespace

    def owner_of(self, asker: Asker) -> str:
        segment = asker.labels.get(self.segment)
        return f"{self.tenant_of(asker)}:{segment}" if segment else self.tenant_of(asker)


@dataclass(slots=True)
class PlacedPool(Pool):
    """One subnet. ``number`` is its place among the network's. ``tenants`` are those that it is for, none: all.
    ``blackouts`` are addresses that nobody gets. ``locked``: CIDR of a block -> (node, owner), by the lock file."""

    layout: Layout = field(kw_only=True)
    number: int = field(kw_only=True)
    block_length: int = field(kw_only=True)
    owners: Owners = field(kw_only=True)
    tenants: frozenset[str] = field(default=frozenset(), kw_only=True)
    blackouts: tuple[Subnet, ...] = field(default=(), kw_only=True)
    locked: Mapping[str, tuple[str, ...]] = field(default_factory=dict, kw_only=True)
    _bits: int = field(init=False)  # of an address within its block
    _kept: dict[int, tuple[str, str]] = field(init=False)  # number of a block -> (node, owner), by the lock file
    _holders: dict[int, tuple[str, str]] = field(default_factory=dict, init=False)
    _open: dict[tuple[str, str], list[int]] = field(
        default_factory=dict, init=False
    )  # heaps: blocks that may have room
    _home: dict[str, int] = field(default_factory=dict, init=False)  # a node's lowest block
    _spaces: dict[tuple[str, ...], Space] = field(default_factory=dict, init=False)  # by path of the group
    _tried: dict[int, int] = field(
        default_factory=dict, init=False
    )  # number of a block -> first address that may be free
    _shut: list[tuple[int, int]] = field(init=False)  # (first, last) of what is never chosen, by address

    def __post_init__(self) -> None:
        super(PlacedPool, self).__post_init__()
        cidr = self.subnet.cidr
        self._bits = cidr.max_prefixlen - self.block_length
        shut = [*self.blackouts, *_around(self.subnet.range, cidr)]
        self._shut = [(int(c.network_address), int(c.broadcast_address)) for c in _collapsed(shut)]
        self._kept = {}
        for text, words in self.locked.items():
            address, _, length = text.partition("/")
            if int(length) == self.block_length and (":" in address) == (cidr.version == 6) and len(words) == 2:
                number = int(type(cidr.network_address)(address)) >> self._bits
                self._kept[number] = (words[0], words[1])

    # -- what was decided before -----------------------------------------------------------------------------

    def take(self, address: Address, asker: Asker) -> bool:
        """A static address may have any block that no other static one has; a locked one only that which was its owner's."""
        block = int(address) >> self._bits
        whose = (asker.node, self.owners.owner_of(asker))
        if self.refusal(address, asker) is not None:
            return False
        if not asker.static and self._kept.get(block, whose) != whose:
            return False
        if not super(PlacedPool, self).take(address, asker):
            return False
        if block not in self._holders:
            self._hold(block, whose)
        return True

    def refusal(self, address: Address, asker: Asker) -> tuple[str, str] | None:
        group, part = self._part(asker)
        tenant, owner = self.owners.tenant_of(asker), self.owners.owner_of(asker)
        if part is None or group is None:
            return f"{address} cannot be on {self._nowhere(asker)}", "give the node labels of a group"
        if address not in part:
            return (
                f"{address} is outside {self.reach(asker)}, where node {asker.node} is",
                f"write an address of {part}",
            )
        if self.tenants and tenant not in self.tenants:
            return f"{self.subnet.cidr} is not for tenant {tenant}", "write an address of another subnet"
        dark = next((str(c) for c in self.blackouts if c.version == address.version and address in c), None)
        if dark is not None:
            return f"{address} is blacked out ({dark})", "write another address"
        block = int(address) >> self._bits
        node, other = self._holders.get(block, (asker.node, owner))
        if (node, other) != (asker.node, owner):
            return f"{address} is in block {self._cidr(block)} of {other} on node {node}", "write one of another block"
        return None

    # -- what is chosen now ----------------------------------------------------------------------------------

    def lowest(self, asker: Asker) -> int | None:
        found = self.own(asker)
        return found if found is not None else self.fresh(asker)

    def own(self, asker: Asker) -> int | None:
        """The lowest free address of the blocks that the owner has on this node."""
        waiting = self._open.get((asker.node, self.owners.owner_of(asker)), [])
        while waiting:
            found = self._free(waiting[0])
            if found is not None:
                return found
            heappop(waiting)
        return None

    def fresh(self, asker: Asker) -> int | None:
        """The first address of a free block of the node's group."""
        group, part = self._part(asker)
        if group is None or part is None or (self.tenants and self.owners.tenant_of(asker) not in self.tenants):
            return None
        space = self._space(group, part)
        first = int(part.network_address) >> self._bits
        home = self._home.get(asker.node)
        while True:
            offset = space.near(home - first) if home is not None else space.roomy()
            if offset is None:
                return None
            found = self._free(first + offset)
            if found is None:  # its addresses are all kept for something
                space.take(offset)
                continue
            self._hold(first + offset, (asker.node, self.owners.owner_of(asker)))
            return found

    def reach(self, asker: Asker) -> str:
        group, part = self._part(asker)
        if group is None or part is None:
            return self._nowhere(asker)
        return f"{part} of group {group.name}" if group.path else str(part)

    def blocks(self) -> Sequence[BlockView]:
        return tuple(BlockView(self._cidr(block), *self._holders[block]) for block in sorted(self._holders))

    # ----------------------------------------------------------------------------------------------------------

    def _part(self, asker: Asker) -> tuple[Group | None, Subnet | None]:
        group = self.layout.leaf(asker.node)
        return group, group.cidrs[self.number] if group is not None else None

    def _nowhere(self, asker: Asker) -> str:
        return f"node {asker.node}, whose labels fit no group with a part of {self.subnet.cidr}"

    def _cidr(self, block: int) -> Subnet:
        return prefix(block << self._bits, self.block_length, self.subnet.cidr.version)

    def _hold(self, block: int, whose: tuple[str, str]) -> None:
        self._holders[block] = whose
        heappush(self._open.setdefault(whose, []), block)
        node = whose[0]
        self._home[node] = min(self._home.get(node, block), block)
        group = self.layout.leaf(node)
        part = group.cidrs[self.number] if group is not None else None
        assert group is not None
        assert part is not None
        space, offset = self._space(group, part), block - (int(part.network_address) >> self._bits)
        if not space.closed(offset):
            space.take(offset)

    def _space(self, group: Group, part: Subnet) -> Space:
        space = self._spaces.get(group.path)
        if space is None:
            space = self._spaces[group.path] = Space(self.block_length - part.prefixlen)
            first = int(part.network_address) >> self._bits
            for cidr in _collapsed([*self.blackouts, *_around(self.subnet.range, self.subnet.cidr)]):
                if inside(part, cidr):
                    space.take(0, self.block_length - part.prefixlen)
                elif inside(cidr, part) and cidr.prefixlen <= self.block_length:
                    level = self.block_length - cidr.prefixlen
                    space.take(((int(cidr.network_address) >> self._bits) - first) >> level, level)
        return space

    def _free(self, block: int) -> int | None:
        """Reserve the lowest free address of a block."""
        first = block << self._bits
        last = first + (1 << self._bits) - 1
        number = self._tried.get(block, first)
        while number <= last:
            at = bisect_right(self._shut, (number, last)) - 1
            if at >= 0 and number <= self._shut[at][1]:
                number = self._shut[at][1] + 1
            elif number in self.taken:
                number += 1
            else:
                self.taken.add(number)
                self._tried[block] = number + 1
                return number
        self._tried[block] = number
        return None


def choose_by_place(pools: Sequence[Pool], asker: Asker) -> int | None:
    """The owner's blocks on this node, whichever subnet they are of, before a free block of the first that has one."""
    mine = [pool for pool in pools if isinstance(pool, PlacedPool)]
    for step in (PlacedPool.own, PlacedPool.fresh):
        for pool in mine:
            found = step(pool, asker)
            if found is not None:
                return found
    return None


def _around(part: Subnet, whole: Subnet) -> Iterable[Subnet]:
    """What of a prefix is not in a part of it."""
    own: Any = whole
    return own.address_exclude(part) if part != whole and inside(part, whole) else ()


def _collapsed(cidrs: Iterable[Subnet]) -> Sequence[Subnet]:
    """The same addresses without overlaps, by address, of one family after the other."""
    found: list[Subnet] = []
    for version in (4, 6):
        same: Any = [cidr for cidr in cidrs if cidr.version == version]
        found += collapse_addresses(same)
    return found
