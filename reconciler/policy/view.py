"""Policies, resolved: references followed, selectors parsed, every default filled in. Frozen and pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address

from msgspec import Struct

from reconciler.errors import Origin
from reconciler.policy.selector import Selector
from reconciler.topology.view import Address, Subnet

ICMP, TCP, UDP, ICMPV6, SCTP = 1, 6, 17, 58, 132
PROTOCOLS: Mapping[str, int] = {"icmp": ICMP, "tcp": TCP, "udp": UDP, "icmpv6": ICMPV6, "sctp": SCTP}
WITH_PORTS = frozenset((TCP, UDP, SCTP))
# Neighbour discovery and multicast listeners (RFC 4861, 2710, 3810): without them there is no IPv6 to have rules for.
# What of it nobody may forge is the guard's business.
ALWAYS_ICMPV6 = frozenset((130, 131, 132, 133, 134, 135, 136, 143))

UNTRACKED, PRE_DNAT = "untracked", "pre-dnat"
INGRESS, EGRESS = "ingress", "egress"
DIRECTIONS = (INGRESS, EGRESS)


class Party(Struct, frozen=True):
    """Who takes part: an endpoint (``network/endpoint``), or the host itself where a sandbox with ``stack: host``
    stands for it (``host/SANDBOX``; ``host`` True, ``network`` "").

    ``labels`` are the sandbox's, over them the endpoint's, over them ``cnm/network``, ``cnm/endpoint``,
    ``cnm/sandbox``, ``cnm/namespace``, ``cnm/node`` and, in an EndpointGroup, ``cnm/group``.
    ``ports`` are the names of ports: (name, protocol, number).
    ``default`` is what holds where no policy decides.
    """

    name: str
    network: str
    sandbox: str
    namespace: str
    node: str
    labels: Mapping[str, str]
    namespace_labels: Mapping[str, str]
    network_labels: Mapping[str, str]
    addresses: tuple[Address, ...]
    ports: tuple[tuple[str, int, int], ...]
    local: bool
    host: bool
    default: str
    origin: Origin


class Choice(Struct, frozen=True):
    """Which parties: all that is given must hold. ``within`` is the name of the one namespace they are in."""

    selector: Selector | None = None
    namespaces: Selector | None = None
    networks: Selector | None = None
    within: str = ""

    def __call__(self, party: Party) -> bool:
        return (
            (not self.within or party.namespace == self.within)
            and (self.selector is None or self.selector.matches(party.labels))
            and (self.namespaces is None or self.namespaces.matches(party.namespace_labels))
            and (self.networks is None or (not party.host and self.networks.matches(party.network_labels)))
        )

    @property
    def text(self) -> str:
        """Canonical: equal choices have equal texts."""
        parts = [f"namespace {self.within}" if self.within else ""]
        for word, selector in (("", self.selector), ("namespaces ", self.namespaces), ("networks ", self.networks)):
            parts.append(f"{word}{selector.text}" if selector is not None else "")
        return ", ".join(filter(None, parts)) or "all()"


class Nets(Struct, frozen=True):
    """A list of CIDRs; ``name`` is that of the AddressSet it is, "" for one written in a rule."""

    name: str
    cidrs: tuple[Subnet, ...]

    def __contains__(self, address: Address) -> bool:
        return any(address in cidr for cidr in self.cidrs)


class PortMatch(Struct, frozen=True):
    """A port, a range, or the name of one."""

    first: int = 0
    last: int = 0
    name: str = ""

    @property
    def text(self) -> str:
        return self.name or (str(self.first) if self.first == self.last else f"{self.first}-{self.last}")


class PeerView(Struct, frozen=True):
    """One side of a packet: all of it must hold. ``who`` and ``nets`` None: anybody. ``nodes`` are the addresses of
    the hosts that were selected, None: no matter. ``not_who`` and ``not_nets``: none of them may hold."""

    who: Choice | None = None
    not_who: tuple[Choice, ...] = ()
    nets: tuple[Nets, ...] | None = None
    not_nets: tuple[Nets, ...] = ()
    nodes: frozenset[Address] | None = None
    not_nodes: frozenset[Address] = frozenset()
    ports: tuple[PortMatch, ...] | None = None
    not_ports: tuple[PortMatch, ...] = ()

    @property
    def about_addresses(self) -> bool:
        return any(part is not None for part in (self.who, self.nets, self.nodes)) or bool(
            self.not_who or self.not_nets or self.not_nodes
        )


class RuleView(Struct, frozen=True):
    """``action`` is allow, deny, log or pass. ``version`` 0: both. ``icmp`` is (type, code or None)."""

    action: str
    origin: Origin
    version: int = 0
    protocol: int | None = None
    not_protocol: int | None = None
    icmp: tuple[int, int | None] | None = None
    not_icmp: tuple[int, int | None] | None = None
    source: PeerView = PeerView()
    destination: PeerView = PeerView()


class PolicyView(Struct, frozen=True):
    """``name`` is unique: a NetworkPolicy's is ``namespace/name``. ``rules`` by direction; a direction that is
    absent is none of its business. ``early``: untracked or pre-dnat, of a policy that is asked about hosts before all
    others; "" of all others."""

    name: str
    kind: str
    tier: str
    order: tuple[int, int, str]
    about: Choice
    rules: Mapping[str, tuple[RuleView, ...]]
    staged: bool
    origin: Origin
    early: str = ""

    @property
    def document(self) -> str:
        return f"{self.kind}/{self.name}"


class TierView(Struct, frozen=True):
    """``policies`` in the order in which they are asked. ``default`` is deny or pass."""

    name: str
    order: int
    default: str
    policies: tuple[PolicyView, ...]
    origin: Origin


class Level(Struct, frozen=True):
    """What one party meets in one tier: its policies there, staged ones included."""

    tier: TierView
    policies: tuple[PolicyView, ...]


class Policies(Struct, frozen=True):
    """All of it. ``tiers`` in order. ``failsafe`` are (protocol, port) of this host that nothing closes."""

    tiers: tuple[TierView, ...] = ()
    parties: tuple[Party, ...] = ()
    failsafe: tuple[tuple[int, int], ...] = ()

    @property
    def idle(self) -> bool:
        """Nothing is said about anybody: no filter is needed."""
        return not any(tier.policies for tier in self.tiers) and all(party.default == "allow" for party in self.parties)

    def levels(self, party: Party, direction: str) -> tuple[Level, ...]:
        """The tiers that a packet of ``party`` passes. Tiers without an enforced policy about it are left out, but
        for those where a staged one counts."""
        found = []
        for tier in self.tiers:
            mine = tuple(
                policy
                for policy in tier.policies
                if not policy.early and direction in policy.rules and policy.about(party)
            )
            if mine:
                found.append(Level(tier, mine))
        return tuple(found)

    def early(self, party: Party, direction: str, stage: str) -> tuple[PolicyView, ...]:
        """The policies that a packet of a host meets before all others, in order: those of ``stage``."""
        return tuple(
            policy
            for tier in self.tiers
            for policy in tier.policies
            if party.host and policy.early == stage and direction in policy.rules and policy.about(party)
        )

    def guarded(self, party: Party, direction: str) -> bool:
        """Whether anything can be denied to this party."""
        levels = self.levels(party, direction)
        return party.default != "allow" or any(not policy.staged for level in levels for policy in level.policies)


def is_link_local(address: Address) -> bool:
    return isinstance(address, IPv6Address) and address.is_link_local
