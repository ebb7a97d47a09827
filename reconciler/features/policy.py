"""Policies in nftables.

::

    policy-forward, -output    (hook, before the networks' own filter): what sandboxes send, by source address
    policy-...-in              the same hook, one step later: what they receive, by destination address
        answers and what belongs to them -> accept       (a policy is asked about every packet of the direction in
        IPv6's own needs -> accept                         which a connection was opened, so it holds at once)
        ip daddr vmap @ingress4 -> goto ingress-PROFILE
    ingress-PROFILE    what some endpoints have in common: their tiers in order, then the network's policyDefault
        jump tier-ingress-TIER
    tier-ingress-TIER  one tier's policies, then that tier's end: drop, or back to the profile
        jump policy-ingress-NAME
    policy-ingress-NAME    a policy's rules: accept, drop, or the next one

Endpoints are elements: of the two maps from address to profile, and of the sets that selectors in rules mean. One more
or less changes elements. A packet costs two look-ups and the rules of its own policies, however many endpoints there are.
Sets of endpoints are hashes; only lists of CIDRs are intervals.

Endpoints of drivers with a host side are filtered on the host. Those without one are filtered by a table of the same
form in their sandbox's namespace, by interface; whoever is root in there can lift it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from reconciler.drivers import nfttable
from reconciler.drivers.driver import Place, host_port, place_of
from reconciler.drivers.firewall import DSTNAT, FAMILY, RAW, table_name
from reconciler.drivers.nftexpr import (
    ACCEPT,
    COUNTER,
    DROP,
    LET_THROUGH,
    LOCAL,
    RELATED,
    REPLY,
    Expr,
    address,
    goto,
    jump,
    match,
    meta,
    one_of,
    payload,
    rule,
    vmap,
)
from reconciler.drivers.registry import drivers
from reconciler.errors import Origin, Problem
from reconciler.features.policyrules import VERSIONS, Rules
from reconciler.features.policysets import PROTOCOLS, Sets, address_type, digest
from reconciler.policy.view import (
    ALWAYS_ICMPV6,
    EGRESS,
    INGRESS,
    PRE_DNAT,
    UNTRACKED,
    Level,
    Party,
    Policies,
    PolicyView,
    is_link_local,
)
from reconciler.resources.nft import Rule
from reconciler.resources.resource import Resource
from reconciler.topology.view import Address, NodeFacts, Topology

_UNTRACKED: Expr = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "untracked"}}
_LOCAL: Expr = {"match": {"op": "!=", "left": {"fib": {"result": "type", "flags": ["daddr"]}}, "right": "local"}}


class _Early(Struct, frozen=True):
    """A place where the host's early policies are asked."""

    stage: str
    direction: str
    hook: str
    priority: int


# Connections are tracked at -200, published ports lead elsewhere at -100 (nft(8), standard priority names).
_EARLY = (
    _Early(UNTRACKED, INGRESS, "prerouting", RAW + 1),
    _Early(UNTRACKED, EGRESS, "output", RAW + 1),
    _Early(PRE_DNAT, INGRESS, "prerouting", DSTNAT - 1),
)
# The networks' own filter has priority 0. What is accepted here still has to pass that one.
EGRESS_PRIORITY, INGRESS_PRIORITY = -6, -5


