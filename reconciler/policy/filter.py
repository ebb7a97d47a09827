"""One nftables table of ours, read well enough to say what it does to the first packet of a connection. Pure.

:mod:`reconciler.policy.evaluate` answers by the manifests; this answers by what stands in a table, wanted or seen, and
knows nothing of policies. So what a change does to who reaches whom can be told of any two states of a host, also where one
of them was made by hand.

It knows the statements that :mod:`reconciler.drivers` and :mod:`reconciler.features` write; of anything else it says that it
cannot tell. Rules are compiled once and sets are indexed, because all pairs are asked.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import cached_property, lru_cache
from ipaddress import ip_address, ip_network
from itertools import islice
from typing import Any, NamedTuple

from msgspec import Struct

from reconciler.policy.evaluate import Packet
from reconciler.policy.view import ICMP, ICMPV6, PROTOCOLS, WITH_PORTS
from reconciler.resources.nft import NftChain, NftElement, NftSet
from reconciler.resources.resource import Resource

Value = int | str | tuple[int | str, ...]
_NAMES = {number: name for name, number in PROTOCOLS.items()}


class UntoldError(Exception):
    """A statement that is none of ours decides."""


class Passing(Struct):
    """A packet at a hook: by which interfaces of that namespace it comes and goes ("" for none)."""

    packet: Packet
    iif: str
    oif: str
    source: str
    destination: str


class Members:
    """What is in a set or map: by value where it is a hash, by span where it has intervals."""

    def __init__(self, *, interval: bool) -> None:
        self.interval = interval
        self.values: dict[str, str | None] = {}
        self._spans: list[tuple[int, int, str | None]] | None = None
        self._starts: list[int] = []

    @property
    def plain(self) -> bool:
        """Of addresses alone, and no concatenation."""
        return not any(" . " in value for value in islice(self.values, 1))

    def find(self, value: str) -> tuple[bool, str | None]:
        """(whether it is in there, what it maps to)."""
        if value in self.values:
            return True, self.values[value]
        return self._between(value) if self.interval else (False, None)

    def _between(self, value: str) -> tuple[bool, str | None]:
        if " . " in value:
            return next(((True, data) for key, data in self.values.items() if _covers(key, value)), (False, None))
        if self._spans is None:
            self._spans = sorted((*_span(key), data) for key, data in self.values.items())
            self._starts = [span[0] for span in self._spans]
        number = _place(value)
        at = bisect_right(self._starts, number) - 1
        if at >= 0 and self._spans[at][1] >= number:
            return True, self._spans[at][2]
        return False, None


def _place(address: str) -> int:
    """An address as a number; those of IPv6 behind all of IPv4."""
    found = ip_address(address)
    return int(found) + (1 << 32 if found.version == 6 else 0)


def _span(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if dash:
        return _place(first), _place(last)
    net = ip_network(text)
    return _place(str(net[0])), _place(str(net[-1]))


def _covers(key: str, value: str) -> bool:
    """Of concatenations only numbers have ranges in our sets: ``10.0.0.2 . tcp . 80-90``."""
    parts = list(zip(key.split(" . "), value.split(" . "), strict=False))
    for wanted, part in parts:
        first, dash, last = wanted.partition("-")
        if wanted != part and not (
            dash and part.isdecimal() and first.isdecimal() and int(first) <= int(part) <= int(last)
        ):
            return False
    return True


class Span(NamedTuple):
    """Ports of a protocol that a rule names; 0 to 0 for a protocol without."""

    protocol: int
    first: int
    last: int


Test = Callable[[Passing], bool]
Action = Callable[[Passing], str | None]  # accept, drop, return, or None: the next rule


class Filter:
    """A table's chains, sets and elements."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self.chains: dict[str, NftChain] = {}
        self.sets: dict[str, Members] = {}
        elements: list[NftElement] = []
        for resource in resources:
            name = resource.key.name.split("/", 2)[-1]
            if isinstance(resource, NftChain):
                self.chains[name] = resource
            elif isinstance(resource, NftSet):
                self.sets[name] = Members(interval=resource.interval)
            elif isinstance(resource, NftElement):
                elements.append(resource)
        for element in elements:
            name, _, value = element.key.name.split("/", 2)[-1].partition("/")
            if name in self.sets:
                self.sets[name].values[value] = element.value
        self._bases: dict[str, list[NftChain]] = {}
        for chain in self.chains.values():
            if chain.hook is not None and chain.type == "filter":
                self._bases.setdefault(chain.hook, []).append(chain)
        for bases in self._bases.values():
            bases.sort(key=lambda chain: (chain.priority or 0, chain.key))
        self._rules: dict[str, tuple[tuple[tuple[Test, ...], Action | None], ...]] = {}
        self._contents: dict[str, Hashable] = {}
        self._named_ports: dict[str, frozenset[Span]] = {}

    def passes(self, packet: Packet, hook: str, iif: str = "", oif: str = "") -> bool | None:
        """Whether it gets past this table at a hook; None: cannot be told."""
        passing = Passing(packet, iif, oif, str(packet.source), str(packet.destination))
        try:
            for base in self._bases.get(hook, ()):
                verdict = self._walk(base.key.name.split("/", 2)[-1], passing)
                if verdict == "drop" or (verdict != "accept" and base.policy == "drop"):
                    return False
        except (UntoldError, RecursionError):
            return None
        return True

    def ports(self, *values: str) -> frozenset[Span]:
        """All that is named by the rules which packets of these addresses or interfaces meet."""
        found = set(self._frame_ports)
        for value in values:
            for _name, _rest, data in self._index.get(value, ()):
                _verb, _, target = (data or "").partition(" ")
                found |= self._ports(target) if target else set()
        return frozenset(found)

    @cached_property
    def _frame_ports(self) -> frozenset[Span]:
        names = (chain.key.name.split("/", 2)[-1] for bases in self._bases.values() for chain in bases)
        return frozenset(port for name in names for port in self._ports(name))

    def _ports(self, name: str, above: tuple[str, ...] = ()) -> frozenset[Span]:
        found = self._named_ports.get(name)
        if found is None:
            mine: set[Span] = set()
            chain = self.chains.get(name)
            for rule in chain.rules or () if chain is not None and name not in above else ():
                for statement in _parsed(rule.expr):
                    if "match" in statement:
                        mine.update(self._named(statement["match"]))
                for target in _targets(rule.expr):
                    mine |= self._ports(target, (*above, name))
            found = self._named_ports[name] = frozenset(mine)
        return found

    def _named(self, body: Mapping[str, Any]) -> Iterable[Span]:
        left, right = body["left"], body["right"]
        if not isinstance(left, Mapping):
            return
        if left.get("meta", {}).get("key") == "l4proto":
            yield from (Span(first, 0, 0) for first, _ in _spans(right) if first not in WITH_PORTS | {ICMP, ICMPV6})
        for part in (left, *left.get("concat", ())):
            payload = part.get("payload", {})
            protocol = PROTOCOLS.get(payload.get("protocol", ""), 0)
            if payload.get("field") != "dport" or protocol not in WITH_PORTS:
                continue
            if isinstance(right, str) and right[1:] in self.sets:
                for value in self.sets[right[1:]].values:
                    first, _, last = value.rpartition(" . ")[2].partition("-")
                    if first.isdecimal():
                        yield Span(protocol, int(first), int(last or first))
            else:
                yield from (Span(protocol, *span) for span in _spans(right))

    # -- what is the same for many ---------------------------------------------------------------------------

    @cached_property
    def frame(self) -> int:
        """A number that is the same for tables that treat packets alike, but for what their sets and maps hold."""
        bases = [chain for hook in sorted(self._bases) for chain in self._bases[hook]]
        return hash(tuple((c.hook, c.priority, c.policy, self._content(c.key.name.split("/", 2)[-1])) for c in bases))

    @cached_property
    def whole(self) -> int:
        """The same, sets and maps included."""
        return hash(
            (self.frame, *((name, tuple(sorted(self.sets[name].values.items(), key=str))) for name in self._asked))
        )

    def mentions(self, value: str) -> frozenset[tuple[str, str, Hashable]]:
        """Where an address or interface stands in those sets and maps that filters ask: what has the same mentions is
        treated alike. (set, what stands behind it in a concatenation, what the chain that it maps to says)."""
        found = {(name, rest, self._meaning(data)) for name, rest, data in self._index.get(value, ())}
        for name in self._asked:
            members = self.sets[name]
            if members.interval and (":" in value or "." in value) and members.plain:
                there, data = members.find(value)
                if there:
                    found.add((name, "", self._meaning(data)))
        return frozenset(found)

    def _meaning(self, data: str | None) -> Hashable:
        verb, _, target = (data or "").partition(" ")
        return (verb, self._content(target)) if target else data

    def _content(self, name: str, above: tuple[str, ...] = ()) -> Hashable:
        """What a chain says, with all that it jumps to."""
        found = self._contents.get(name)
        if found is None and name not in above:
            chain = self.chains.get(name)
            rules = chain.rules or () if chain is not None else ()
            inner = [self._content(target, (*above, name)) for rule in rules for target in _targets(rule.expr)]
            found = self._contents[name] = hash((rules, tuple(inner)))
        return found

    @cached_property
    def _asked(self) -> tuple[str, ...]:
        """The sets and maps that filters look into."""
        todo = [chain.key.name.split("/", 2)[-1] for bases in self._bases.values() for chain in bases]
        chains, sets = set(todo), set[str]()
        while todo:
            chain = self.chains.get(todo.pop())
            for rule in chain.rules or () if chain is not None else ():
                targets = set(_targets(rule.expr))
                for name in _sets(rule.expr) - sets:
                    sets.add(name)
                    data = self.sets[name].values.values() if name in self.sets else ()
                    targets |= {value.partition(" ")[2] for value in data if value is not None and " " in value}
                todo += targets - chains
                chains |= targets
        return tuple(sorted(sets & self.sets.keys()))

    @cached_property
    def _index(self) -> dict[str, list[tuple[str, str, str | None]]]:
        index: dict[str, list[tuple[str, str, str | None]]] = {}
        for name in self._asked:
            members = self.sets[name]
            if members.interval and members.plain:
                continue
            for value, data in members.values.items():
                first, _, rest = value.partition(" . ")
                index.setdefault(first, []).append((name, rest, data))
        return index

    # -- walking -------------------------------------------------------------------------------------------

    def _walk(self, name: str, passing: Passing) -> str | None:
        for tests, action in self._compiled(name):
            for test in tests:
                if not test(passing):
                    break
            else:
                verdict = action(passing) if action is not None else None
                if verdict == "return":
                    return None
                if verdict is not None:
                    return verdict
        return None

    def _compiled(self, name: str) -> tuple[tuple[tuple[Test, ...], Action | None], ...]:
        found = self._rules.get(name)
        if found is None:
            chain = self.chains.get(name)
            found = tuple(self._rule(_parsed(rule.expr)) for rule in (chain.rules or () if chain is not None else ()))
            self._rules[name] = found
        return found

    def _rule(self, statements: Iterable[Mapping[str, Any]]) -> tuple[tuple[Test, ...], Action | None]:
        tests: list[Test] = []
        for statement in statements:
            ((kind, body),) = statement.items()
            if kind == "match":
                tests.append(self._match(body))
            elif kind in ("accept", "drop", "return"):
                return tuple(tests), lambda _passing, word=kind: word
            elif kind == "reject":
                return tuple(tests), lambda _passing: "drop"
            elif kind in ("jump", "goto"):
                return tuple(tests), self._follow(kind, body["target"])
            elif kind == "vmap":
                return tuple(tests), self._map(body)
            elif kind == "ct count":
                tests.append(lambda _passing: False)  # the first connection is never too many
            elif kind not in ("counter", "log", "mangle", "masquerade", "snat", "dnat", "notrack"):
                tests.append(_untold)
        return tuple(tests), None

    def _follow(self, kind: str, target: str) -> Action:
        def follow(passing: Passing) -> str | None:
            verdict = self._walk(target, passing)
            return verdict if verdict is not None or kind == "jump" else "return"

        return follow

    def _map(self, body: Mapping[str, Any]) -> Action:
        field = _field(body["key"])
        members = self.sets.get(str(body["data"])[1:]) if isinstance(body["data"], str) else None
        if members is None:
            return _untold_action

        def decide(passing: Passing) -> str | None:
            value = field(passing)
            there, data = members.find(_text(value)) if value is not None else (False, None)
            if not there:
                return None
            verb, _, target = (data or "").partition(" ")
            if verb in ("jump", "goto"):
                return self._follow(verb, target)(passing)
            return verb

        return decide

    # -- matches -------------------------------------------------------------------------------------------

    def _match(self, body: Mapping[str, Any]) -> Test:
        left, right, operator = body["left"], body["right"], body.get("op", "==")
        if "ct" in left:
            return _conntrack(left["ct"], right)
        if "&" in left:  # of a mark, which nobody has set
            return lambda _passing: (right == 0) == (operator == "==")
        field = _field(left)
        inside = self._inside(right)

        def test(passing: Passing) -> bool:
            value = field(passing)
            return value is not None and inside(value) is (operator != "!=")

        return test

    def _inside(self, right: Any) -> Callable[[Value], bool]:
        if isinstance(right, str) and right.startswith("@"):
            members = self.sets.get(right[1:])
            if members is None:
                return _untold_value
            return lambda value: members.find(_text(value))[0]
        if isinstance(right, Mapping) and "set" in right:
            parts = [self._inside(part) for part in right["set"]]
            return lambda value: any(part(value) for part in parts)
        if isinstance(right, Mapping) and "range" in right:
            first, last = right["range"]
            return lambda value: isinstance(value, int) and first <= value <= last
        if isinstance(right, Mapping) and "prefix" in right:
            net = ip_network(f"{right['prefix']['addr']}/{right['prefix']['len']}")
            return lambda value: isinstance(value, str) and ip_address(value) in net
        if isinstance(right, int | str):
            return lambda value: value == right
        return _untold_value


