"""Policies as lists of what is allowed between groups of endpoints: for fabrics that know nothing but such lists. Pure.

Rules in order, with denials and tiers, say more than such a list can. What has no exact equal in one is a problem at the
rule's place; nothing is left out or widened in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from msgspec import Struct
from msgspec.structs import replace

from reconciler.errors import Origin, Problem
from reconciler.policy.view import (
    EGRESS,
    ICMP,
    ICMPV6,
    INGRESS,
    WITH_PORTS,
    Level,
    Party,
    PeerView,
    Policies,
    PortMatch,
    RuleView,
    is_link_local,
)
from reconciler.topology.view import Address

VERSIONS = (4, 6)
_LAST_PORT = 65535
Span = tuple[int, int]
ANY_PORT: Span = (0, _LAST_PORT)


class Service(Struct, frozen=True, order=True):
    """What may be sent: of an IP version (0: both), a protocol (-1: any), from and to ports of a range, an ICMP type
    (-1: any)."""

    version: int = 0
    protocol: int = -1
    to: Span = ANY_PORT
    source: Span = ANY_PORT
    icmp: int = -1


ANY = Service()


class Group(Struct, frozen=True):
    """Endpoints that the fabric cannot tell apart. ``walled``: names of the groups that networks keep out of it."""

    name: str
    parties: tuple[Party, ...]
    walled: frozenset[str]
    origin: Origin

    @property
    def versions(self) -> frozenset[int]:
        return frozenset(address.version for party in self.parties for address in _addresses(party))


class Services(Struct, frozen=True):
    """(sender, receiver) -> what the one may open to the other; pairs that may nothing are left out."""

    allowed: Mapping[tuple[str, str], tuple[Service, ...]]
    problems: tuple[Problem, ...]


def services(policies: Policies | None, groups: Sequence[Group]) -> Services:
    """What groups may open to each other and, inside, their own endpoints to each other. Each group has an endpoint."""
    walk = _Walk(policies or Policies())
    found: dict[tuple[str, str], tuple[Service, ...]] = {}
    for sender, receiver in product(groups, groups):
        if sender.name not in receiver.walled:
            allowed = walk.between(sender, receiver)
            if allowed:
                found[sender.name, receiver.name] = allowed
    return Services(found, tuple(sorted(set(walk.problems))))


class _Walk:
    """One set of policies; gathers what it cannot express."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies
        self.problems: list[Problem] = []

    def between(self, sender: Group, receiver: Group) -> tuple[Service, ...]:
        by_version = {}
        for version in sorted(sender.versions & receiver.versions):
            sent = self._decided(sender, receiver, EGRESS, version)
            received = self._decided(receiver, sender, INGRESS, version)
            by_version[version] = _reduced(filter(None, (_common(a, b) for a, b in product(sent, received))))
        if not by_version:
            return ()
        first, *others = by_version.values()
        if all(other == first for other in others):
            return first
        return tuple(
            replace(service, version=service.version or version)
            for version, found in by_version.items()
            for service in found
        )

    def _decided(self, own: Group, other: Group, direction: str, version: int) -> Sequence[Service]:
        """What one side's policies let pass, rules in order."""
        found: list[Service] = []
        for level in self._levels(own, direction):
            verdict = self._level(level, own, other, direction, version, found)
            if verdict != "pass":
                return [ANY] if verdict == "allow" else found
        return [ANY] if own.parties[0].default == "allow" else found

    def _levels(self, own: Group, direction: str) -> tuple[Level, ...]:
        """What all of the group's endpoints meet."""
        first, *others = own.parties
        levels = self._policies.levels(first, direction)
        for other in others:
            theirs = self._policies.levels(other, direction)
            if theirs != levels:
                mine = {policy.document for level in levels for policy in level.policies}
                odd = sorted(mine ^ {policy.document for level in theirs for policy in level.policies})
                self.problems.append(
                    Problem(
                        own.origin,
                        f"group {own.name}: {', '.join(odd)} is about {first.name} or {other.name}, but not about both, and the "
                        "fabric filters whole groups",
                        f'select by the group: cnm/group == "{own.name}"',
                    )
                )
        return levels

    def _level(self, level: Level, own: Group, other: Group, direction: str, version: int, found: list[Service]) -> str:
        """``allow`` (all that is left), ``deny`` or ``pass``. Adds to ``found``."""
        enforced = [policy for policy in level.policies if not policy.staged]
        for policy in enforced:
            for rule in policy.rules[direction]:
                source, destination = (own, other) if direction == EGRESS else (other, own)
                if not self._holds(rule, source, destination, version):
                    continue
                matched = self._services(rule, source, destination, version)
                whole = ANY in matched
                if rule.action == "log":
                    self._refuse(rule, "a fabric's contracts log nothing here", "leave the log rule out")
                elif rule.action == "allow":
                    if whole:
                        return "allow"
                    found += matched
                elif whole:
                    return rule.action
                elif matched:
                    self._refuse(
                        rule,
                        f"it says {rule.action} to a part of what one group sends to another ({source.name} to "
                        f"{destination.name}), and contracts only allow",
                        "write what is allowed instead",
                    )
        return level.tier.default if enforced else "pass"

    def _refuse(self, rule: RuleView, why: str, hint: str) -> None:
        self.problems.append(Problem(rule.origin, f"the fabric cannot express this rule: {why}", hint))

    def _holds(self, rule: RuleView, source: Group, destination: Group, version: int) -> bool:
        """Whether a rule is about what one group sends to another. One that is about a part of a group cannot be."""
        if rule.version not in (0, version):
            return False
        sides = [
            self._side(rule, rule.source, source, version),
            self._side(rule, rule.destination, destination, version),
        ]
        return all(sides)

    def _side(self, rule: RuleView, peer: PeerView, group: Group, version: int) -> bool:
        if not peer.about_addresses:
            return True
        answers = {
            _is(peer, party, address)
            for party in group.parties
            for address in _addresses(party)
            if address.version == version
        }
        if len(answers) > 1:
            self._refuse(
                rule,
                f"it is about some endpoints of group {group.name} and not about others",
                f'select by the group: cnm/group == "{group.name}"',
            )
        return answers == {True}

    def _services(self, rule: RuleView, source: Group, destination: Group, version: int) -> list[Service]:
        if rule.not_protocol is not None or rule.not_icmp is not None:
            self._refuse(rule, "contracts have no 'any but this'", "write the protocols that are meant")
            return []
        protocol = -1 if rule.protocol is None else rule.protocol
        if {ICMP: 4, ICMPV6: 6}.get(protocol, version) != version:
            return []
        if rule.icmp is not None and rule.icmp[1] is not None:
            self._refuse(rule, "contracts know ICMP types, but no codes", "leave the code out")
        icmp = rule.icmp[0] if rule.icmp is not None else -1
        if protocol not in WITH_PORTS:
            return [Service(0, protocol, icmp=icmp)]
        return [
            Service(0, protocol, to, since)
            for to in self._ports(rule, rule.destination, destination)
            for since in self._ports(rule, rule.source, source)
        ]

    def _ports(self, rule: RuleView, peer: PeerView, group: Group) -> list[Span]:
        spans = [ANY_PORT]
        if peer.ports is not None:
            spans = [span for port in peer.ports for span in self._numbers(rule, port, group)]
        for port in peer.not_ports:
            for low, high in self._numbers(rule, port, group):
                spans = [
                    (first, last)
                    for span in spans
                    for first, last in ((span[0], min(span[1], low - 1)), (max(span[0], high + 1), span[1]))
                    if first <= last
                ]
        return [span if span == ANY_PORT else (max(span[0], 1), span[1]) for span in spans if span[1]]

    def _numbers(self, rule: RuleView, port: PortMatch, group: Group) -> list[Span]:
        if not port.name:
            return [(port.first, port.last)]
        answers = {
            tuple(sorted(number for name, kind, number in party.ports if name == port.name and kind == rule.protocol))
            for party in group.parties
        }
        if len(answers) > 1:
            self._refuse(
                rule,
                f"port {port.name} is not the same number for all endpoints of group {group.name}",
                "give their sandboxes the same ports, or write the number",
            )
            return []
        return [(number, number) for numbers in answers for number in numbers]


