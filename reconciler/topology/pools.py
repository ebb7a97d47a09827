"""IPPool documents, and how a node's blocks are chosen: the rules of Calico's address management.

A node gives out addresses of its own blocks first, lowest first; when they are full it gets another block of a pool that is
for it; when there is none, it borrows the lowest free address of another node's block, unless the pool is strict. A
block without an address is given back. Whose a block is, is kept in the lock file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING, cast

from reconciler.manifest.document import Document
from reconciler.policy.selector import Selector, parse
from reconciler.topology.allocate import Asker, Pool
from reconciler.topology.derive import digest
from reconciler.topology.view import Address, BlockView, NodeView, PoolView, Subnet, SubnetView

if TYPE_CHECKING:
    from reconciler.manifest.kinds.ippool import IPPool
    from reconciler.topology.resolve import Problems

_FIRST_VNI, _VNIS = 1 << 22, 1 << 23  # above what is chosen one by one


def resolve_pools(
    documents: Sequence[Document], nodes: Sequence[NodeView], here: str, problems: Problems
) -> dict[str, tuple[PoolView, Selector]]:
    """All pools by name, each with the networks that draw from it."""
    found: dict[str, tuple[PoolView, Selector]] = {}
    for document in documents:
        spec = cast("IPPool", document.model).spec
        wanted = parse(spec.nodes)
        view = PoolView(
            name=document.name,
            cidr=spec.cidr,
            block_length=spec.block_length,
            nodes=frozenset(name for name, labels in _labels(nodes, here).items() if wanted.matches(labels)),
            max_blocks=spec.max_blocks_per_node,
            strict=spec.strict_affinity,
            nat=spec.nat_outgoing,
            encapsulation=spec.encapsulation,
            tunnel=spec.tunnel,
            vni=spec.vni or _FIRST_VNI + int.from_bytes(digest("pool", document.name)[:4], "big") % _VNIS,
            port=spec.port,
            disabled=spec.disabled,
            origin=document.at("spec", "cidr"),
        )
        for other, _networks in found.values():
            if other.cidr.version == view.cidr.version and other.cidr.overlaps(view.cidr):
                problems.add(
                    view.origin,
                    f"IPPools {other.name} and {view.name} overlap: {other.cidr} and {view.cidr} ({other.origin})",
                    "give them prefixes that do not overlap",
                )
        found[document.name] = (view, parse(spec.networks))
    return found


def pool_of_its_own(name: str, cidr: Subnet, nodes: Sequence[NodeView], here: str, subnet: SubnetView) -> PoolView:
    """What a subnet is that a network names itself: a pool with the defaults of one."""
    return PoolView(
        name=f"{name}/{cidr}",
        cidr=cidr,
        block_length=max(cidr.prefixlen, {4: 26, 6: 122}[cidr.version]),
        nodes=frozenset(_labels(nodes, here)),
        origin=subnet.origin,
    )


def _labels(nodes: Sequence[NodeView], here: str) -> Mapping[str, Mapping[str, str]]:
    return {node.name: {**node.labels, "cnm/node": node.name} for node in nodes} or {here: {"cnm/node": here}}


@dataclass(slots=True)
class BlockPool(Pool):
    """A pool of blocks. ``locked``: CIDR of a block to its node."""

    locked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    _view: PoolView = field(init=False)
    _base: int = field(init=False)
    _size: int = field(init=False)
    _holders: dict[int, str] = field(default_factory=dict)  # number of a block -> its node
    _held: dict[str, list[int]] = field(default_factory=dict)  # a node's blocks, in the order in which it got them
    _used: dict[int, int] = field(default_factory=dict)  # number of a block -> how many of its addresses are given
    _full: dict[int, int] = field(default_factory=dict)  # number of a block -> its first offset that may be free
    _fresh: int = 0  # no block below this one is free

    def __post_init__(self) -> None:
        super(BlockPool, self).__post_init__()
        assert self.subnet.pool is not None
        self._view = self.subnet.pool
        self._base = int(self._view.cidr.network_address)
        self._size = 1 << (self._view.cidr.max_prefixlen - self._view.block_length)
        for text, whose in self.locked.items():
            block = ip_network(text)
            inside = block.version == self._view.cidr.version and block.subnet_of(self._view.cidr)  # type: ignore[arg-type]  # of one family
            if (
                inside
                and block.prefixlen == self._view.block_length
                and len(whose) == 1
                and whose[0] in self._view.nodes
            ):
                self._hold(self._number(int(block.network_address)), whose[0])

    def take(self, address: Address, asker: Asker) -> bool:
        if not super(BlockPool, self).take(address, asker):
            return False
        number = self._number(int(address))
        self._used[number] = self._used.get(number, 0) + 1
        if number not in self._holders and self._may_claim(asker):
            self._hold(number, asker.node)
        return True

    def own(self, asker: Asker) -> int | None:
        """The lowest free address of the node's own blocks."""
        if not self._open_to(asker):
            return None
        return next((a for n in sorted(self._held.get(asker.node, ())) if (a := self._free(n)) is not None), None)

    def claim(self, asker: Asker) -> int | None:
        """The first address of a new block."""
        if not (self._open_to(asker) and self._may_claim(asker)):
            return None
        last = self._number(int(self.subnet.range.broadcast_address))
        number = max(self._fresh, self._number(int(self.subnet.range.network_address)))
        passed = True  # whether all before are held for good
        while number <= last:
            if number not in self._holders:
                address = self._free(number)
                if address is not None:
                    self._hold(number, asker.node)
                    return address
            number += 1
            if passed:
                self._fresh = number
        return None

    def borrow(self, asker: Asker) -> int | None:
        """The lowest free address of anybody's block."""
        if self._view.strict or not self._open_to(asker):
            return None
        return next((a for n in sorted(self._holders) if (a := self._free(n)) is not None), None)

    def blocks(self) -> Sequence[BlockView]:
        return tuple(
            BlockView(self._block(number), self._holders[number])
            for number in sorted(self._holders)
            if self._used.get(number)
        )

    def _block(self, number: int) -> Subnet:
        return type(self._view.cidr)((self._base + number * self._size, self._view.block_length))

    def _number(self, address: int) -> int:
        return (address - self._base) // self._size

    def _hold(self, number: int, node: str) -> None:
        self._holders[number] = node
        self._held.setdefault(node, []).append(number)

    def _open_to(self, asker: Asker) -> bool:
        return not self._view.disabled and asker.node in self._view.nodes

    def _may_claim(self, asker: Asker) -> bool:
        """Blocks that were given back do not count."""
        if asker.node not in self._view.nodes:
            return False
        most = self._view.max_blocks
        return most is None or len(self._held.get(asker.node, ())) < most

    def _free(self, number: int) -> int | None:
        """Reserve the lowest free address of a block, inside the range."""
        first = self._base + number * self._size
        low = max(first, int(self.subnet.range.network_address))
        high = min(first + self._size - 1, int(self.subnet.range.broadcast_address))
        address = max(low, first + self._full.get(number, 0))
        while address in self.taken:
            address += 1
        self._full[number] = address - first
        if address > high:
            return None
        self.taken.add(address)
        self._full[number] += 1
        self._used[number] = self._used.get(number, 0) + 1
        return address


def choose_by_blocks(pools: Sequence[Pool], asker: Asker) -> int | None:
    """Own blocks of all pools, then a new block of any, then borrowing from any."""
    mine = [pool for pool in pools if isinstance(pool, BlockPool)]
    for step in (BlockPool.own, BlockPool.claim, BlockPool.borrow):
        for pool in mine:
            address = step(pool, asker)
            if address is not None:
                return address
    return None
