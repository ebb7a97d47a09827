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

from base64 import b32encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from ipaddress import collapse_addresses
from itertools import product
from typing import ClassVar

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
    RETURN,
    Expr,
    address,
    concat,
    goto,
    jump,
    log,
    match,
    meta,
    one_of,
    payload,
    rule,
    vmap,
)
from reconciler.drivers.nfttable import Hook
from reconciler.drivers.registry import drivers
from reconciler.errors import Origin, Problem
from reconciler.policy.view import (
    ALWAYS_ICMPV6,
    EGRESS,
    ICMP,
    ICMPV6,
    INGRESS,
    PRE_DNAT,
    UNTRACKED,
    WITH_PORTS,
    Choice,
    Level,
    Nets,
    Party,
    PeerView,
    Policies,
    PolicyView,
    PortMatch,
    RuleView,
    is_link_local,
)
from reconciler.resources.nft import Rule, chain_key
from reconciler.resources.resource import Resource
from reconciler.topology.view import Address, NodeFacts, Subnet, Topology

NOTRACK: Expr = {"notrack": None}
_UNTRACKED: Expr = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "untracked"}}
_LOCAL: Expr = {"match": {"op": "!=", "left": {"fib": {"result": "type", "flags": ["daddr"]}}, "right": "local"}}


@dataclass(frozen=True, slots=True)
class _Early:
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
VERSIONS = (4, 6)
NAMES = {6: "tcp", 17: "udp", 132: "sctp"}


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


def _digest(*parts: str) -> str:
    return b32encode(sha256("\0".join(parts).encode()).digest()).decode().lower()[:10]


def _safe(name: str) -> str:
    """A part of a chain's or set's name: a NetworkPolicy's has a slash."""
    text = name.replace("/", ".")
    return text if len(text) <= 80 else f"{text[:60]}-{_digest(name)}"


