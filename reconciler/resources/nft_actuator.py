"""What reads our nftables tables and changes them: by difference, in one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from errno import EIO
from typing import TYPE_CHECKING, Any

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
from reconciler.resources.resource import Key, Observed, Resource

if TYPE_CHECKING:
    from reconciler.host.host import Host

# nft 1.0.6 neither writes nor lists a table's comment as JSON, so the mark is an empty chain that says it.
_MARK = "owned-by-"


class NftActuator:
    """The tables of one owner. What stands in them and is not wanted is drift, and goes."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        tables = {("inet", default_table(scope.owner))}
        tables |= {_split(key) for key in scope.wanted if key.kind == "nft-table"}
        for family, table in sorted(tables):
            yield from _resources(family, table, host.nft.table(family, table))

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        standing: set[Key] = set()
        for family, table in sorted({_split(op.key) for op in ops}):
            standing |= {seen.resource.key for seen in _resources(family, table, host.nft.table(family, table))}
        statements = transaction(ops, standing, owner)
        words = ""
        if statements:
            words = host.nft.run(statements)
        for op in ops:
            yield Outcome(op.id, EIO, words) if words else Outcome(op.id)


def default_table(owner: str) -> str:
    """The table of an owner: ``cnm`` for the default one, else ``cnm-OWNER``."""
    return "cnm" if owner == "cnm" else f"cnm-{owner}"


def _split(key: Key) -> tuple[str, str]:
    family, table = key.name.split("/")[:2]
    return family, table


def _resources(family: str, table: str, objects: Iterable[Mapping[str, Any]]) -> list[Observed]:
    """A listing of libnftables-json(5) as resources."""
    rules: dict[str, list[Rule]] = {}
    chains: list[Mapping[str, Any]] = []
    found: list[Resource] = []
    owner = ""
    for item in objects:
        if "table" in item:
            found.append(NftTable(key=table_key(family, table)))
        elif "chain" in item:
            name = item["chain"]["name"]
            if name.startswith(_MARK):
                owner = name.removeprefix(_MARK)
            else:
                chains.append(item["chain"])
        elif "rule" in item:
            rule = item["rule"]
            expr = json.dumps(_without_counters(rule["expr"]), sort_keys=True, separators=(",", ":"))
            rules.setdefault(rule["chain"], []).append(Rule(comment=rule.get("comment", ""), expr=expr))
        elif "set" in item or "map" in item:
            spec = item.get("set") or item["map"]
            found.extend(_set(family, table, spec))
    found.extend(
        NftChain(
            key=chain_key(family, table, chain["name"]),
            type=chain.get("type"),
            hook=chain.get("hook"),
            priority=chain.get("prio"),
            policy=chain.get("policy"),
            rules=tuple(rules.get(chain["name"], ())),
        )
        for chain in chains
    )
    return [Observed(resource, owner) for resource in found]


def _without_counters(expr: list[Any]) -> list[Any]:
    return [{"counter": None} if "counter" in item else item for item in expr]


def _set(family: str, table: str, spec: Mapping[str, Any]) -> Iterable[Resource]:
    name = spec["name"]
    kind = spec["type"]
    yield NftSet(
        key=set_key(family, table, name),
        type=kind if isinstance(kind, str) else " . ".join(kind),
        data_type=spec.get("map"),
        interval="interval" in spec.get("flags", ()),
    )
    for element in spec.get("elem", ()):
        value: str | None = None
        if "map" in spec:
            element, data = element
            value = _verdict(data)
        yield NftElement(key=element_key(family, table, name, _element(element)), value=value)


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
    if "/" in element:
        address, _, length = element.partition("/")
        return {"prefix": {"addr": address, "len": int(length)}}
    return element


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
    of = {"nft-table": 0, "nft-set": 1, "nft-chain": 2, "nft-element": 3}

    statements: list[dict[str, Any]] = []
    statements += [{"delete": {"element": _element_ref(op.before)}} for op in inner if op.key.kind == "nft-element"]
    flushed = [op for op in inner if op.key.kind == "nft-chain"]
    flushed += [op for op in made if op.key.kind == "nft-chain" and op.key in standing and op.key not in gone]
    statements += [{"flush": {"chain": _ref(op.key)}} for op in flushed if _split(op.key) not in dead_tables]
    for kind in ("nft-chain", "nft-set"):
        statements += [{"delete": {kind[4:]: _ref(op.key)}} for op in inner if op.key.kind == kind]
    statements += [
        {"delete": {"table": {"family": family, "name": table}}}
        for family, table in sorted(dead_tables)
        if table_key(family, table) in standing
    ]
    for op in sorted(made, key=lambda op: (of[op.key.kind], op.key)):
        statements += _add(op.after, "" if op.unmarked else owner)
        if op.action == "release" and isinstance(op.after, NftTable):
            family, table = _split(op.key)
            mark = {"family": family, "table": table, "name": _MARK + owner}
            statements.append({"delete": {"chain": mark}})
    for op in made:
        if isinstance(op.after, NftChain):
            statements += [_rule(op.key, rule) for rule in op.after.rules]
    return statements


def _ref(key: Key) -> dict[str, Any]:
    family, table, name = key.name.split("/", 2)
    return {"family": family, "table": table, "name": name}


def _element_ref(spec: Resource | None) -> dict[str, Any]:
    assert isinstance(spec, NftElement)
    family, table, name, element = spec.key.name.split("/", 3)
    item = _element_json(element)
    if spec.value is not None:
        item = [item, _value_json(spec.value)]
    return {"family": family, "table": table, "name": name, "elem": [item]}


def _add(spec: Resource | None, owner: str) -> Iterable[dict[str, Any]]:
    if isinstance(spec, NftTable):
        family, table = _split(spec.key)
        yield {"add": {"table": {"family": family, "name": table}}}
        if owner:
            yield {"add": {"chain": {"family": family, "table": table, "name": _MARK + owner}}}
    elif isinstance(spec, NftSet):
        body = _ref(spec.key) | {"type": spec.type}
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
    elif isinstance(spec, NftElement):
        yield {"add": {"element": _element_ref(spec)}}


def _rule(key: Key, rule: Rule) -> dict[str, Any]:
    family, table, chain = key.name.split("/", 2)
    body = {"family": family, "table": table, "chain": chain, "expr": json.loads(rule.expr)}
    if rule.comment:
        body["comment"] = rule.comment
    return {"add": {"rule": body}}


KINDS = (NftTable, NftChain, NftSet, NftElement)
ACTUATOR = NftActuator()