@lru_cache(maxsize=20_000)
def _parsed(expr: str) -> tuple[Mapping[str, Any], ...]:
    return tuple(json.loads(expr))


def _targets(expr: str) -> Iterable[str]:
    for statement in _parsed(expr):
        for kind in ("jump", "goto"):
            if kind in statement:
                yield statement[kind]["target"]


@lru_cache(maxsize=20_000)
def _sets(expr: str) -> frozenset[str]:
    """The named sets and maps that a rule asks."""
    return frozenset(re.findall(r'"@([^"]+)"', expr))


def _spans(right: Any) -> Iterable[tuple[int, int]]:
    """(first, last) of the numbers that a match has on its right."""
    if isinstance(right, int):
        yield right, right
    elif isinstance(right, Mapping):
        if "range" in right:
            first, last = right["range"]
            yield first, last
        for part in right.get("set", ()):
            yield from _spans(part)


def _text(value: Value) -> str:
    """As the elements of sets are written."""
    return " . ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _untold(_passing: Passing) -> bool:
    raise UntoldError


def _untold_action(_passing: Passing) -> str | None:
    raise UntoldError


def _untold_value(_value: Value) -> bool:
    raise UntoldError


def _conntrack(ct: Mapping[str, Any], right: Any) -> Test:
    """Of a connection's first packet, whose addresses nobody translated."""
    values = right if isinstance(right, list) else right.get("set", ()) if isinstance(right, Mapping) else [right]
    if ct.get("key") == "state":
        return lambda _passing: "new" in values
    if ct.get("key") == "direction":
        return lambda _passing: "original" in values or 0 in values
    if ct.get("key") == "status":
        return lambda _passing: False
    return _untold