class PolicyFeature:
    """Tiers, policies and address sets."""

    name: ClassVar[str] = "policy"
    summary: ClassVar[str] = "who may reach whom: tiers, policies, address sets, Kubernetes NetworkPolicy"

    def check(self, topology: Topology) -> Iterable[Problem]:
        policies = topology.policies
        if policies is None or policies.idle:
            return
        yield from _same_link_local(policies)
        for network in topology.networks:
            if not network.filtered or not network.local:
                continue
            driver = drivers()[network.driver]
            if place_of(driver, network) is Place.NOWHERE:
                yield Problem(
                    network.origin,
                    f"network {network.name}: driver {network.driver} cannot enforce policies, and some are about its endpoints",
                    "select other endpoints, or use another driver",
                )

    def render(self, topology: Topology, facts: NodeFacts) -> Iterable[Resource]:
        policies = topology.policies
        if policies is None or policies.idle:
            return
        place = {
            network.name: place_of(drivers()[network.driver], network)
            for network in topology.networks
            if network.name not in ("host", "none")
        }
        on_host = [p for p in policies.parties if p.local and (p.host or place[p.network] is Place.HOST)]
        yield from Table(policies, table_name(facts.owner), on_host).render()
        inside: dict[str, dict[str, Party]] = {}  # namespace -> interface -> party
        by_name = {party.name: party for party in policies.parties}
        for network in topology.networks:
            if place.get(network.name) is Place.SANDBOX:
                for endpoint in network.local:
                    party = by_name[f"{network.name}/{endpoint.name}"]
                    inside.setdefault(endpoint.sandbox.netns, {})[endpoint.interface] = party
        for netns, links in sorted(inside.items()):
            yield from Table(policies, table_name(facts.owner), list(links.values()), netns, links).render()

    def requires(self, topology: Topology) -> frozenset[str]:
        policies = topology.policies
        if policies is None or policies.idle:
            return frozenset()
        bridged = any(
            host_port(drivers()[network.driver], network, endpoint) is not None
            and place_of(drivers()[network.driver], network) is Place.HOST
            for network in topology.networks
            if network.filtered
            for endpoint in network.local[:1]
        )
        return frozenset({"nft", "bridge-netfilter"} if bridged else {"nft"})


def _same_link_local(policies: Policies) -> Iterable[Problem]:
    """Sets are keyed by address alone, so a link-local address means one endpoint, whatever its network."""
    holders: dict[Address, Party] = {}
    for party in policies.parties:
        for own in party.addresses:
            other = holders.setdefault(own, party) if is_link_local(own) else party
            if other is not party:
                yield Problem(
                    party.origin,
                    f"endpoints {other.name} and {party.name} have the same link-local address {own}: policies cannot tell them apart",
                    "give one of them another linkLocal",
                )


def _safe(name: str) -> str:
    """A part of a chain's or set's name: a NetworkPolicy's has a slash."""
    text = name.replace("/", ".")
    return text if len(text) <= 80 else f"{text[:60]}-{digest(name)}"


