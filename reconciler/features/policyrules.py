"""The rules of a policy, as nftables has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product

from msgspec import Struct

from reconciler.drivers.nftexpr import (
    ACCEPT,
    COUNTER,
    DROP,
    RETURN,
    Expr,
    address,
    concat,
    log,
    match,
    meta,
    one_of,
    payload,
    rule,
)
from reconciler.errors import Origin
from reconciler.features.policysets import PROTOCOLS, Sets
from reconciler.policy.view import ICMP, ICMPV6, UNTRACKED, WITH_PORTS, PeerView, PolicyView, PortMatch, RuleView
from reconciler.resources.nft import Rule

VERSIONS = (4, 6)
NOTRACK: Expr = {"notrack": None}


class Rules(Struct, frozen=True):
    """Compiles rules; the sets that they look up are added to ``sets``."""

    sets: Sets

    def of(self, policy: PolicyView, direction: str) -> Iterator[Rule]:
        """A policy's rules of one direction, in order: one or more for each of the manifest's."""
        for number, one in enumerate(policy.rules[direction]):
            said = f"{policy.document} {direction} {number + 1}: {one.action}"
            rules = (rule(said, *found, *_verdict(policy, one)) for found in self._conditions(one))
            yield from dict.fromkeys(rules)

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
            found.append(match(where, f"@{self.sets.chosen(peer.who, version)}"))
        found += [match(where, f"@{self.sets.chosen(choice, version)}", "!=") for choice in peer.not_who]
        if peer.nets is not None:
            name = self.sets.nets(peer.nets, version, origin)
            if not name:
                return None
            found.append(match(where, f"@{name}"))
        if peer.not_nets:
            name = self.sets.nets(peer.not_nets, version, origin)
            if name:
                found.append(match(where, f"@{name}", "!="))
        if peer.nodes is not None:
            own = [address for address in peer.nodes if address.version == version]
            if not own:
                return None
            found.append(match(where, f"@{self.sets.hosts(own, version, origin)}"))
        not_own = [address for address in peer.not_nodes if address.version == version]
        if not_own:
            found.append(match(where, f"@{self.sets.hosts(not_own, version, origin)}", "!="))
        return found

    def _ports(self, side: str, peer: PeerView, version: int, one: RuleView) -> Iterator[list[Expr]]:
        if one.protocol not in WITH_PORTS:
            yield []
            return
        name = PROTOCOLS[one.protocol]
        where = payload(name, "sport" if side == "source" else "dport")

        def named(port: PortMatch, op: str) -> Expr:
            return match(
                concat(address(version, side), where), f"@{self.sets.named(port.name, one.protocol or 0, version)}", op
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