def _field(left: Mapping[str, Any]) -> Callable[[Passing], Value | None]:
    """Takes a field of a packet; None: it has no such field."""
    if "concat" in left:
        parts = [_part(part) for part in left["concat"]]

        def both(passing: Passing) -> Value | None:
            found = tuple(part(passing) for part in parts)
            return None if None in found else found  # type: ignore[return-value]  # none of them is None

        return both
    if "payload" in left:
        return _payload(str(left["payload"].get("protocol", "")), str(left["payload"].get("field", "")))
    key = left.get("meta", {}).get("key")
    if key == "iifname":
        return lambda passing: passing.iif
    if key == "oifname":
        return lambda passing: passing.oif
    if key == "l4proto":
        return lambda passing: passing.packet.protocol
    if key == "nfproto":
        return lambda passing: f"ipv{passing.packet.version}"
    return _no_field


def _part(left: Mapping[str, Any]) -> Callable[[Passing], Value | None]:
    """The same in a concatenation, whose elements have protocols by name."""
    if left.get("meta", {}).get("key") == "l4proto":
        return lambda passing: _NAMES.get(passing.packet.protocol, passing.packet.protocol)
    return _field(left)


def _no_field(_passing: Passing) -> Value | None:
    raise UntoldError


def _payload(protocol: str, field: str) -> Callable[[Passing], Value | None]:
    if protocol in ("ip", "ip6"):
        version = 4 if protocol == "ip" else 6
        if field == "saddr":
            return lambda passing: passing.source if passing.packet.version == version else None
        if field == "daddr":
            return lambda passing: passing.destination if passing.packet.version == version else None
        return _no_field
    if protocol == "th":
        if field == "dport":
            return lambda passing: passing.packet.destination_port if passing.packet.protocol in WITH_PORTS else None
        return _no_field
    number = PROTOCOLS.get(protocol)
    if number is None:
        return _no_field
    take: dict[str, Callable[[Packet], int]] = {
        "sport": lambda packet: packet.source_port,
        "dport": lambda packet: packet.destination_port,
        "type": lambda packet: packet.icmp[0],
        "code": lambda packet: packet.icmp[1],
    }
    if field not in take:
        return _no_field
    part = take[field]
    return lambda passing: part(passing.packet) if passing.packet.protocol == number else None