@dataclass(slots=True)
class Table:
    """One table: on the host for ``parties`` there (``netns`` ""), or in a sandbox for the parties at ``links``."""

    policies: Policies
    table: str
    parties: Sequence[Party]
    netns: str = ""
    links: Mapping[str, Party] = field(default_factory=dict)
    _found: dict[str, Resource] = field(default_factory=dict)  # by key, as text: what is shared is rendered once
    _members: dict[str, tuple[Party, ...]] = field(default_factory=dict)
    _own: nfttable.Table = field(init=False)

    def __post_init__(self) -> None:
        self._own = nfttable.Table(FAMILY, self.table, _FEATURE, self.netns)

    def render(self) -> Iterable[Resource]:
        """Everything, or nothing where no policy is about these parties."""
        maps = {direction: self._dispatch(direction) for direction in (EGRESS, INGRESS)}
        hosts = {d: self._host(d) for d in (EGRESS, INGRESS)}
        early = [place for place in _EARLY if self._early(place)]
        if not any(maps.values()) and not any(hosts.values()) and not early:
            return ()
        self._add(replace(self._own, origin=Origin()).itself())
        for place in early:
            self._before_all(place)
        self._bases(hosts)
        for direction, elements in maps.items():
            self._map(direction, elements)
        return self._found.values()

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
                self._chain(f"policy-{hook}-{direction}", rules, hook=hook, priority=priority)

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
                yield rule("fail-safe ports", match(payload(NAMES[protocol], "dport"), one_of(ports)), ACCEPT)

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
            self._set(direction, "ifname", "verdict")
            profiles = {party.name: profile for party, profile in elements}
            for link, party in sorted(self.links.items()):
                if party.name in profiles:
                    self._element(direction, link, party.origin, f"goto {profiles[party.name]}")
            return
        for version in VERSIONS:
            self._set(f"{direction}{version}", _type(version), "verdict")
        for party, profile in elements:
            for own in party.addresses:
                self._element(f"{direction}{own.version}", str(own), party.origin, f"goto {profile}")

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
            self._chain(chain, list(self._rules(policy, place.direction)), policy.origin)
        self._chain(f"{place.stage}-{place.direction}", rules, hook=place.hook, priority=place.priority)

    def _failsafe_answers(self) -> Iterable[Rule]:
        """Where nothing is tracked, an answer is known by the port that it comes from."""
        for protocol in sorted({protocol for protocol, _port in self.policies.failsafe}):
            ports = sorted(port for number, port in self.policies.failsafe if number == protocol)
            yield rule("fail-safe ports", match(payload(NAMES[protocol], "sport"), one_of(ports)), ACCEPT)

    # -- profiles ------------------------------------------------------------------------------------------

    def _profile(self, party: Party, direction: str) -> str:
        """The chain that decides about a party; "" when nothing can be denied to it and nothing is counted."""
        levels = self.policies.levels(party, direction)
        if not levels and party.default == "allow":
            return ""
        ids = [f"{level.tier.name}:{','.join(policy.document for policy in level.policies)}" for level in levels]
        name = f"{direction}-{_digest(*ids, party.default)}"
        if str(chain_key(FAMILY, self.table, name, self.netns)) not in self._found:
            rules = [rule(f"tier {level.tier.name}", jump(self._tier(level, direction))) for level in levels]
            verdict = (ACCEPT,) if party.default == "allow" else (COUNTER, DROP)
            self._chain(name, [*rules, rule(f"policyDefault: {party.default}", *verdict)])
        return name

    def _tier(self, level: Level, direction: str) -> str:
        """The chain of one tier: who returns from it is passed on to the next. No chain leads to that one, so there may be
        any number of tiers: the kernel follows 16 chains that lead to each other (NFT_JUMP_STACK_SIZE)."""
        name = f"tier-{direction}-{_digest(level.tier.name, *(policy.document for policy in level.policies))}"
        if str(chain_key(FAMILY, self.table, name, self.netns)) in self._found:
            return name
        rules: list[Rule] = []
        for policy in level.policies:
            if any(one.action == "pass" for one in policy.rules[direction]) and not policy.staged:
                rules += self._rules(policy, direction)  # what passes returns from the tier, not from the policy alone
            else:
                chain = self._policy(policy, direction)
                rules.append(rule(f"{policy.document}{' (staged)' if policy.staged else ''}", jump(chain)))
        if level.tier.default == "deny" and not all(policy.staged for policy in level.policies):
            rules.append(rule(f"tier {level.tier.name} ends: deny", COUNTER, DROP))
        self._chain(name, rules)
        return name

    def _policy(self, policy: PolicyView, direction: str) -> str:
        name = f"policy-{direction}-{'k8s-' if policy.kind == 'NetworkPolicy' else ''}{_safe(policy.name)}"
        if str(chain_key(FAMILY, self.table, name, self.netns)) not in self._found:
            self._chain(name, list(self._rules(policy, direction)), policy.origin)
        return name

    def _rules(self, policy: PolicyView, direction: str) -> Iterator[Rule]:
        for number, one in enumerate(policy.rules[direction]):
            said = f"{policy.document} {direction} {number + 1}: {one.action}"
            rules = (rule(said, *found, *_verdict(policy, one)) for found in self._conditions(one))
            yield from dict.fromkeys(rules)

    # -- one rule ------------------------------------------------------------------------------------------

    def _conditions(self, one: RuleView) -> Iterator[list[Expr]]:
        """What a rule asks for, as one or more lists of matches: it holds when any list holds whole."""
        if one.source.about_addresses or one.destination.about_addresses or _named_ports(one):
            versions: tuple[int, ...] = (one.version,) if one.version else VERSIONS
        else:
            versions = (0,)
        for version in versions:
            first: list[Expr] = []
            sides = []
            for side, peer in (("source", one.source), ("destination", one.destination)):
                addresses = self._addresses(side, peer, version, one.origin) if version else []
                if addresses is None:
                    break
                first += addresses
                sides.append(list(self._ports(side, peer, version, one)))
            if len(sides) == 2:
                said = version or one.version
                for ports in product(*sides):
                    found = [expr for part in ports for expr in part]
                    # Where no match on an address says the version, the rule would hold for both; ICMP says it itself.
                    mute = (
                        said and not first and one.protocol not in (ICMP, ICMPV6) and not any(map(_says_version, found))
                    )
                    family = [meta("nfproto", f"ipv{said}")] if mute else []
                    for protocol in _protocol(one, bool(found)):
                        yield [*family, *first, *protocol, *found]

    def _addresses(self, side: str, peer: PeerView, version: int, origin: Origin) -> list[Expr] | None:
        """Matches on one side's address; None when no address of this version can hold."""
        where = address(version, side)
        found = []
        if peer.who is not None:
            found.append(match(where, f"@{self._chosen(peer.who, version)}"))
        found += [match(where, f"@{self._chosen(choice, version)}", "!=") for choice in peer.not_who]
        if peer.nets is not None:
            name = self._nets(peer.nets, version, origin)
            if not name:
                return None
            found.append(match(where, f"@{name}"))
        if peer.not_nets:
            name = self._nets(peer.not_nets, version, origin)
            if name:
                found.append(match(where, f"@{name}", "!="))
        if peer.nodes is not None:
            own = [address for address in peer.nodes if address.version == version]
            if not own:
                return None
            found.append(match(where, f"@{self._hosts(own, version, origin)}"))
        not_own = [address for address in peer.not_nodes if address.version == version]
        if not_own:
            found.append(match(where, f"@{self._hosts(not_own, version, origin)}", "!="))
        return found

    def _ports(self, side: str, peer: PeerView, version: int, one: RuleView) -> Iterator[list[Expr]]:
        if one.protocol not in WITH_PORTS:
            yield []
            return
        name = NAMES[one.protocol]
        where = payload(name, "sport" if side == "source" else "dport")

        def named(port: PortMatch, op: str) -> Expr:
            return match(
                concat(address(version, side), where), f"@{self._named(port.name, one.protocol or 0, version)}", op
            )

        none: list[Expr] = [named(port, "!=") for port in peer.not_ports if port.name]
        numbers = _merged(port for port in peer.not_ports if not port.name)
        if numbers:
            none.append(match(where, one_of(numbers), "!="))
        if peer.ports is None:
            yield none
            return
        numbers = _merged(port for port in peer.ports if not port.name)
        if numbers:
            yield [match(where, one_of(numbers)), *none]
        for port in peer.ports:
            if port.name:
                yield [named(port, "=="), *none]

    # -- sets ----------------------------------------------------------------------------------------------

    def _chosen(self, choice: Choice, version: int) -> str:
        """The set of the addresses of the parties that a choice means, on all nodes."""
        name = f"selected{version}-{_digest(choice.text)}"
        if self._set(name, _type(version)):
            members = self._members.get(choice.text)
            if members is None:
                members = self._members[choice.text] = tuple(p for p in self.policies.parties if choice(p))
            for party in members:
                for own in party.addresses:
                    if own.version == version:
                        self._element(name, str(own), party.origin)
        return name

    def _nets(self, lists: Sequence[Nets], version: int, origin: Origin) -> str:
        """The interval set of CIDRs; "" when there are none of this version. An AddressSet has one of its own, also
        when it is empty, so that what is added to it later is an element and no rule."""
        if len(lists) == 1 and lists[0].name:
            name, cidrs = f"addresses{version}-{lists[0].name}", lists[0].cidrs
        else:
            cidrs = tuple(cidr for nets in lists for cidr in nets.cidrs)
            if not any(cidr.version == version for cidr in cidrs) and not any(nets.name for nets in lists):
                return ""
            name = f"nets{version}-{_digest(*sorted(map(str, cidrs)))}"
        if self._set(name, _type(version), interval=True):
            for cidr in _collapsed(cidrs, version):
                self._element(name, _cidr(cidr), origin)
        return name

    def _hosts(self, addresses: Sequence[Address], version: int, origin: Origin) -> str:
        texts = sorted(map(str, addresses))
        name = f"hosts{version}-{_digest(*texts)}"
        if self._set(name, _type(version)):
            for text in texts:
                self._element(name, text, origin)
        return name

    def _named(self, port: str, protocol: int, version: int) -> str:
        """(address, port) of all parties that have a port of this name."""
        name = f"port{version}-{NAMES[protocol]}-{port}"
        if self._set(name, f"{_type(version)} . inet_service"):
            for party in self.policies.parties:
                numbers = [number for own, kind, number in party.ports if own == port and kind == protocol]
                for own in party.addresses:
                    if own.version == version:
                        for number in numbers:
                            self._element(name, f"{own} . {number}", party.origin)
        return name

    # -- resources -----------------------------------------------------------------------------------------

    def _add(self, resource: Resource) -> bool:
        return self._found.setdefault(str(resource.key), resource) is resource

    def _set(self, name: str, kind: str, data: str | None = None, *, interval: bool = False) -> bool:
        return self._add(self._own.set(name, kind, data, interval=interval))

    def _element(self, name: str, element: str, origin: Origin, value: str | None = None) -> None:
        self._add(self._own.element(name, element, origin, value))

    def _chain(
        self, name: str, rules: Sequence[Rule], origin: Origin | None = None, *, hook: str = "", priority: int = 0
    ) -> None:
        self._add(self._own.chain(name, rules, Hook("filter", hook, priority) if hook else None, origin))