@dataclass(slots=True)
class Table:
    """One table: on the host for ``parties`` there (``netns`` ""), or in a sandbox for the parties at ``links``."""

    policies: Policies
    table: str
    parties: Sequence[Party]
    netns: str = ""
    links: Mapping[str, Party] = field(default_factory=dict)
    _own: nfttable.Table = field(init=False)
    _sets: Sets = field(init=False)

    def __post_init__(self) -> None:
        self._own = nfttable.Table(FAMILY, self.table, _FEATURE, self.netns)
        self._sets = Sets(self._own, self.policies.parties)

    def render(self) -> Iterable[Resource]:
        """Everything, or nothing where no policy is about these parties."""
        maps = {direction: self._dispatch(direction) for direction in (EGRESS, INGRESS)}
        hosts = {d: self._host(d) for d in (EGRESS, INGRESS)}
        early = [place for place in _EARLY if self._early(place)]
        if not any(maps.values()) and not any(hosts.values()) and not early:
            return ()
        self._sets.add(replace(self._own, origin=Origin()).itself())
        for place in early:
            self._before_all(place)
        self._bases(hosts)
        for direction, elements in maps.items():
            self._map(direction, elements)
        return self._sets.all()

    # -- the frame -----------------------------------------------------------------------------------------

    def _bases(self, hosts: Mapping[str, str]) -> None:
        """Base chains. Where a sandbox filters itself there is nothing to forward."""
        for hook in ("forward", "input", "output") if not self.netns else ("input", "output"):
            for direction, priority in ((EGRESS, EGRESS_PRIORITY), (INGRESS, INGRESS_PRIORITY)):
                if self.netns and (hook == "input") != (direction == INGRESS):
                    continue
                rules = list(self._before(hook))
                host = (hook, direction) in (("input", INGRESS), ("output", EGRESS)) and not self.netns
                if host:
                    if not hosts[direction]:
                        continue
                    rules += self._failsafe(direction)
                    rules.append(rule("the host itself", goto(hosts[direction])))
                elif self.netns:
                    rules.append(rule("by interface", vmap({"meta": {"key": _LINK[direction]}}, direction)))
                else:
                    side = "source" if direction == EGRESS else "destination"
                    rules += [
                        rule(f"{side}'s {direction}", vmap(address(version, side), f"{direction}{version}"))
                        for version in VERSIONS
                    ]
                self._sets.chain(f"policy-{hook}-{direction}", rules, hook=hook, priority=priority)

    def _before(self, hook: str) -> Iterator[Rule]:
        if hook == "input":
            yield rule("loopback", meta("iifname", "lo"), ACCEPT)
        elif hook == "output":
            # For this hook a packet to 127.0.0.1 leaves by `lo` also when it was translated to a sandbox's address.
            yield rule("loopback", meta("oifname", "lo"), *(() if self.netns else (LOCAL,)), ACCEPT)
        if hook != "forward" and any(place.stage == UNTRACKED and self._early(place) for place in _EARLY):
            yield rule("allowed before it was tracked", _UNTRACKED, ACCEPT)
        yield rule("let through by the admin", LET_THROUGH, ACCEPT)
        yield rule("what belongs to a connection", RELATED, ACCEPT)
        yield rule("answers", *REPLY, ACCEPT)
        yield rule("IPv6's own needs", match(payload("icmpv6", "type"), one_of(sorted(ALWAYS_ICMPV6))), ACCEPT)

    def _failsafe(self, direction: str) -> Iterable[Rule]:
        """Nobody locks himself out of the host."""
        if direction == INGRESS:
            for protocol in sorted({protocol for protocol, _port in self.policies.failsafe}):
                ports = sorted(port for number, port in self.policies.failsafe if number == protocol)
                yield rule("fail-safe ports", match(payload(PROTOCOLS[protocol], "dport"), one_of(ports)), ACCEPT)

    def _host(self, direction: str) -> str:
        """The profile of the host itself; "" when no policy is about it."""
        party = next((party for party in self.parties if party.host), None)
        return self._profile(party, direction) if party is not None and not self.netns else ""

    def _dispatch(self, direction: str) -> list[tuple[Party, str]]:
        """(party, profile) of those that policies are about."""
        found = [(party, self._profile(party, direction)) for party in self.parties if not party.host]
        return [(party, profile) for party, profile in found if profile]

    def _map(self, direction: str, elements: Sequence[tuple[Party, str]]) -> None:
        if self.netns:
            self._sets.set(direction, "ifname", "verdict")
            profiles = {party.name: profile for party, profile in elements}
            for link, party in sorted(self.links.items()):
                if party.name in profiles:
                    self._sets.element(direction, link, party.origin, f"goto {profiles[party.name]}")
            return
        for version in VERSIONS:
            self._sets.set(f"{direction}{version}", address_type(version), "verdict")
        for party, profile in elements:
            for own in party.addresses:
                self._sets.element(f"{direction}{own.version}", str(own), party.origin, f"goto {profile}")

    # -- before all others -----------------------------------------------------------------------------

    def _early(self, place: _Early) -> tuple[PolicyView, ...]:
        party = next((party for party in self.parties if party.host), None)
        return self.policies.early(party, place.direction, place.stage) if party is not None and not self.netns else ()

    def _before_all(self, place: _Early) -> None:
        """The chain of one place, and in it one for each policy: what none of them decides on goes on."""
        rules = [rule("loopback", meta("iifname" if place.hook == "prerouting" else "oifname", "lo"), ACCEPT)]
        if place.hook == "prerouting":
            rules.append(rule("not for the host", _LOCAL, ACCEPT))
        if place.stage == PRE_DNAT:
            rules += [rule("what belongs to a connection", RELATED, ACCEPT), rule("answers", *REPLY, ACCEPT)]
        rules.append(rule("IPv6's own needs", match(payload("icmpv6", "type"), one_of(sorted(ALWAYS_ICMPV6))), ACCEPT))
        rules += self._failsafe(place.direction)
        if place.stage == UNTRACKED and place.direction == EGRESS:
            rules += self._failsafe_answers()
        for policy in self._early(place):
            chain = f"{place.stage}-{place.direction}-{_safe(policy.name)}"
            said = f"{policy.document}{' (staged)' if policy.staged else ''}"
            rules.append(rule(said, jump(chain)))
            self._sets.chain(chain, list(Rules(self._sets).of(policy, place.direction)), policy.origin)
        self._sets.chain(f"{place.stage}-{place.direction}", rules, hook=place.hook, priority=place.priority)

    def _failsafe_answers(self) -> Iterable[Rule]:
        """Where nothing is tracked, an answer is known by the port that it comes from."""
        for protocol in sorted({protocol for protocol, _port in self.policies.failsafe}):
            ports = sorted(port for number, port in self.policies.failsafe if number == protocol)
            yield rule("fail-safe ports", match(payload(PROTOCOLS[protocol], "sport"), one_of(ports)), ACCEPT)

    # -- profiles ------------------------------------------------------------------------------------------

    def _profile(self, party: Party, direction: str) -> str:
        """The chain that decides about a party; "" when nothing can be denied to it and nothing is counted."""
        levels = self.policies.levels(party, direction)
        if not levels and party.default == "allow":
            return ""
        ids = [f"{level.tier.name}:{','.join(policy.document for policy in level.policies)}" for level in levels]
        name = f"{direction}-{digest(*ids, party.default)}"
        if name not in self._sets:
            rules = [rule(f"tier {level.tier.name}", jump(self._tier(level, direction))) for level in levels]
            verdict = (ACCEPT,) if party.default == "allow" else (COUNTER, DROP)
            self._sets.chain(name, [*rules, rule(f"policyDefault: {party.default}", *verdict)])
        return name

    def _tier(self, level: Level, direction: str) -> str:
        """The chain of one tier: who returns from it is passed on to the next. No chain leads to that one, so there may be
        any number of tiers: the kernel follows 16 chains that lead to each other (NFT_JUMP_STACK_SIZE)."""
        name = f"tier-{direction}-{digest(level.tier.name, *(policy.document for policy in level.policies))}"
        if name in self._sets:
            return name
        rules: list[Rule] = []
        for policy in level.policies:
            if any(one.action == "pass" for one in policy.rules[direction]) and not policy.staged:
                rules += Rules(self._sets).of(
                    policy, direction
                )  # what passes returns from the tier, not from the policy alone
            else:
                chain = self._policy(policy, direction)
                rules.append(rule(f"{policy.document}{' (staged)' if policy.staged else ''}", jump(chain)))
        if level.tier.default == "deny" and not all(policy.staged for policy in level.policies):
            rules.append(rule(f"tier {level.tier.name} ends: deny", COUNTER, DROP))
        self._sets.chain(name, rules)
        return name

    def _policy(self, policy: PolicyView, direction: str) -> str:
        name = f"policy-{direction}-{'k8s-' if policy.kind == 'NetworkPolicy' else ''}{_safe(policy.name)}"
        if name not in self._sets:
            self._sets.chain(name, list(Rules(self._sets).of(policy, direction)), policy.origin)
        return name


_FEATURE = Origin(document="policies")
_LINK = {EGRESS: "oifname", INGRESS: "iifname"}


FEATURE = PolicyFeature()
