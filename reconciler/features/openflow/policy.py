"""Policies as OpenFlow: tables 10 to 220 of driver contiv's bridges, as the top of ``pipeline.py`` has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import product
from typing import NamedTuple

from msgspec import Struct

from reconciler.errors import Origin, Problem
from reconciler.features.openflow.match import port_matches, prefixes
from reconciler.policy.view import (
    ALWAYS_ICMPV6,
    EGRESS,
    ICMP,
    ICMPV6,
    INGRESS,
    Choice,
    Level,
    Party,
    PeerView,
    Policies,
    PolicyView,
    RuleView,
)
from reconciler.topology.derive import digest

SENDER, _RECEIVER, TRACKING, _TRACKED = 10, 11, 12, 13
_LEVELS = {EGRESS: 20, INGRESS: 120}
STEPS = 100  # tables for each
_COMMIT, FORWARD = 220, 230
_ZONE = 0xC47  # of conntrack: addresses of networks do not overlap, so one serves all
VERSIONS = (4, 6)
IP = {4: "ip", 6: "ipv6"}
_WORDS = {(6, 4): "tcp", (17, 4): "udp", (132, 4): "sctp", (6, 6): "tcp6", (17, 6): "udp6", (132, 6): "sctp6"}


class Line(NamedTuple):
    """A flow of a bridge's. ``label``: of the policy it is of."""

    table: int
    priority: int
    match: str
    actions: str
    origin: Origin | None = None
    label: int | None = None


class _Step(Struct, frozen=True):
    """What one table asks about somebody: a staged policy, or policies of one level that nothing staged is between.
    ``depth``: the level; ``last`` of it; ``denies``: what the level does not decide is denied."""

    depth: int
    policies: tuple[PolicyView, ...]
    staged: bool
    last: bool
    denies: bool
    origin: Origin


def steps_of(levels: Sequence[Level]) -> list[_Step]:
    found = []
    for depth, level in enumerate(levels):
        runs: list[tuple[bool, list[PolicyView]]] = []
        for policy in level.policies:
            if policy.staged or not runs or runs[-1][0]:
                runs.append((policy.staged, []))
            runs[-1][1].append(policy)
        denies = level.tier.default == "deny" and not all(staged for staged, _ in runs)
        for number, (staged, policies) in enumerate(runs, start=1):
            last = number == len(runs)
            origin = policies[0].origin if staged else level.tier.origin
            found.append(_Step(depth, tuple(policies), staged, last, denies, origin))
    return found


def policy_label(document: str) -> int:
    """16 bits by which the flows of ``Policy/NAME`` are known among a bridge's: the first of its SHA-256, so that a shell can
    tell them too; 0 is no policy's."""
    return int.from_bytes(sha256(document.encode()).digest()[:2], "big") or 1


def _said(policy: PolicyView) -> str:
    return f"{policy.document}{' (staged)' if policy.staged else ''}"


