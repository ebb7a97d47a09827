"""The answer for one packet: what policies say to it, and which rules it passed on the way. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from reconciler.errors import Origin
from reconciler.policy.view import (
    ALWAYS_ICMPV6,
    EGRESS,
    ICMPV6,
    INGRESS,
    PRE_DNAT,
    UNTRACKED,
    WITH_PORTS,
    Level,
    Party,
    PeerView,
    Policies,
    PortMatch,
    RuleView,
)
from reconciler.sourced import Sourced
from reconciler.topology.view import Address


class Packet(Struct, frozen=True):
    """The first packet of a connection. ``protocol`` is the IP protocol's number. Ports are 0 where there are none."""

    source: Address
    destination: Address
    protocol: int
    source_port: int = 0
    destination_port: int = 0
    icmp: tuple[int, int] = (8, 0)

    @property
    def version(self) -> int:
        return self.source.version


class Step(Sourced, frozen=True):
    """One thing that a packet passed. ``verdict`` is allow, deny, pass, log, "" (went on) or ``would ...`` (staged)."""

    where: str
    said: str
    verdict: str = ""
    origin: Origin = Origin()


class Answer(Struct, frozen=True):
    """``allowed``, and the way there."""

    allowed: bool
    steps: tuple[Step, ...]


class Evaluator:
    """Answers for many packets of one set of policies; remembers which levels each party meets."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies
        self._party: dict[Address, Party] = {}
        for party in policies.parties:
            for address in party.addresses:
                self._party.setdefault(address, party)
        self._levels: dict[tuple[str, str], tuple[Level, ...]] = {}

    def party(self, address: Address) -> Party | None:
        return self._party.get(address)

    def levels(self, party: Party, direction: str) -> tuple[Level, ...]:
        key = (party.name, direction)
        found = self._levels.get(key)
        if found is None:
            found = self._levels[key] = self._policies.levels(party, direction)
        return found

    def allows(self, packet: Packet, source: Party | None = None, destination: Party | None = None) -> Answer:
        """What the sender may send and the receiver may receive. The parties are those of the packet's addresses,
        unless they are given (the host has addresses that no manifest names)."""
        source = source or self._party.get(packet.source)
        destination = destination or self._party.get(packet.destination)
        steps: list[Step] = []
        if packet.protocol == ICMPV6 and packet.version == 6 and packet.icmp[0] in ALWAYS_ICMPV6:
            return Answer(True, (Step("policies", f"ICMPv6 type {packet.icmp[0]}: IPv6 itself needs it", "allow"),))
        for party, direction in ((source, EGRESS), (destination, INGRESS)):
            if party is not None and not self._decides(packet, party, direction, steps):
                return Answer(False, tuple(steps))
        return Answer(True, tuple(steps))

    def _decides(self, packet: Packet, party: Party, direction: str, steps: list[Step]) -> bool:
        where = f"{direction} of {party.name}"
        if (
            party.host
            and direction == INGRESS
            and (packet.protocol, packet.destination_port) in self._policies.failsafe
        ):
            steps.append(Step(where, "a fail-safe port of the host", "allow"))
            return True
        for stage in (UNTRACKED, PRE_DNAT):
            verdict = self._early(packet, party, direction, stage, steps)
            if verdict == "deny" or (verdict == "allow" and stage == UNTRACKED):
                return verdict == "allow"
        for level in self.levels(party, direction):
            verdict = self._level(packet, level, direction, where, steps)
            if verdict != "pass":
                return verdict == "allow"
        if party.default != "allow" or not steps or steps[-1].where != where:
            said = f"network {party.network}: policyDefault" if party.network else "no policy decides about the host"
            steps.append(Step(where, said, party.default, party.origin if party.default != "allow" else Origin()))
        return party.default == "allow"

    def _early(self, packet: Packet, party: Party, direction: str, stage: str, steps: list[Step]) -> str:
        """What the host's early policies say; "" when none decides."""
        where = f"{stage} {direction} of {party.name}"
        for policy in self._policies.early(party, direction, stage):
            for number, rule in enumerate(policy.rules[direction]):
                if self.matches(packet, rule):
                    word = f"would {rule.action}" if policy.staged else rule.action
                    steps.append(Step(where, f"{policy.document}, rule {number + 1}", word, rule.origin))
                    if policy.staged and rule.action != "log":
                        break
                    if rule.action == "pass":
                        return ""
                    if rule.action in ("allow", "deny"):
                        return rule.action
        return ""

    def _level(self, packet: Packet, level: Level, direction: str, where: str, steps: list[Step]) -> str:
        enforced = [policy for policy in level.policies if not policy.staged]
        for policy in level.policies:
            for number, rule in enumerate(policy.rules[direction]):
                if not self.matches(packet, rule):
                    continue
                said = f"tier {level.tier.name}, {policy.document}, rule {number + 1}"
                if policy.staged:
                    steps.append(Step(where, f"{said} (staged)", f"would {rule.action}", rule.origin))
                    if rule.action != "log":
                        break
                    continue
                steps.append(Step(where, said, rule.action, rule.origin))
                if rule.action != "log":
                    return rule.action
        if not enforced:
            return "pass"
        word = level.tier.default
        selected = ", ".join(policy.document for policy in enforced)
        origin = level.tier.origin if level.tier.origin.file else enforced[-1].origin
        said = f"tier {level.tier.name}, end: selected by {selected}, and no rule decided"
        steps.append(Step(where, said, word, origin))
        return word

    # -- one rule ------------------------------------------------------------------------------------------

    def matches(self, packet: Packet, rule: RuleView) -> bool:
        """Whether all that a rule says holds for a packet."""
        if rule.version and rule.version != packet.version:
            return False
        if rule.protocol is not None and rule.protocol != packet.protocol:
            return False
        if rule.not_protocol is not None and rule.not_protocol == packet.protocol:
            return False
        if rule.icmp is not None and not _is_icmp(packet, rule.icmp):
            return False
        if rule.not_icmp is not None and _is_icmp(packet, rule.not_icmp):
            return False
        return self._side(packet.source, packet.source_port, packet, rule.source) and self._side(
            packet.destination, packet.destination_port, packet, rule.destination
        )

    def _side(self, address: Address, port: int, packet: Packet, side: PeerView) -> bool:
        party = self._party.get(address)
        if side.who is not None and (party is None or not side.who(party)):
            return False
        if any(party is not None and choice(party) for choice in side.not_who):
            return False
        if side.nets is not None and not any(address in nets for nets in side.nets):
            return False
        if any(address in nets for nets in side.not_nets):
            return False
        if side.nodes is not None and address not in side.nodes:
            return False
        if address in side.not_nodes:
            return False
        if side.ports is not None and not any(_is_port(party, port, packet, match) for match in side.ports):
            return False
        return not any(_is_port(party, port, packet, match) for match in side.not_ports)


def _is_icmp(packet: Packet, icmp: tuple[int, int | None]) -> bool:
    return packet.icmp[0] == icmp[0] and icmp[1] in (None, packet.icmp[1])


def _is_port(party: Party | None, port: int, packet: Packet, match: PortMatch) -> bool:
    if packet.protocol not in WITH_PORTS:
        return False
    if match.name:
        return party is not None and (match.name, packet.protocol, port) in party.ports
    return match.first <= port <= match.last


def by_name(parties: Iterable[Party]) -> Mapping[str, Party]:
    """Parties by ``network/endpoint``."""
    return {party.name: party for party in parties}