_FEATURE = Origin(document="policies")
_LINK = {EGRESS: "oifname", INGRESS: "iifname"}


def _type(version: int) -> str:
    return "ipv4_addr" if version == 4 else "ipv6_addr"


def _cidr(cidr: Subnet) -> str:
    """As nft lists it: a single address without its length."""
    return str(cidr.network_address) if cidr.prefixlen == cidr.max_prefixlen else str(cidr)


def _collapsed(cidrs: Iterable[Subnet], version: int) -> Iterable[Subnet]:
    """Without overlaps, which an interval set refuses."""
    mine = [cidr for cidr in cidrs if cidr.version == version]
    return sorted(collapse_addresses(mine)) if mine else ()  # type: ignore[type-var]  # all of one version


def _merged(ports: Iterable[PortMatch]) -> list[int | Expr]:
    """Ports and ranges in order, those that touch made one: an anonymous set takes no overlaps."""
    spans: list[list[int]] = []
    for port in sorted(ports, key=lambda port: port.first):
        if spans and port.first <= spans[-1][1] + 1:
            spans[-1][1] = max(spans[-1][1], port.last)
        else:
            spans.append([port.first, port.last])
    return [first if first == last else {"range": [first, last]} for first, last in spans]


def _says_version(expr: Expr) -> bool:
    """A match on (address, port), for a port's name."""
    return "concat" in expr["match"]["left"]


