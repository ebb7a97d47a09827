"""Somebody else's nftables, read well enough to say what they do to one packet. Pure.

Three answers: what surely matches, what surely does not, and what cannot be told (xt extensions of iptables-nft, limits,
marks that others set). A rule that may match and would drop is reported as such; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.policy.evaluate import Packet
from reconciler.policy.view import ICMP, ICMPV6, PROTOCOLS, WITH_PORTS

MAX_DEPTH = 16  # NFT_JUMP_STACK_SIZE
_NAMED = {"ipv6-icmp": 58, **PROTOCOLS}
_ICMP_TYPES = {"echo-request": {ICMP: 8, ICMPV6: 128}}


class Passing(Struct, frozen=True):
    """A packet at one hook: by which interfaces it comes and goes ("" where there is none). ``answer``: it is the
    answer to a connection's first packet, else that packet itself."""

    packet: Packet
    hook: str
    iif: str = ""
    oif: str = ""
    mark: int | None = 0
    answer: bool = False


class Finding(Struct, frozen=True):
    """``sure`` False: the rule may match, or may not. ``where`` is ``family table, chain``; ``rule`` is its text."""

    where: str
    rule: str
    sure: bool


class _Walk(Struct):
    passing: Passing
    chains: Mapping[str, list[Mapping[str, Any]]]
    sets: Mapping[str, list[Any]]
    table: tuple[str, str]
    findings: list[Finding] = field(default_factory=list)


