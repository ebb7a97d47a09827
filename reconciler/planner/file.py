"""Plans and snapshots as JSON documents (docs/plan-format.md), and whether a plan still fits its host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

from msgspec import to_builtins

from reconciler.errors import Origin, Problem
from reconciler.planner.plan import FORMAT_VERSION, Action, Batch, Observation, Op, Pending, Plan
from reconciler.planner.reason import difference
from reconciler.resources.data import from_data, key_from_data, origin_from_data, origin_to_data, to_data
from reconciler.resources.registry import kinds
from reconciler.resources.resource import Impact, Key, Observed, Resource
from reconciler.topology.view import HostLink, HostRoute, HostSocket, NodeFacts, PhysicalFunction

PLAN, SNAPSHOT = "cnm-plan", "cnm-snapshot"


def plan_to_data(plan: Plan) -> dict[str, Any]:
    """JSON-native data; the same plan gives the same bytes."""
    return {
        "format": PLAN,
        "format_version": FORMAT_VERSION,
        "owner": plan.owner,
        "node": plan.node,
        "desired_fingerprint": plan.desired_fingerprint,
        "observed_fingerprint": plan.observed_fingerprint,
        "summary": plan.counts(),
        "stages": [
            [{"actuator": b.actuator, "ops": [_op_to_data(op) for op in b.ops]} for b in stage] for stage in plan.stages
        ],
        "drift": [str(key) for key in plan.drift],
        "pending": [{"key": str(p.key), "reason": p.reason, "origin": origin_to_data(p.origin)} for p in plan.pending],
        "conflicts": [_problem_to_data(problem) for problem in plan.conflicts],
        "warnings": [_problem_to_data(problem) for problem in plan.warnings],
    }


def _op_to_data(op: Op) -> dict[str, Any]:
    data: dict[str, Any] = {"id": op.id, "action": str(op.action), "key": str(op.key)}
    if op.before is not None:
        data["before"] = op.before.data()
    if op.after is not None:
        data["after"] = op.after.data()
    data["patch"] = op.patch()
    data["reason"] = op.reason
    data["impact"] = str(op.impact)
    data["also_removes"] = [str(key) for key in op.also_removes]
    data["after_ids"] = list(op.after_ids)
    data["recreate"] = op.recreate
    data["origin"] = origin_to_data(op.origin)
    return data


def _problem_to_data(problem: Problem) -> dict[str, Any]:
    return {"message": problem.message, "hint": problem.hint, "origin": origin_to_data(problem.origin)}


class _Reader:
    """Takes a document apart; everything that is not exactly as written above is a ValueError."""

    @staticmethod
    def mapping(data: Any, names: set[str], where: str, optional: frozenset[str] = frozenset()) -> Mapping[str, Any]:
        if not isinstance(data, Mapping):
            raise ValueError(f"{where}: expected a mapping")
        extra, missing = set(data) - names - optional, names - set(data)
        if extra or missing:
            raise ValueError(
                f"{where}: "
                + ", ".join([f"unknown {n!r}" for n in sorted(extra)] + [f"no {n!r}" for n in sorted(missing)])
            )
        return data

    @staticmethod
    def listing(data: Any, where: str) -> list[Any]:
        if not isinstance(data, list):
            raise ValueError(f"{where}: expected a list")
        return data

    @staticmethod
    def text(data: Any, where: str) -> str:
        if not isinstance(data, str):
            raise ValueError(f"{where}: expected a string")
        return data


def _header(data: Any, what: str, names: set[str], optional: frozenset[str] = frozenset()) -> Mapping[str, Any]:
    if isinstance(data, Mapping) and data.get("format", what) != what:
        raise ValueError(f"this is a {data['format']!r}, not a {what}")
    document = _Reader.mapping(data, names | {"format", "format_version"}, what, optional)
    version = document["format_version"]
    if type(version) is not int or version != FORMAT_VERSION:
        raise ValueError(f"format version {version!r}; this cnm reads {FORMAT_VERSION}")
    return document


def plan_from_data(data: Any) -> Plan:
    """Raises ValueError for anything that :func:`plan_to_data` does not write."""
    names = {"owner", "node", "desired_fingerprint", "observed_fingerprint", "summary", "stages"}
    # What it does to who reaches whom is for those who read it, and found out anew from its steps.
    document = _header(data, PLAN, names | {"drift", "pending", "conflicts", "warnings"}, frozenset({"reach"}))
    text = _Reader.text
    stages = tuple(
        tuple(_batch(batch) for batch in _Reader.listing(stage, "stage"))
        for stage in _Reader.listing(document["stages"], "stages")
    )
    _check_order(stages)
    plan = Plan(
        owner=text(document["owner"], "owner"),
        node=text(document["node"], "node"),
        stages=stages,
        drift=tuple(key_from_data(key) for key in _Reader.listing(document["drift"], "drift")),
        conflicts=tuple(_problem(item) for item in _Reader.listing(document["conflicts"], "conflicts")),
        warnings=tuple(_problem(item) for item in _Reader.listing(document["warnings"], "warnings")),
        pending=tuple(_pending(item) for item in _Reader.listing(document["pending"], "pending")),
        desired_fingerprint=text(document["desired_fingerprint"], "desired_fingerprint"),
        observed_fingerprint=text(document["observed_fingerprint"], "observed_fingerprint"),
    )
    if document["summary"] != plan.counts():
        raise ValueError("the summary counts other steps than there are")
    return plan


def _check_order(stages: tuple[tuple[Batch, ...], ...]) -> None:
    """Ids are unique, what an op waits for is not behind it, and a recreation has both of its halves."""
    stage_of: dict[str, int] = {}
    halves: dict[Key, list[Action]] = {}
    for number, stage in enumerate(stages):
        for op in (op for batch in stage for op in batch.ops):
            if stage_of.setdefault(op.id, number) != number or op.action in halves.get(op.key, ()):
                raise ValueError(f"two ops have the id {op.id}")
            halves.setdefault(op.key, []).append(op.action)
    for number, stage in enumerate(stages):
        for op in (op for batch in stage for op in batch.ops):
            for first in op.after_ids:
                if stage_of.get(first, number + 1) > number:
                    raise ValueError(f"{op.id} waits for {first!r}, which does not come before it")
            pair = sorted(halves[op.key])
            if pair != ([Action.CREATE, Action.DELETE] if op.recreate else [op.action]):
                raise ValueError(f"{op.id}: a key has one step, or when it is made anew a delete and a create")


def _batch(data: Any) -> Batch:
    batch = _Reader.mapping(data, {"actuator", "ops"}, "batch")
    name = _Reader.text(batch["actuator"], "actuator")
    ops = tuple(_op(op) for op in _Reader.listing(batch["ops"], "ops"))
    for op in ops:
        if kinds()[op.key.kind].batch != name:
            raise ValueError(f"{op.id} is not for actuator {name!r}")
    return Batch(name, ops)


def _op(data: Any) -> Op:
    names = {"id", "action", "key", "patch", "reason", "impact", "also_removes", "after_ids", "recreate", "origin"}
    op = _Reader.mapping(data, names, "op", frozenset({"before", "after"}))
    key = key_from_data(op["key"])
    action = Action(_Reader.text(op["action"], "action"))
    if action is Action.RELEASE:
        raise ValueError(f"{op['id']}: only cnm itself undoes what it did")
    if op["id"] != f"{action}:{key}":
        raise ValueError(f"the id of an op is its action and key, not {op['id']!r}")
    origin = origin_from_data(op["origin"])
    specs = {
        name: from_data({"key": str(key), "spec": op[name], "origin": op["origin"]}) if name in op else None
        for name in ("before", "after")
    }
    if specs["before"] is None and specs["after"] is None:
        raise ValueError(f"{op['id']}: neither before nor after")
    if action is not Action.DELETE and specs["after"] is None:
        raise ValueError(f"{op['id']}: nothing to make")
    found = Op(
        id=op["id"],
        action=action,
        key=key,
        before=specs["before"],
        after=specs["after"],
        reason=_Reader.text(op["reason"], "reason"),
        impact=Impact(_Reader.text(op["impact"], "impact")),
        also_removes=tuple(key_from_data(item) for item in _Reader.listing(op["also_removes"], "also_removes")),
        after_ids=tuple(_Reader.text(item, "after_ids") for item in _Reader.listing(op["after_ids"], "after_ids")),
        origin=origin,
        recreate=op["recreate"] is True,
    )
    written = _op_to_data(found)
    for name, value in op.items():  # the patch that a reviewer reads is the change that is made
        if written.get(name) != value or type(written[name]) is not type(value):
            raise ValueError(f"{found.id}: {name} does not fit the rest")
    if action in (Action.UPDATE, Action.ADOPT):
        _check_update(found)
    return found


def _check_update(op: Op) -> None:
    """What a reviewer reads of a change is what it does."""
    if op.before is None or op.after is None:
        raise ValueError(f"{op.id}: there is nothing to change")
    change = op.before.change_to(op.after)
    if not change.in_place:
        raise ValueError(f"{op.id}: not possible in place: {change.reason}")
    if change.impact != op.impact:
        raise ValueError(f"{op.id}: its impact is {change.impact}, not {op.impact}")
    if not op.reason.endswith(difference(op.before, op.after)):
        raise ValueError(f"{op.id}: its reason is not what it changes")


def _problem(data: Any) -> Problem:
    item = _Reader.mapping(data, {"message", "hint", "origin"}, "problem")
    text = _Reader.text
    return Problem(origin_from_data(item["origin"]), text(item["message"], "message"), text(item["hint"], "hint"))


def _pending(data: Any) -> Pending:
    item = _Reader.mapping(data, {"key", "reason", "origin"}, "pending")
    return Pending(key_from_data(item["key"]), _Reader.text(item["reason"], "reason"), origin_from_data(item["origin"]))


def snapshot_to_data(observation: Observation) -> dict[str, Any]:
    """What was observed, for planning elsewhere without root. It holds no secrets."""
    facts = to_builtins(observation.facts)
    facts["capabilities"] = sorted(observation.facts.capabilities)
    return {
        "format": SNAPSHOT,
        "format_version": FORMAT_VERSION,
        "facts": facts,
        "partial": list(observation.partial),
        **({"unread": dict(observation.unread)} if observation.unread else {}),
        "resources": [_seen_to_data(observation.items[key]) for key in sorted(observation.items)],
    }


def _seen_to_data(seen: Observed) -> dict[str, Any]:
    data = to_data(seen.resource) | {"owner": seen.owner}
    if seen.was is not None:
        data["was"] = seen.was.data()
    return data


def snapshot_from_data(data: Any) -> Observation:
    """Raises ValueError."""
    document = _header(data, SNAPSHOT, {"facts", "partial", "resources"}, frozenset({"unread"}))
    text = _Reader.text
    items: dict[Key, Observed] = {}
    for entry in _Reader.listing(document["resources"], "resources"):
        item = dict(_Reader.mapping(entry, {"key", "spec", "owner"}, "resource", frozenset({"was", "origin"})))
        owner, was = text(item.pop("owner"), "owner"), item.pop("was", None)
        resource = from_data(item)
        before = from_data({"key": item["key"], "spec": was}) if was is not None else None
        items[resource.key] = Observed(resource, owner, before)
    names = {"name", "owner", "kernel", "capabilities", "ra_links", "uplink_mtu", "routes", "nameservers", "links"}
    facts = _Reader.mapping(document["facts"], names, "facts", frozenset({"functions", "sockets"}))
    if type(facts["uplink_mtu"]) is not int:
        raise ValueError("facts: uplink_mtu is a number")
    routes = [
        _Reader.mapping(route, {"to", "dev"}, "route", frozenset({"daemon"}))
        for route in _Reader.listing(facts["routes"], "routes")
    ]
    if any(type(route.get("daemon", False)) is not bool for route in routes):
        raise ValueError("facts: daemon of a route is true or false")
    links = [
        _Reader.mapping(
            link,
            {"name", "type", "mtu", "addresses"},
            "link",
            frozenset({"parent", "device", "master", "mode", "up"}),
        )
        for link in _Reader.listing(facts["links"], "links")
    ]
    if any(type(link["mtu"]) is not int for link in links):
        raise ValueError("facts: the mtu of a link is a number")
    texts = {
        name: tuple(text(i, name) for i in _Reader.listing(facts[name], name))
        for name in ("ra_links", "nameservers", "capabilities")
    }
    return Observation(
        items=items,
        facts=NodeFacts(
            name=text(facts["name"], "name"),
            owner=text(facts["owner"], "owner"),
            kernel=text(facts["kernel"], "kernel"),
            capabilities=frozenset(texts["capabilities"]),
            ra_links=texts["ra_links"],
            uplink_mtu=facts["uplink_mtu"],
            routes=tuple(
                HostRoute(text(route["to"], "to"), text(route["dev"], "dev"), route.get("daemon", False))
                for route in routes
            ),
            nameservers=texts["nameservers"],
            links=tuple(
                HostLink(
                    text(link["name"], "name"),
                    text(link["type"], "type"),
                    link["mtu"],
                    tuple(text(item, "address") for item in _Reader.listing(link["addresses"], "addresses")),
                    text(link.get("parent", ""), "parent"),
                    text(link.get("device", ""), "device"),
                    text(link.get("master", ""), "master"),
                    text(link.get("mode", ""), "mode"),
                    link.get("up", True) is True,
                )
                for link in links
            ),
            sockets=tuple(_socket(item) for item in _Reader.listing(facts.get("sockets", []), "sockets")),
            functions=tuple(_function(item) for item in _Reader.listing(facts.get("functions", []), "functions")),
        ),
        partial=tuple(text(item, "partial") for item in _Reader.listing(document["partial"], "partial")),
        unread=_unread(document.get("unread", {})),
    )


def _unread(data: Any) -> dict[str, str]:
    names = set(data) if isinstance(data, Mapping) else set()
    unread = _Reader.mapping(data, names, "unread")
    return {_Reader.text(name, "unread"): _Reader.text(why, "unread") for name, why in unread.items()}


def check_asked(plan: Plan, desired: Iterable[Resource]) -> tuple[Problem, ...]:
    """What a plan does that the manifests, rendered afresh as ``desired``, do not ask for. Empty: nothing."""
    wanted = {resource.key: resource for resource in desired}
    found = []
    for op in plan.ops():
        asked = wanted.get(op.key)
        if op.action is not Action.DELETE and op.after != asked:
            found.append(Problem(Origin(document=str(op.key)), "the manifests ask for something else than this plan"))
        elif op.action is Action.DELETE and asked is not None and not op.recreate:
            found.append(Problem(Origin(document=str(op.key)), "the manifests ask for what this plan deletes"))
    return tuple(found)


def _socket(data: Any) -> HostSocket:
    item = _Reader.mapping(data, {"protocol", "address", "port", "both"}, "socket")
    if type(item["port"]) is not int or type(item["both"]) is not bool:
        raise ValueError("facts: the port of a socket is a number")
    return HostSocket(
        _Reader.text(item["protocol"], "protocol"), _Reader.text(item["address"], "address"), item["port"], item["both"]
    )


def _function(data: Any) -> PhysicalFunction:
    texts, numbers = ("pf", "device", "vendor", "product", "driver"), ("vfs", "limit")
    item = _Reader.mapping(data, {*texts, *numbers, "used"}, "function")
    if any(type(item[name]) is not int for name in numbers):
        raise ValueError("facts: vfs and limit of a function are numbers")
    used = []
    for pair in _Reader.listing(item["used"], "used"):
        number, whose = _Reader.listing(pair, "used")
        if type(number) is not int:
            raise ValueError("facts: the number of a virtual function is a number")
        used.append((number, _Reader.text(whose, "used")))
    fields = {name: _Reader.text(item[name], name) for name in texts}
    return PhysicalFunction(**fields, vfs=item["vfs"], limit=item["limit"], used=tuple(used))


def check_stale(plan: Plan, observation: Observation) -> tuple[Problem, ...]:
    """What on the host is no longer as it was when the plan was made. Empty: the plan still fits.

    Looks at every key that the plan touches, and at what its creations stand on.
    """
    along = {key for op in plan.ops() for key in op.also_removes}
    there = {op.key for op in plan.ops() if op.action is not Action.DELETE} | observation.items.keys()
    found = []
    for op in plan.ops():
        message = _stale(op, plan.owner, observation.items.get(op.key), along, there)
        if message:
            found.append(Problem(Origin(document=str(op.key)), message))
    return tuple(found)


def _stale(op: Op, owner: str, seen: Observed | None, along: Set[Key], there: Set[Key]) -> str:
    if op.action is Action.CREATE:
        if seen is not None and not op.recreate and op.key not in along:
            return "stands here now; it did not when the plan was made"
        for need in op.resource.needs():
            # Settings always stand, and are read only where somebody wants them.
            if not any(key in there or kinds()[key.kind].setting for key in need.keys):
                return f"needs {' or '.join(map(str, need.keys))}, which is not here"
        return ""
    if seen is None:
        return "is gone; it was here when the plan was made"
    changed = seen.resource.differs(op.before) if op.before is not None else ()
    if changed:
        return f"changed since the plan was made: {', '.join(changed)}"
    if op.resource.setting or seen.owner == owner:
        return ""
    if seen.owner:
        return f"belongs to owner {seen.owner!r}"
    taken_over = op.action is Action.ADOPT or (op.action is Action.DELETE and op.recreate)
    return "" if taken_over else "is not ours"