def _addresses(party: Party) -> Iterable[Address]:
    """Those by which others reach it: link-local ones are every IPv6 endpoint's, and say nothing."""
    return (address for address in party.addresses if not is_link_local(address))


def _is(peer: PeerView, party: Party, address: Address) -> bool:
    """What a rule says of one side but ports."""
    return (
        (peer.who is None or peer.who(party))
        and not any(choice(party) for choice in peer.not_who)
        and (peer.nets is None or any(address in nets for nets in peer.nets))
        and not any(address in nets for nets in peer.not_nets)
        and (peer.nodes is None or address in peer.nodes)
        and address not in peer.not_nodes
    )


def _common(one: Service, other: Service) -> Service | None:
    """What both allow."""
    if -1 not in (one.protocol, other.protocol) and one.protocol != other.protocol:
        return None
    if -1 not in (one.icmp, other.icmp) and one.icmp != other.icmp:
        return None
    to, source = _overlap(one.to, other.to), _overlap(one.source, other.source)
    if to is None or source is None:
        return None
    return Service(0, max(one.protocol, other.protocol), to, source, max(one.icmp, other.icmp))


def _overlap(one: Span, other: Span) -> Span | None:
    low, high = max(one[0], other[0]), min(one[1], other[1])
    return (low, high) if low <= high else None


def _reduced(found: Iterable[Service]) -> tuple[Service, ...]:
    """Sorted, without what another one covers."""
    every = sorted(set(found))
    return tuple(one for one in every if not any(other != one and _common(one, other) == one for other in every))
