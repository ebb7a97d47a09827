"""Automatic subnets and addresses: a pure function of the manifests and the lock file.

Addresses are counted as integers: the ``ipaddress`` objects are made for people, and slow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, ip_network

from msgspec import Struct

from reconciler.topology.view import Address, BlockView, Subnet, SubnetView

# What libnetwork hands out when nobody says a subnet (its documented default-address-pools): (base, length).
POOLS: tuple[tuple[str, int], ...] = (
    ("172.17.0.0/16", 16),
    ("172.18.0.0/16", 16),
    ("172.19.0.0/16", 16),
    ("172.20.0.0/14", 16),
    ("172.24.0.0/14", 16),
    ("172.28.0.0/14", 16),
    ("192.168.0.0/16", 20),
)


def free_subnet(taken: Iterable[Subnet]) -> IPv4Network | None:
    """The first subnet of the automatic pools that overlaps nothing in ``taken``; None when all do."""
    spans = [(int(net.network_address), int(net.broadcast_address)) for net in taken if net.version == 4]
    for base, length in POOLS:
        for candidate in ip_network(base).subnets(new_prefix=length):
            first, last = int(candidate.network_address), int(candidate.broadcast_address)
            if isinstance(candidate, IPv4Network) and not any(low <= last and first <= high for low, high in spans):
                return candidate
    return None


class Asker(Struct, frozen=True):
    """For whom an address is, as far as a strategy may go by it. ``labels`` are the sandbox's, over them the
    endpoint's own. ``static``: its manifest names the address."""

    endpoint: str  # network/name
    node: str
    namespace: str
    labels: Mapping[str, str]
    static: bool = False


@dataclass(slots=True)
class Pool:
    """The addresses of one subnet: what is taken, and where to look for the next free one.

    This is the plain strategy: the lowest free address, whoever asks. Another one is a subclass, made by
    ``NetworkOptions.pools``; what goes over several pools of one family is ``NetworkOptions.choose``. Whatever was
    decided before (static and locked addresses) is taken before anything new is chosen, in the order of names.
    """

    subnet: SubnetView
    taken: set[int] = field(default_factory=set)  # to begin with: what nobody shall get
    _next: int = 0

    def __post_init__(self) -> None:
        cidr = self.subnet.cidr
        self.taken.update(int(address) for address in self.subnet.auxiliary.values())
        if self.subnet.gateway is not None:
            self.taken.add(int(self.subnet.gateway))
        self.taken.update(reserved(cidr))
        self._next = int(self.subnet.range.network_address)

    def take(self, address: Address, asker: Asker) -> bool:
        """Reserve one address; False when it is taken, or is not for this asker."""
        number = int(address)
        if number in self.taken:
            return False
        self.taken.add(number)
        return True

    def refusal(self, address: Address, asker: Asker) -> tuple[str, str] | None:
        """Why this asker cannot have an address, and what to write instead; None: for no reason but that it is taken."""
        return None

    def reach(self, asker: Asker) -> str:
        """Where in the subnet this asker's automatic addresses come from, in words."""
        return str(self.subnet.range)

    def blocks(self) -> Sequence[BlockView]:
        """The parts of the subnet that are somebody's now, by address; they are kept in the lock file."""
        return ()

    def lowest(self, asker: Asker) -> int | None:
        """Reserve the lowest free address of the range; None when there is none."""
        last = int(self.subnet.range.broadcast_address)
        number = self._next
        while number in self.taken:
            number += 1
        if number > last:
            return None
        self.taken.add(number)
        self._next = number + 1
        return number


def reserved(cidr: Subnet) -> set[int]:
    """Addresses that no host may have: network and broadcast (RFC 919; not in /31 and /32, RFC 3021), and
    IPv6's subnet-router anycast address (RFC 4291, 2.6.1; not in /127 and /128, RFC 6164)."""
    first, last = int(cidr.network_address), int(cidr.broadcast_address)
    if cidr.prefixlen >= cidr.max_prefixlen - 1:
        return set()
    return {first, last} if cidr.version == 4 else {first}


def reserved_for(address: Address, cidr: Subnet) -> str:
    """What a reserved address of a subnet is for, in words."""
    if address.version == 6:
        return f"subnet-router anycast address of {cidr} (RFC 4291)"
    return f"{'network' if address == cidr.network_address else 'broadcast'} address of {cidr}"


def default_gateway(cidr: Subnet, auxiliary: Iterable[Address]) -> Address | None:
    """The first usable address that is not auxiliary; None when there is none."""
    taken = {int(address) for address in auxiliary} | reserved(cidr)
    number, last = int(cidr.network_address), int(cidr.broadcast_address)
    while number in taken:
        number += 1
    return type(cidr.network_address)(number) if number <= last else None


def pool_of(pools: Sequence[Pool], address: Address) -> Pool | None:
    """The pool whose subnet contains ``address``."""
    return next((pool for pool in pools if address in pool.subnet.cidr), None)