class Filter:
    """The flows of tables 10 to 220."""

    def __init__(self, policies: Policies, networks: set[str]) -> None:
        self._policies = policies
        self._parties = [party for party in policies.parties if party.addresses]
        self._networks = networks
        self._choices = self._chosen()
        self._classes: dict[str, list[Party]] = {}
        for party in self._parties:
            self._classes.setdefault(self._signature(party), []).append(party)
        self._numbers = {signature: _number("class", signature) for signature in self._classes}

    def _chosen(self) -> list[Choice]:
        found: dict[str, Choice] = {}
        for tier in self._policies.tiers:
            for policy in tier.policies:
                for rules in policy.rules.values():
                    for rule in rules:
                        for side in (rule.source, rule.destination):
                            for choice in (*([side.who] if side.who is not None else []), *side.not_who):
                                found.setdefault(choice.text, choice)
        return [found[text] for text in sorted(found)]

    def _signature(self, party: Party) -> str:
        """Equal for parties that no rule tells apart."""
        parts = [choice.text for choice in self._choices if choice(party)]
        return "\0".join([*parts, *(f"{name}/{protocol}/{number}" for name, protocol, number in sorted(party.ports))])

    def flows(self) -> Iterator[Line]:
        profiles: dict[tuple[str, int], tuple[tuple[Level, ...], str]] = {}
        for party in self._parties:
            number = self._numbers[self._signature(party)]
            for direction, table, side, own, its in (
                (EGRESS, SENDER, "src", "reg1", "reg3"),
                (INGRESS, _RECEIVER, "dst", "reg2", "reg4"),
            ):
                profile = (
                    self._profile(party, direction, profiles) if party.network in self._networks and party.local else 0
                )
                following = _RECEIVER if direction == EGRESS else TRACKING
                for address in party.addresses:
                    match = f"ip,nw_{side}={address}" if address.version == 4 else f"ipv6,ipv6_{side}={address}"
                    actions = f"set_field:{number:#x}->{own},set_field:{_hex(profile)}->{its},goto_table:{following}"
                    yield Line(table, 100, match, actions, party.origin)
        yield Line(SENDER, 0, "", f"goto_table:{_RECEIVER}")
        yield Line(_RECEIVER, 0, "", f"goto_table:{TRACKING}")
        for kind in sorted(ALWAYS_ICMPV6):
            yield Line(TRACKING, 100, f"icmp6,icmp_type={kind}", f"goto_table:{FORWARD}")
        for version in VERSIONS:
            yield Line(TRACKING, 10, IP[version], f"ct(table={_TRACKED},zone={_ZONE})")
            yield Line(_TRACKED, 90, f"ct_state=+inv+trk,{IP[version]}", "drop")
            for state in ("-new+est+rpl+trk", "+rel+trk"):
                yield Line(_TRACKED, 100, f"ct_state={state},{IP[version]}", f"goto_table:{FORWARD}")
            noted = f"ct(commit,zone={_ZONE}),goto_table:{FORWARD}"
            yield Line(_COMMIT, 10, f"ct_state=+new+trk,{IP[version]}", noted)
        yield Line(_TRACKED, 0, "", f"goto_table:{_LEVELS[EGRESS]}")
        yield Line(_COMMIT, 0, "", f"goto_table:{FORWARD}")
        for (direction, number), (levels, default) in sorted(profiles.items()):
            yield from self._profile_flows(direction, number, levels, default)
        yield Line(_LEVELS[EGRESS], 0, "", f"goto_table:{_LEVELS[INGRESS]}")
        yield Line(_LEVELS[INGRESS], 0, "", f"goto_table:{_COMMIT}")

    def _profile(
        self, party: Party, direction: str, profiles: dict[tuple[str, int], tuple[tuple[Level, ...], str]]
    ) -> int:
        """The number of all that holds for a party in one direction; 0 where nothing can be denied to it, and nothing counts."""
        levels = self._policies.levels(party, direction)
        if not levels and party.default == "allow":
            return 0
        ids = [f"{level.tier.name}:{','.join(map(_said, level.policies))}" for level in levels]
        number = _number("profile", direction, *ids, party.default)
        profiles[direction, number] = (levels, party.default)
        return number

    def _profile_flows(self, direction: str, number: int, levels: Sequence[Level], default: str) -> Iterator[Line]:
        own = f"{'reg3' if direction == EGRESS else 'reg4'}={number:#x}"
        allowed = f"goto_table:{_LEVELS[INGRESS] if direction == EGRESS else _COMMIT}"
        over = allowed if default == "allow" else "drop"
        base, steps = _LEVELS[direction], steps_of(levels)
        if not steps:
            yield Line(base, 1, own, over)
        for place, step in enumerate(steps):
            table = base + place
            onward = f"goto_table:{table + 1}" if place + 1 < len(steps) else over
            later = next((at for at in range(place + 1, len(steps)) if steps[at].depth != step.depth), None)
            next_level = f"goto_table:{base + later}" if later is not None else over
            ends = "drop" if step.last and step.denies else next_level if step.last else onward
            verdicts = {"allow": allowed, "deny": "drop", "pass": next_level}
            priority = 60000
            for policy in step.policies:
                for rule in policy.rules[direction]:
                    priority -= 1
                    for match in self._matches(rule):
                        actions = ends if step.staged else verdicts[rule.action]
                        match = ",".join(filter(None, (match, own)))
                        yield Line(table, priority, match, actions, rule.origin, policy_label(policy.document))
            yield Line(table, 1, own, ends, step.origin)

    # -- one rule ------------------------------------------------------------------------------------------

    def _matches(self, rule: RuleView) -> Iterator[str]:
        """All matches that together are what a rule asks for."""
        for version in VERSIONS:
            if rule.version not in (0, version) or {ICMP: 4, ICMPV6: 6}.get(rule.protocol or 0, version) != version:
                continue
            sides = [self._side(rule, rule.source, "src", version), self._side(rule, rule.destination, "dst", version)]
            for source, destination in product(*sides):
                yield ",".join(filter(None, (self._protocol(rule, version), *source, *destination)))

    @staticmethod
    def _protocol(rule: RuleView, version: int) -> str:
        if rule.protocol is None:
            return IP[version]
        if rule.protocol in (ICMP, ICMPV6):
            parts = ["icmp" if rule.protocol == ICMP else "icmp6"]
            if rule.icmp is not None:
                parts.append(f"icmp_type={rule.icmp[0]}")
                if rule.icmp[1] is not None:
                    parts.append(f"icmp_code={rule.icmp[1]}")
            return ",".join(parts)
        word = _WORDS.get((rule.protocol, version))
        return word or f"{IP[version]},nw_proto={rule.protocol}"

    def _side(self, rule: RuleView, peer: PeerView, side: str, version: int) -> list[tuple[str, ...]]:
        found: list[tuple[str, ...]] = []
        for who, ports in self._who(rule, peer, "reg1" if side == "src" else "reg2"):
            for net, port in product(prefixes(peer, version), ports):
                where = f"{'nw' if version == 4 else 'ipv6'}_{side}={net}" if net else ""
                found.append((who, where, f"tp_{side}={port}" if port else ""))
        return found

    def _who(self, rule: RuleView, peer: PeerView, register: str) -> Iterator[tuple[str, list[str]]]:
        """(a match on the class, matches on ports), for each class that a rule is about; one for all where no class
        is told apart."""
        names = [port for port in (*(peer.ports or ()), *peer.not_ports) if port.name]
        if peer.who is None and not peer.not_who and not names:
            yield "", port_matches(rule, peer, ())
            return
        for signature, members in sorted(self._classes.items()):
            one = members[0]
            if (peer.who is None or peer.who(one)) and not any(choice(one) for choice in peer.not_who):
                yield f"{register}={self._numbers[signature]:#x}", port_matches(rule, peer, one.ports)
        if peer.who is None:  # who is no party at all is none of those that are excluded
            yield f"{register}=0", port_matches(rule, peer, ())


def _hex(number: int) -> str:
    """As C prints it with %#x."""
    return f"{number:#x}" if number else "0"


def _number(*parts: str) -> int:
    """A register's value: the same on every node and in every run, and 0 never."""
    return int.from_bytes(digest(*(part.replace("/", "\1") for part in parts))[:4], "big") | 1


def inexpressible(rule: RuleView) -> Iterator[Problem]:
    said = "Open vSwitch cannot express this rule: "
    if rule.action == "log":
        yield Problem(rule.origin, f"{said}flows do not log", "leave the log rule out")
    if rule.not_protocol is not None:
        yield Problem(rule.origin, f"{said}flows have no 'any protocol but this'", "write the protocols that are meant")
    if rule.not_icmp is not None:
        yield Problem(rule.origin, f"{said}flows have no 'any type but this'", "write the types that are meant")
