"""What reads our nftables tables and changes them: by difference, in one transaction."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from errno import EIO
from typing import TYPE_CHECKING, Any

from reconciler.netlink import setelem
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.nft import (
    NftChain,
    NftElement,
    NftSet,
    NftTable,
    Rule,
    chain_key,
    element_key,
    set_key,
    table_key,
)
from reconciler.resources.nftform import canonical
from reconciler.resources.resource import Key, Observed, Resource

if TYPE_CHECKING:
    from reconciler.host.host import Host

# nft 1.0.6 neither writes nor lists a table's comment as JSON, so the mark is an empty chain that says it.
_MARK = "owned-by-"
_PORTS = re.compile(r"[0-9]+-[0-9]+\Z")
# What an admin adds to our tables under such a name is his: not seen, not changed, gone only with the table.
USERS = "user-"


class NftActuator:
    """The tables of one owner. What stands in them and is not wanted is drift, and goes.

    Every change of anybody's gives the tables of a namespace a new generation. What was read of one generation is
    remembered with the host, so that whoever keeps a host open reads its tables again only when something changed;
    and what our own transaction changed from one generation to the very next needs no reading.
    """

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        wanted = {(key.netns, *_split(key)) for key in scope.wanted if key.kind == "nft-table"}
        wanted |= {(key.netns, *_split(key)) for key in _remembered(host)}
        wanted |= {("", family, default_table(scope.owner)) for family in ("inet", "bridge")}
        for netns in sorted({netns for netns, _family, _table in wanted}):
            if netns not in host.open_namespaces():
                continue
            for items in _look(host, netns, {(family, table) for where, family, table in wanted if where == netns}):
                yield from items.values()

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        by_netns: dict[str, list[OpView]] = {}
        for op in ops:
            by_netns.setdefault(op.key.netns, []).append(op)
        for netns, mine in sorted(by_netns.items()):
            words = _transact(host, netns, mine, owner) if netns in host.open_namespaces() else _gone(netns, mine)
            for op in mine:
                yield Outcome(op.id, EIO, words) if words else Outcome(op.id)


def _gone(netns: str, ops: Sequence[OpView]) -> str:
    """A namespace that is not there has no tables: to delete them is done."""
    return "" if all(op.action == "delete" for op in ops) else f"the namespace of {netns} is not there"


def _remembered(host: Host) -> Iterable[Key]:
    for text in host.inventory.made:
        if text.startswith("nft-table/"):
            yield Key.parse(text)


def _look(host: Host, netns: str, tables: Collection[tuple[str, str]]) -> list[Mapping[Key, Observed]]:
    """What these tables (family, name) hold, in their order, each read once a generation."""
    namespace = host.netns(netns)
    now = (namespace.inode, namespace.nftables.generation())
    known: dict[tuple[str, str], Mapping[Key, Observed]] = {}
    for place in tables:
        when, items = host.nft.seen.get((netns, *place), (None, {}))
        if when == now:
            known[place] = items
    missing = set(tables) - known.keys()
    if missing:
        standing = namespace.nftables.tables() & missing
        with namespace.entered():
            listings = host.nft.listed(sorted(standing))
        still = (namespace.inode, namespace.nftables.generation()) == now
        for family, table in missing:
            listing = listings.get((family, table), [])
            items = {seen.resource.key: seen for seen in _resources(family, table, netns, listing)}
            known[family, table] = items
            if still:
                host.nft.seen[netns, family, table] = (now, items)
    return [known[place] for place in sorted(tables)]


def _transact(host: Host, netns: str, ops: Sequence[OpView], owner: str) -> str:
    """One transaction; "" or nft's words. First in the belief that the plan's picture still holds; when nft
    refuses that, with what really stands."""
    namespace = host.netns(netns)
    before = namespace.nftables.generation()
    changes = _messages(host, netns, ops, before)
    if changes:
        words = host.nft.hindered()
        if words:
            return words
        if not namespace.nftables.commit(changes, before):
            _keep_up(host, netns, ops, owner, before)
            return ""  # what the kernel refused is told by nft, or done on what really stands
    standing = {op.key for op in ops if op.action != "create"}
    statements = transaction(ops, standing, owner)
    if not statements:
        return ""
    with namespace.entered():
        words = host.nft.run(statements)
    if not words:
        _keep_up(host, netns, ops, owner, before)
        return ""
    standing = set().union(*_look(host, netns, {_split(op.key) for op in ops}))
    again = transaction(ops, standing, owner)
    if again == statements:
        return words
    with namespace.entered():
        return host.nft.run(again) if again else ""


def _messages(host: Host, netns: str, ops: Sequence[OpView], generation: int) -> list[bytes]:
    """A transaction of elements alone, of sets that are known in this generation; empty where nft must do it."""
    if not ops or any(op.key.kind != "nft-element" for op in ops):
        return []
    now = (host.netns(netns).inode, generation)
    gone: dict[str, list[NftElement]] = {}
    made: dict[str, list[NftElement]] = {}
    for op in ops:
        before, after = op.before, op.after
        if isinstance(before, NftElement) and op.action != "create":
            gone.setdefault(_set_name(op.key), []).append(before)
        if isinstance(after, NftElement) and op.action != "delete":
            made.setdefault(_set_name(op.key), []).append(after)
    found: list[bytes] = []
    try:
        for kind, by_set in ((setelem.DELSETELEM, gone), (setelem.NEWSETELEM, made)):
            for place, mine in by_set.items():
                family, table, name = place.split("/", 2)
                when, items = host.nft.seen.get((netns, family, table), (None, {}))
                seen = items.get(set_key(family, table, name, netns))
                if when != now or seen is None:
                    return []
                spec = seen.resource
                pairs = [(element.key.name.split("/", 3)[3], element.value) for element in mine]
                types = (spec.type, spec.data_type)
                found += setelem.elements(kind, (family, table, name), types, pairs, interval=spec.interval)
    except setelem.UnknownFormError:
        return []
    return found


def _keep_up(host: Host, netns: str, ops: Sequence[OpView], owner: str, before: int) -> None:
    """After a transaction of elements alone: the picture of the generation before, and these changes, is the
    picture of the next one, unless somebody else came between."""
    namespace = host.netns(netns)
    if any(op.key.kind != "nft-element" for op in ops) or namespace.nftables.generation() != before + 1:
        return
    now = (namespace.inode, before + 1)
    for place, (when, items) in list(host.nft.seen.items()):
        if place[0] == netns and when == (namespace.inode, before):
            host.nft.seen[place] = (now, items)
    for op in sorted(ops, key=lambda op: op.action != "delete"):
        known = host.nft.seen.get((netns, *_split(op.key)))
        if known is None or known[0] != now:
            continue
        if op.action == "delete":
            known[1].pop(op.key, None)
        elif op.after is not None:
            known[1][op.key] = Observed(op.after, owner)


def default_table(owner: str) -> str:
    """The table of an owner: ``cnm`` for the default one, else ``cnm-OWNER``."""
    return "cnm" if owner == "cnm" else f"cnm-{owner}"


def _split(key: Key) -> tuple[str, str]:
    family, table = key.name.split("/")[:2]
    return family, table


def _resources(family: str, table: str, netns: str, objects: Iterable[Mapping[str, Any]]) -> list[Observed]:
    """A listing of libnftables-json(5) as resources."""
    rules: dict[str, list[Rule]] = {}
    chains: list[Mapping[str, Any]] = []
    found: list[Resource] = []
    owner = ""
    for item in objects:
        if "table" in item:
            found.append(NftTable(key=table_key(family, table, netns)))
        elif "chain" in item:
            name = item["chain"]["name"]
            if name.startswith(USERS):
                continue
            if name.startswith(_MARK):
                owner = name.removeprefix(_MARK)
            else:
                chains.append(item["chain"])
        elif "rule" in item:
            rule = item["rule"]
            expr = canonical(rule["expr"])
            rules.setdefault(rule["chain"], []).append(Rule(comment=rule.get("comment", ""), expr=expr))
        elif "set" in item or "map" in item:
            spec = item.get("set") or item["map"]
            if spec["name"].startswith(USERS):
                continue
            found.extend(_set(family, table, netns, spec))
    found.extend(
        NftChain(
            key=chain_key(family, table, chain["name"], netns),
            type=chain.get("type"),
            hook=chain.get("hook"),
            priority=chain.get("prio"),
            policy=chain.get("policy"),
            rules=tuple(rules.get(chain["name"], ())),
        )
        for chain in chains
    )
    return [Observed(resource, owner) for resource in found]


def _set(family: str, table: str, netns: str, spec: Mapping[str, Any]) -> Iterable[Resource]:
    name = spec["name"]
    kind = spec["type"]
    yield NftSet(
        key=set_key(family, table, name, netns),
        type=kind if isinstance(kind, str) else " . ".join(kind),
        data_type=spec.get("map"),
        interval="interval" in spec.get("flags", ()),
    )
    for element in spec.get("elem", ()):
        value: str | None = None
        if "map" in spec:
            element, data = element
            value = _verdict(data)
        yield NftElement(key=element_key(family, table, name, _element(element), netns), value=value)


def _element(element: Any) -> str:
    """``br0``, ``192.0.2.0/24``, ``192.0.2.1-192.0.2.9``."""
    if isinstance(element, dict):
        if "elem" in element:  # with comment, counter or timeout
            return _element(element["elem"]["val"])
        if "prefix" in element:
            return f"{element['prefix']['addr']}/{element['prefix']['len']}"
        if "range" in element:
            return "-".join(str(end) for end in element["range"])
        if "concat" in element:
            return " . ".join(_element(part) for part in element["concat"])
    return str(element)


def _verdict(data: Any) -> str:
    """``goto to-front``, ``drop``, or plain data."""
    if isinstance(data, dict):
        ((verdict, target),) = data.items()
        return f"{verdict} {target['target']}" if isinstance(target, dict) and "target" in target else str(verdict)
    return str(data)


def _element_json(element: str) -> Any:
    if " . " in element:
        return {"concat": [_element_json(part) for part in element.split(" . ")]}
    if _PORTS.match(element):
        return {"range": element.split("-")}
    if "/" in element:
        address, _, length = element.partition("/")
        return {"prefix": {"addr": address, "len": int(length)}}
    return int(element) if element.isdecimal() else element


def _value_json(value: str) -> Any:
    verb, _, target = value.partition(" ")
    if verb in ("goto", "jump"):
        return {verb: {"target": target}}
    if verb in ("accept", "drop", "continue", "return"):
        return {verb: None}
    return value


def transaction(ops: Sequence[OpView], standing: set[Key], owner: str) -> list[dict[str, Any]]:
    """The statements that carry out ``ops``, in the one order in which nft takes any mixture of them: first
    nothing refers to what goes, then it goes, then what comes stands, then things refer to it."""
    gone = {op.key for op in ops if op.action == "delete"}
    dead_tables = {_split(key) for key in gone if key.kind == "nft-table"}
    doomed = [op for op in ops if op.action == "delete" and op.key in standing]
    inner = [op for op in doomed if _split(op.key) not in dead_tables]
    made = [op for op in ops if op.action != "delete"]

    statements: list[dict[str, Any]] = []
    dead_sets = {op.key.name for op in inner if op.key.kind == "nft-set"}  # they are emptied whole; nft refuses both
    alone = [op for op in inner if op.key.kind == "nft-element" and _set_name(op.key) not in dead_sets]
    changed = [op for op in made if op.key.kind == "nft-element" and op.key in standing]
    statements += _elements("delete", [op.before or op.after for op in (*alone, *changed)])
    statements += [{"flush": {_word(op.before): _ref(op.key)}} for op in inner if op.key.kind == "nft-set"]
    flushed = [op for op in inner if op.key.kind == "nft-chain"]
    flushed += [op for op in made if _rules_of(op) is not None and op.key in standing and op.key not in gone]
    statements += [{"flush": {"chain": _ref(op.key)}} for op in flushed if _split(op.key) not in dead_tables]
    for kind in ("nft-chain", "nft-set"):
        statements += [{"delete": {_word(op.before): _ref(op.key)}} for op in inner if op.key.kind == kind]
    statements += [
        {"delete": {"table": {"family": family, "name": table}}}
        for family, table in sorted(dead_tables)
        if any(op.key.kind == "nft-table" and _split(op.key) == (family, table) for op in doomed)
    ]
    for kind in ("nft-table", "nft-set", "nft-chain"):
        for op in made:
            if op.key.kind == kind:
                statements += _add(op.after, "" if op.unmarked else owner)
            if op.key.kind == kind == "nft-table" and op.action == "release":
                family, table = _split(op.key)
                mark = {"family": family, "table": table, "name": _MARK + owner}
                statements.append({"delete": {"chain": mark}})
    statements += _elements("add", [op.after for op in made if op.key.kind == "nft-element"])
    for op in made:
        rules = _rules_of(op)
        if rules is not None:
            if op.key not in standing:  # made a second time, it would have its rules twice
                statements.append({"flush": {"chain": _ref(op.key)}})
            statements += [_rule(op.key, rule) for rule in rules]
    return statements


def _rules_of(op: OpView) -> tuple[Rule, ...] | None:
    """The rules that a chain shall have; None for what is no chain, and for a chain whose rules are the admin's."""
    return op.after.rules if isinstance(op.after, NftChain) else None