class Ruleset:
    """``objects`` as ``nft -j list ruleset`` gives them; ``texts`` maps (family, table, chain, handle) to a rule's text.
    ``own`` are (family, table) that are ours and left out."""

    def __init__(
        self,
        objects: Iterable[Mapping[str, Any]],
        texts: Mapping[tuple[str, str, str, int], str] | None = None,
        own: Iterable[tuple[str, str]] = (),
    ) -> None:
        self._texts = texts or {}
        self._chains: dict[tuple[str, str], dict[str, list[Mapping[str, Any]]]] = {}
        self._sets: dict[tuple[str, str], dict[str, list[Any]]] = {}
        self._bases: list[Mapping[str, Any]] = []
        left_out = set(own)
        for item in objects:
            for kind, body in item.items():
                table = (body.get("family", ""), body.get("table", "")) if isinstance(body, Mapping) else ("", "")
                if table in left_out:
                    continue
                if kind == "chain":
                    self._chains.setdefault(table, {}).setdefault(body["name"], [])
                    if "hook" in body:
                        self._bases.append(body)
                elif kind == "rule":
                    self._chains.setdefault(table, {}).setdefault(body["chain"], []).append(body)
                elif kind in ("set", "map"):
                    self._sets.setdefault(table, {})[body["name"]] = list(body.get("elem", ()))

    def against(self, passing: Passing, families: Sequence[str] = ()) -> list[Finding]:
        """What drops, or may drop, a packet at one hook; empty: nothing does. The first sure drop ends it."""
        wanted = families or ("inet", "ip" if passing.packet.version == 4 else "ip6")
        found: list[Finding] = []
        bases = [base for base in self._bases if base["hook"] == passing.hook and base["family"] in wanted]
        for base in sorted(bases, key=lambda base: (base.get("prio", 0), base["family"], base["table"])):
            if base.get("type") == "nat":
                continue  # it changes addresses, and drops nothing by itself
            table = (base["family"], base["table"])
            walk = _Walk(passing, self._chains[table], self._sets.get(table, {}), table)
            verdict = self._chain(walk, base["name"], 0)
            found += walk.findings
            if verdict is None and base.get("policy") == "drop":
                doubt = any(not finding.sure for finding in walk.findings)
                found.append(Finding(_where(table, base["name"]), "policy drop", not doubt))
                verdict = "drop" if not doubt else None
            if verdict == "drop":
                return found
        return found

    def _chain(self, walk: _Walk, name: str, depth: int) -> str | None:
        """``accept``, ``drop``, or None when it went through to the end."""
        if depth > MAX_DEPTH:
            return None
        for rule in walk.chains.get(name, ()):
            verdict = self._rule(walk, name, rule, depth)
            if verdict == "return":
                return None
            if verdict is not None:
                return verdict
        return None

    def _rule(self, walk: _Walk, chain: str, rule: Mapping[str, Any], depth: int) -> str | None:
        sure = True
        for statement in rule.get("expr", ()):
            for kind, body in statement.items():
                if kind == "match":
                    holds = _match(body, walk)
                    if holds is False:
                        return None
                    sure = sure and holds is True
                elif kind in ("xt", "limit", "quota", "connlimit", "fib", "socket", "synproxy"):
                    sure = False
                elif kind in ("accept", "drop", "reject", "return", "queue"):
                    return self._verdict(walk, chain, rule, kind, sure)
                elif kind in ("jump", "goto"):
                    verdict = self._follow(walk, body["target"], sure, depth)
                    if verdict is not None or kind == "goto":
                        return verdict or ("return" if kind == "goto" and sure else None)
                elif kind == "vmap":
                    verdict = self._vmap(walk, chain, rule, body, sure, depth)
                    if verdict is not None:
                        return verdict
                elif kind == "mangle" and "meta" in body.get("key", {}):
                    walk.passing = replace(walk.passing, mark=None)
        return None

    def _verdict(self, walk: _Walk, chain: str, rule: Mapping[str, Any], kind: str, sure: bool) -> str | None:
        if kind == "return":
            return "return" if sure else None
        if kind in ("accept", "queue"):
            if sure:
                return "accept"
            walk.findings.append(self._finding(walk, chain, rule, False, "may accept: "))
            return None
        walk.findings.append(self._finding(walk, chain, rule, sure, ""))
        return "drop" if sure else None

    def _follow(self, walk: _Walk, target: str, sure: bool, depth: int) -> str | None:
        """A chain that may or may not be entered decides nothing; what it would drop is told as a doubt."""
        before = len(walk.findings)
        verdict = self._chain(walk, target, depth + 1)
        if sure:
            return verdict
        walk.findings[before:] = [replace(finding, sure=False) for finding in walk.findings[before:]]
        if verdict == "accept":
            walk.findings.append(Finding(_where(walk.table, target), f"may accept: chain {target}", False))
        return None

    def _vmap(
        self, walk: _Walk, chain: str, rule: Mapping[str, Any], body: Mapping[str, Any], sure: bool, depth: int
    ) -> str | None:
        key = _field(body["key"], walk.passing)
        data = body["data"]
        elements = walk.sets.get(data[1:], []) if isinstance(data, str) else data.get("set", [])
        for element, verdict in elements:
            holds = _is(key, element, walk)
            if holds is False:
                continue
            ((word, target),) = verdict.items()
            if word in ("jump", "goto"):
                found = self._follow(walk, target["target"], sure and holds is True, depth)
                if found is not None:
                    return found
            else:
                found = self._verdict(walk, chain, rule, word, sure and holds is True)
                if found is not None:
                    return found
            if holds:
                return None
        return None

    def _finding(self, walk: _Walk, chain: str, rule: Mapping[str, Any], sure: bool, before: str) -> Finding:
        family, table = walk.table
        text = self._texts.get((family, table, chain, rule.get("handle", 0))) or _spoken(rule)
        return Finding(_where(walk.table, chain), before + text, sure)


def _where(table: tuple[str, str], chain: str) -> str:
    return f"table {table[0]} {table[1]}, chain {chain}"


def _spoken(rule: Mapping[str, Any]) -> str:
    return str(rule.get("comment") or f"rule with handle {rule.get('handle', '?')}")


def _match(body: Mapping[str, Any], walk: _Walk) -> bool | None:
    left, right, operator = body["left"], body["right"], body.get("op", "==")
    if isinstance(left, Mapping) and "ct" in left:
        return _conntrack(left["ct"], right, operator, walk.passing.answer)
    if isinstance(left, Mapping) and "payload" in left and _absent(left["payload"], walk.passing.packet):
        return False  # a field of another protocol: the rule is over, whatever the operator
    value = _field(left, walk.passing)
    if value is None or operator not in ("==", "!=", "in"):
        return None
    holds = _is(value, right, walk)
    if holds is None:
        return None
    return holds if operator != "!=" else not holds


def _conntrack(ct: Mapping[str, Any], right: Any, operator: str, answer: bool) -> bool | None:
    key = ct.get("key")
    values = right.get("set", []) if isinstance(right, Mapping) else right if isinstance(right, list) else [right]
    if key == "state":
        holds = ("established" if answer else "new") in values
    elif key == "direction":
        holds = bool({"reply", 1} & set(values)) if answer else bool({"original", 0} & set(values))
    elif key == "status":
        holds = not {"dnat", "snat", "assured", "seen-reply"}.issuperset(values)
        if holds:
            return None
    else:
        return None
    return holds if operator != "!=" else not holds


