"""What one table of policies holds; above all its sets: who is meant by a selector, which CIDRs, which ports by name."""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from ipaddress import collapse_addresses

from reconciler.drivers.nfttable import Hook, Table
from reconciler.errors import Origin
from reconciler.policy.view import Choice, Nets, Party
from reconciler.resources.nft import Rule, chain_key
from reconciler.resources.resource import Resource
from reconciler.topology.view import Address, Subnet

PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}


class Sets:
    """All that stands in one table, each once however often it is asked for. ``parties`` are those of all nodes."""

    def __init__(self, table: Table, parties: Sequence[Party]) -> None:
        self._table = table
        self._parties = parties
        self._found: dict[str, Resource] = {}  # by key, as text
        self._members: dict[str, tuple[Party, ...]] = {}

    def __contains__(self, chain: str) -> bool:
        """Whether the chain of that name is there."""
        return str(chain_key(self._table.family, self._table.name, chain, self._table.netns)) in self._found

    def all(self) -> Iterable[Resource]:
        return self._found.values()

    def add(self, resource: Resource) -> bool:
        """False where it stands already."""
        return self._found.setdefault(str(resource.key), resource) is resource

    def set(self, name: str, kind: str, data: str | None = None, *, interval: bool = False) -> bool:
        return self.add(self._table.set(name, kind, data, interval=interval))

    def element(self, name: str, element: str, origin: Origin, value: str | None = None) -> None:
        self.add(self._table.element(name, element, origin, value))

    def chain(
        self, name: str, rules: Sequence[Rule], origin: Origin | None = None, *, hook: str = "", priority: int = 0
    ) -> None:
        self.add(self._table.chain(name, rules, Hook("filter", hook, priority) if hook else None, origin))

    # -- what rules look up: each returns the name of its set ---------------------------------------------

    def chosen(self, choice: Choice, version: int) -> str:
        """The set of the addresses of the parties that a choice means, on all nodes."""
        name = f"selected{version}-{digest(choice.text)}"
        if self.set(name, address_type(version)):
            members = self._members.get(choice.text)
            if members is None:
                members = self._members[choice.text] = tuple(p for p in self._parties if choice(p))
            for party in members:
                for own in party.addresses:
                    if own.version == version:
                        self.element(name, str(own), party.origin)
        return name

    def nets(self, lists: Sequence[Nets], version: int, origin: Origin) -> str:
        """The interval set of CIDRs; "" when there are none of this version. An AddressSet has one of its own, also
        when it is empty, so that what is added to it later is an element and no rule."""
        if len(lists) == 1 and lists[0].name:
            name, cidrs = f"addresses{version}-{lists[0].name}", lists[0].cidrs
        else:
            cidrs = tuple(cidr for nets in lists for cidr in nets.cidrs)
            if not any(cidr.version == version for cidr in cidrs) and not any(nets.name for nets in lists):
                return ""
            name = f"nets{version}-{digest(*sorted(map(str, cidrs)))}"
        if self.set(name, address_type(version), interval=True):
            for cidr in _collapsed(cidrs, version):
                self.element(name, _cidr(cidr), origin)
        return name

    def hosts(self, addresses: Sequence[Address], version: int, origin: Origin) -> str:
        """The set of these addresses, all of one version."""
        texts = sorted(map(str, addresses))
        name = f"hosts{version}-{digest(*texts)}"
        if self.set(name, address_type(version)):
            for text in texts:
                self.element(name, text, origin)
        return name

    def named(self, port: str, protocol: int, version: int) -> str:
        """(address, port) of all parties that have a port of this name."""
        name = f"port{version}-{PROTOCOLS[protocol]}-{port}"
        if self.set(name, f"{address_type(version)} . inet_service"):
            for party in self._parties:
                numbers = [number for own, kind, number in party.ports if own == port and kind == protocol]
                for own in party.addresses:
                    if own.version == version:
                        for number in numbers:
                            self.element(name, f"{own} . {number}", party.origin)
        return name


def digest(*parts: str) -> str:
    """A short name for what has none, or too long a one."""
    return b32encode(sha256("\0".join(parts).encode()).digest()).decode().lower()[:10]


def address_type(version: int) -> str:
    return "ipv4_addr" if version == 4 else "ipv6_addr"


def _cidr(cidr: Subnet) -> str:
    """As nft lists it: a single address without its length."""
    return str(cidr.network_address) if cidr.prefixlen == cidr.max_prefixlen else str(cidr)


def _collapsed(cidrs: Iterable[Subnet], version: int) -> Iterable[Subnet]:
    """Without overlaps, which an interval set refuses."""
    mine = [cidr for cidr in cidrs if cidr.version == version]
    return sorted(collapse_addresses(mine)) if mine else ()  # type: ignore[type-var]  # all of one version