def _set_name(key: Key) -> str:
    """``family/table/set`` of an element's key."""
    return "/".join(key.name.split("/", 3)[:3])


def _word(spec: Resource | None) -> str:
    if isinstance(spec, NftChain):
        return "chain"
    return "map" if isinstance(spec, NftSet) and spec.data_type is not None else "set"


def _elements(verb: str, specs: Sequence[Resource | None]) -> Iterable[dict[str, Any]]:
    """One statement a set, however many elements."""
    by_set: dict[tuple[str, str, str], list[Any]] = {}
    for spec in specs:
        assert isinstance(spec, NftElement)
        family, table, name, element = spec.key.name.split("/", 3)
        item = _element_json(element)
        if spec.value is not None:
            item = [item, _value_json(spec.value)]
        by_set.setdefault((family, table, name), []).append(item)
    for (family, table, name), items in by_set.items():
        yield {verb: {"element": {"family": family, "table": table, "name": name, "elem": items}}}


def _ref(key: Key) -> dict[str, Any]:
    family, table, name = key.name.split("/", 2)
    return {"family": family, "table": table, "name": name}


def _add(spec: Resource | None, owner: str) -> Iterable[dict[str, Any]]:
    if isinstance(spec, NftTable):
        family, table = _split(spec.key)
        yield {"add": {"table": {"family": family, "name": table}}}
        if owner:
            yield {"add": {"chain": {"family": family, "table": table, "name": _MARK + owner}}}
    elif isinstance(spec, NftSet):
        parts = spec.type.split(" . ")
        body = _ref(spec.key) | {"type": parts if len(parts) > 1 else spec.type}
        if spec.data_type is not None:
            body["map"] = spec.data_type
        if spec.interval:
            body["flags"] = ["interval"]
        yield {"add": {"map" if spec.data_type is not None else "set": body}}
    elif isinstance(spec, NftChain):
        base = {
            "type": spec.type,
            "hook": spec.hook,
            "prio": spec.priority,
            "policy": spec.policy,
        }
        yield {"add": {"chain": _ref(spec.key) | {name: value for name, value in base.items() if value is not None}}}


def _rule(key: Key, rule: Rule) -> dict[str, Any]:
    family, table, chain = key.name.split("/", 2)
    body = {"family": family, "table": table, "chain": chain, "expr": json.loads(rule.expr)}
    if rule.comment:
        body["comment"] = rule.comment
    return {"add": {"rule": body}}


KINDS = (NftTable, NftChain, NftSet, NftElement)
ACTUATOR = NftActuator()