def _named_ports(one: RuleView) -> bool:
    sides = (one.source, one.destination)
    return any(port.name for side in sides for port in (*(side.ports or ()), *side.not_ports))


def _protocol(one: RuleView, with_ports: bool) -> Iterator[list[Expr]]:
    """Matches on the protocol, where those on ports do not imply it; a list for each way in which it can hold."""
    if one.not_protocol is not None:
        yield [meta("l4proto", one.not_protocol, "!="), *([meta("l4proto", one.protocol)] if one.protocol else [])]
        return
    if one.protocol is None or with_ports:
        yield []
        return
    if one.icmp is None and one.not_icmp is None:
        yield [meta("l4proto", one.protocol)]
        return
    name = "icmp" if one.protocol == 1 else "icmpv6"
    kind, code = payload(name, "type"), payload(name, "code")
    wanted: list[Expr] = []
    if one.icmp is not None:
        wanted.append(match(kind, one.icmp[0]))
        if one.icmp[1] is not None:
            wanted.append(match(code, one.icmp[1]))
    if one.not_icmp is None:
        yield wanted
        return
    yield [*wanted, match(kind, one.not_icmp[0], "!=")]
    if one.not_icmp[1] is not None:
        yield [*wanted, match(kind, one.not_icmp[0]), match(code, one.not_icmp[1], "!=")]


def _verdict(policy: PolicyView, one: RuleView) -> tuple[Expr, ...]:
    if one.action == "log":
        return (log(f"cnm {policy.name} "),) if not policy.staged else (COUNTER,)
    if policy.staged:
        return COUNTER, RETURN
    if policy.early == UNTRACKED and one.action == "allow":
        return NOTRACK, ACCEPT
    if policy.early and one.action == "pass":
        return (ACCEPT,)  # of this chain: on to the other policies
    return {"allow": (ACCEPT,), "deny": (COUNTER, DROP), "pass": (RETURN,)}[one.action]


FEATURE = PolicyFeature()