def _absent(payload: Mapping[str, Any], packet: Packet) -> bool:
    protocol = payload.get("protocol", "")
    if protocol in ("ip", "ip6"):
        return bool((protocol == "ip") != (packet.version == 4))
    return protocol in PROTOCOLS and PROTOCOLS[protocol] != packet.protocol


def _field(left: Any, passing: Passing) -> Any:
    """The packet's value of a field; None when it cannot be told."""
    packet = passing.packet
    if not isinstance(left, Mapping):
        return None
    if "concat" in left:
        parts = [_field(part, passing) for part in left["concat"]]
        return None if None in parts else tuple(parts)
    if "payload" in left:
        name, part = left["payload"].get("protocol", ""), left["payload"].get("field", "")
        if name in ("ip", "ip6") and part in ("saddr", "daddr"):
            return packet.source if part == "saddr" else packet.destination
        if part in ("protocol", "nexthdr") and name in ("ip", "ip6"):
            return packet.protocol
        if part in ("sport", "dport") and packet.protocol in WITH_PORTS:
            return packet.source_port if part == "sport" else packet.destination_port
        if name in ("icmp", "icmpv6") and part in ("type", "code"):
            return packet.icmp[0] if part == "type" else packet.icmp[1]
        return None
    if "meta" in left:
        return {
            "iifname": passing.iif,
            "iif": passing.iif,
            "oifname": passing.oif,
            "oif": passing.oif,
            "l4proto": packet.protocol,
            "nfproto": "ipv4" if packet.version == 4 else "ipv6",
            "protocol": "ip" if packet.version == 4 else "ip6",
            "mark": passing.mark,
            "pkttype": "unicast",
        }.get(left["meta"].get("key", ""))
    if "prefix" in left or "&" in left:
        inner = left.get("&")
        value = _field(inner[0], passing) if isinstance(inner, list) else None
        return value & inner[1] if isinstance(value, int) and isinstance(inner[1], int) else None  # type: ignore[index]  # a list
    return None


def _is(value: Any, right: Any, walk: _Walk) -> bool | None:
    """Whether a value equals, or is in, what a rule has on its right."""
    if value is None:
        return None
    if isinstance(right, str) and right.startswith("@"):
        elements = walk.sets.get(right[1:])
        return None if elements is None else _any(value, elements, walk)
    if isinstance(right, list):
        return _any(value, right, walk)
    if isinstance(right, Mapping):
        if "set" in right:
            return _any(value, right["set"] if isinstance(right["set"], list) else [right["set"]], walk)
        if "elem" in right:
            return _is(value, right["elem"]["val"], walk)
        if "range" in right:
            low, high = (_like(value, end) for end in right["range"])
            return None if low is None or high is None else bool(low <= value <= high)
        if "prefix" in right:
            try:
                return bool(value in ip_network(f"{right['prefix']['addr']}/{right['prefix']['len']}", strict=False))
            except (ValueError, TypeError):
                return None
        if "concat" in right:
            if not isinstance(value, tuple):
                return None
            parts = [_is(one, part, walk) for one, part in zip(value, right["concat"], strict=False)]
            return False if False in parts else None if None in parts else True
        return None
    if isinstance(value, str):
        return fnmatchcase(value, str(right)) if "*" in str(right) else value == str(right)
    other = _like(value, right)
    return None if other is None else bool(value == other)


def _any(value: Any, elements: Iterable[Any], walk: _Walk) -> bool | None:
    found = [_is(value, element, walk) for element in elements]
    return True if True in found else None if None in found else False


def _like(value: Any, text: Any) -> Any:
    """What a rule writes, as the value's type; None when it cannot be read."""
    if isinstance(value, int):
        if isinstance(text, int):
            return text
        if text in _NAMED:
            return _NAMED[text]
        if text in _ICMP_TYPES:
            return value if value in _ICMP_TYPES[text].values() else -1
        try:
            return int(str(text), 0)
        except ValueError:
            return None
    try:
        return ip_address(str(text))
    except ValueError:
        return None
