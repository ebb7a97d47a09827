"""The difference between what is wanted and what was seen, as a plan."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.errors import Origin, Problem
from reconciler.planner.fingerprint import fingerprint
from reconciler.planner.order import arrange
from reconciler.planner.plan import Action, Observation, Op, Pending, Plan
from reconciler.planner.reason import difference
from reconciler.planner.seen import SeenIndex
from reconciler.planner.select import matches, select, with_needs
from reconciler.planner.unread import held_up
from reconciler.planner.wait import split_pending
from reconciler.resources.link import Link, link_key
from reconciler.resources.resource import Impact, Key, Observed, Resource, spec_fields

UNWANTED = "no manifest asks for it any more"


class _Draft(Struct):
    """What classification finds, before it becomes ops."""

    create: dict[Key, str] = field(default_factory=dict)  # key -> reason
    update: dict[Key, str] = field(default_factory=dict)  # key -> reason; "" for what differs by itself
    settings: dict[Key, Resource] = field(default_factory=dict)  # as wanted, with what is put back of them
    adopt: set[Key] = field(default_factory=set)
    release: set[Key] = field(default_factory=set)
    recreate: dict[Key, str] = field(default_factory=dict)  # key -> reason
    surplus: dict[Key, str] = field(default_factory=dict)  # key -> reason
    pending: dict[Key, Pending] = field(default_factory=dict)
    drift: set[Key] = field(default_factory=set)
    conflicts: list[Problem] = field(default_factory=list)


def make_plan(
    desired: Iterable[Resource] | Mapping[Key, Resource],
    observation: Observation,
    *,
    owner: str,
    node: str = "",
    prune: bool | Collection[str] = True,
    adopt: bool | Collection[Key] = False,
    targets: Collection[str] = (),
    excludes: Collection[str] = (),
    foreign: Collection[Key] = (),
    warnings: Iterable[Problem] = (),
    unwanted: str = UNWANTED,
    only: Collection[Key] | None = None,
    index: SeenIndex | None = None,
) -> Plan:
    """What has to change so that the host is as ``desired``. Pure; the same for any order of ``desired``.

    Only what carries ``owner``'s mark is changed or removed. ``adopt`` True takes over unmarked objects that
    can be brought in line in place; keys in it also those that must be recreated. ``targets`` never prunes; globs
    in ``prune`` restrict what is pruned to the keys that they match.
    What a step takes along is put back, whatever ``targets`` and ``excludes`` say. ``unwanted`` is the reason
    that the deletions of what nobody wants give. ``foreign`` are keys of ``desired`` that are not ours, but that a
    run which is now undone took along, changed or adopted: they are put back without our mark.
    ``only`` are the keys at which to look; all others are taken to be as they should, unless a step on one of these
    takes them along. With it, ``desired`` by key, and ``index`` over the observation, the work does not grow with the
    host; such a plan is carried out by who made it, and has no fingerprints. Raises CycleError.
    """
    everything: Mapping[Key, Resource]
    if isinstance(desired, Mapping):
        everything = desired
    else:
        everything = {resource.key: resource for resource in sorted(desired, key=lambda resource: resource.key)}
    wanted = select(everything, targets, excludes) if targets or excludes else everything
    if only is not None:
        wanted = {key: wanted[key] for key in sorted(only) if key in wanted}
    items = observation.items
    told = list(warnings)
    told += [Problem(Origin(), f"{what}: not read, so nothing is removed") for what in observation.partial]
    told += [Problem(Origin(), f"{why}: nothing in it is changed") for why in observation.unread.values()]
    held = held_up(everything, observation.unread) if observation.unread else {}
    surplus = (
        [
            key
            for key in sorted(items if only is None else items.keys() & only)
            if items[key].owner == owner
            and key not in everything
            and (key.kind == "netns" or key.sandbox not in observation.unread)
        ]
        if prune and not targets and not observation.partial
        else []
    )
    if not isinstance(prune, bool):
        surplus = [key for key in surplus if matches(items[key].resource, prune)]
    if excludes:
        surplus = [key for key in surplus if not matches(items[key].resource, excludes)]
    if held:
        everything = {key: resource for key, resource in everything.items() if key not in held}
        held = {key: pending for key, pending in held.items() if key in wanted}
        wanted = {key: resource for key, resource in wanted.items() if key not in held}
    index = index or SeenIndex(items)
    while True:
        draft = _classify(wanted, everything, items, owner, adopt, foreign)
        draft.surplus = dict.fromkeys(surplus, unwanted)
        ops, lost = _ops(draft, wanted, everything, items, index, owner) if _something(draft) else ([], set())
        ops = [replace(op, unmarked=True) if op.key in foreign else op for op in ops] if foreign else ops
        drawn = [key for key in lost if key in everything and key not in wanted]
        if not drawn:
            break
        more = with_needs(everything, drawn) if only is None else set(drawn)
        wanted = {key: everything[key] for key in sorted(wanted.keys() | more)}
    return Plan(
        owner=owner,
        node=node,
        stages=arrange(ops) if ops else (),
        drift=tuple(sorted(draft.drift)),
        conflicts=tuple(sorted(set(draft.conflicts))),
        warnings=tuple(told),
        pending=tuple(pending for _key, pending in sorted({**draft.pending, **held}.items())),
        desired_fingerprint=fingerprint(everything.values()) if ops and only is None else "",
        observed_fingerprint=fingerprint(_touched(ops, items)) if ops and only is None else "",
    )


def _put_back(resource: Resource, seen: Observed) -> Resource:
    """A setting's fields that nobody asks for any more, but that we changed before, are wanted as they were."""
    names = spec_fields(type(resource))
    were = {
        name: was for name in names if getattr(resource, name) is None and (was := getattr(seen.was, name)) is not None
    }
    return replace(resource, **were) if were else resource


def _touched(ops: Iterable[Op], items: Mapping[Key, Observed]) -> list[Resource]:
    return [items[key].resource for key in sorted({op.key for op in ops}) if key in items]


def _something(draft: _Draft) -> bool:
    return bool(draft.create or draft.update or draft.adopt or draft.release or draft.recreate or draft.surplus)


def _classify(
    wanted: Mapping[Key, Resource],
    everything: Mapping[Key, Resource],
    items: Mapping[Key, Observed],
    owner: str,
    adopt: bool | Collection[Key],
    foreign: Collection[Key],
) -> _Draft:
    draft = _Draft()
    missing: list[Resource] = []
    for key, resource in wanted.items():
        seen = items.get(key)
        if seen is None:
            missing.append(resource)
        elif resource.awaited():
            continue
        elif key in foreign:
            _give_back(draft, key, seen, resource, owner)
        elif seen.owner == owner or (resource.setting and not seen.owner):
            if resource.setting and seen.was is not None:
                resource = _put_back(resource, seen)
                draft.settings[key] = resource
            if seen.resource.differs(resource):
                _change(draft, key, seen.resource, resource)
                if seen.owner == owner:
                    draft.drift.add(key)
        elif not resource.setting or seen.resource.differs(resource):
            _clash(draft, key, seen, resource, adopt)
    if missing:
        draft.pending, problems = split_pending(missing, wanted, items, everything)
        draft.conflicts += problems
    for resource in missing:
        if resource.key in draft.pending or resource.awaited():
            continue
        maker = resource.made_by()
        if maker is not None and maker in items and maker not in draft.recreate:
            if items[maker].owner != owner:
                draft.conflicts.append(
                    Problem(resource.origin, f"{maker}, which makes {resource.key}, stands here and is not ours")
                )
                continue
            draft.recreate[maker] = f"its other end, {resource.key}, is missing"
            draft.drift.add(maker)
        draft.create[resource.key] = ""
        if any(parent in items and items[parent].owner == owner for parent in resource.hangs_on()):
            draft.drift.add(resource.key)
    for key in [key for key in draft.recreate if draft.pending]:
        waits = _waits(wanted[key], items, draft.pending) if key in wanted else None
        if waits is not None:
            del draft.recreate[key]
            draft.drift.discard(key)
            draft.pending[key] = waits
    return draft


def _waits(resource: Resource, items: Mapping[Key, Observed], pending: Mapping[Key, Pending]) -> Pending | None:
    """What is to be made anew, but needs what waits itself, stays as it is: the host's end of a pair whose other end died
    with its container."""
    for need in resource.needs():
        absent = [key for key in need.keys if key in pending and key not in items]
        if absent and len(absent) == len(need.keys):
            return Pending(resource.key, pending[absent[0]].reason, resource.origin)
    return None


def _change(draft: _Draft, key: Key, seen: Resource, resource: Resource) -> None:
    change = seen.change_to(resource)
    if change.in_place:
        draft.update[key] = ""
        return
    draft.recreate[key] = change.reason
    maker = resource.made_by()
    if maker is not None:
        draft.recreate.setdefault(maker, f"its other end, {key}, must be made anew")


def _give_back(draft: _Draft, key: Key, seen: Observed, resource: Resource, owner: str) -> None:
    if seen.owner and seen.owner != owner:
        draft.conflicts.append(Problem(resource.origin, f"{key} belongs to owner {seen.owner!r}"))
    elif seen.resource.differs(resource) and not seen.resource.change_to(resource).in_place:
        draft.recreate[key] = "given back as it was"
    elif seen.owner == owner:
        draft.release.add(key)
    elif seen.resource.differs(resource):
        draft.update[key] = "put back as it was"


def _clash(draft: _Draft, key: Key, seen: Observed, resource: Resource, adopt: bool | Collection[Key]) -> None:
    named = not isinstance(adopt, bool) and key in adopt
    if seen.owner:
        draft.conflicts.append(
            Problem(
                resource.origin,
                f"{key} belongs to owner {seen.owner!r}",
                f"remove it there first (cnm destroy --owner {seen.owner} --target '{key}'), or do not ask for it here",
            )
        )
        return
    if resource.unadoptable:
        draft.conflicts.append(
            Problem(
                resource.origin,
                f"{key} stands here already, does not carry our mark and cannot be taken over: {resource.unadoptable}",
                "remove it, or do not ask for it here",
            )
        )
        return
    if not (named or adopt is True):
        draft.conflicts.append(
            Problem(
                resource.origin,
                f"{key} stands here already and does not carry our mark",
                f"remove it, choose another name, or take it over: cnm adopt '{key}'",
            )
        )
        return
    change = seen.resource.change_to(resource)
    if change.in_place or not seen.resource.differs(resource):
        draft.adopt.add(key)
    elif named:
        draft.recreate[key] = f"taken over, but {change.reason}"
    else:
        draft.conflicts.append(
            Problem(
                resource.origin,
                f"{key} is not ours and cannot be brought in line: {change.reason}",
                f"to have it removed and made anew: cnm adopt '{key}'",
            )
        )


def _ops(
    draft: _Draft,
    wanted: Mapping[Key, Resource],
    everything: Mapping[Key, Resource],
    items: Mapping[Key, Observed],
    seen: SeenIndex,
    owner: str,
) -> tuple[list[Op], set[Key]]:
    """The steps, and the keys that some step takes along or sets free and that must be seen to again."""
    removed, deletes = _deletions(draft, items, seen)
    _refuse_foreign(draft, deletes, items, owner)
    dropped: dict[Key, Key] = {}
    for key in sorted(draft.update | dict.fromkeys(draft.release, "")):
        for other in seen.closure(items[key].resource.drops(wanted[key], seen)):
            dropped.setdefault(other, key)
    lost = {**dropped, **removed}
    for key, root in lost.items():
        if key in wanted and key not in draft.pending and key in items and not wanted[key].awaited():
            draft.create.setdefault(key, f"goes with {root}" if root != key else draft.recreate.get(key, ""))
    ports = _freed_ports(draft, everything, items, lost)
    for key, bridge in ports.items():
        if key in wanted and key not in draft.create:
            draft.update.setdefault(key, f"{link_key(key.netns, bridge)}, whose port it is, is made anew")
    ops: list[Op] = []
    for key, (reason, along) in deletes.items():
        ops.append(_delete(key, items[key], reason, along, key in draft.recreate, wanted))
    for key, reason in draft.create.items():
        again = key in lost
        impact = Impact.OUTAGE if key in draft.recreate else Impact.NONE
        text = reason or ("" if again else "not there yet")
        ops.append(
            Op(
                id=f"create:{key}",
                action=Action.CREATE,
                key=key,
                after=wanted[key],
                reason=text,
                impact=impact,
                origin=wanted[key].origin,
                recreate=key in deletes,
            )
        )
    for key, reason in draft.update.items():
        if key not in draft.create:
            new = draft.settings.get(key, wanted[key])
            before = items[key].resource
            if key in ports and isinstance(before, Link):
                before = replace(before, master="")  # as it will be by then
            ops.append(_update(key, Action.UPDATE, before, new, dropped, reason))
    for action, keys, reason in (
        (Action.ADOPT, draft.adopt, "taken over"),
        (Action.RELEASE, draft.release, "given back"),
    ):
        ops += [
            _update(key, action, items[key].resource, wanted[key], dropped, reason)
            for key in keys
            if key not in draft.create
        ]
    return sorted(ops, key=lambda op: (op.key, op.id)), lost.keys() | ports.keys()


def _deletions(
    draft: _Draft, items: Mapping[Key, Observed], seen: SeenIndex
) -> tuple[dict[Key, Key], dict[Key, tuple[str, list[Key]]]]:
    """(every key that goes -> the deletion it goes with, deletions -> (reason, what goes along)).

    The host's end of a veth pair goes first and takes the other end along, before the namespace of that end:
    a namespace dies later than its last reference, and the next look would still find the pair.
    """
    roots = {key: reason for key, reason in (draft.surplus | draft.recreate).items() if key in items}
    removed: dict[Key, Key] = {}
    deletes: dict[Key, tuple[str, list[Key]]] = {}
    for key in sorted(roots, key=lambda key: _deletion_rank(items[key].resource)):
        if key in removed:
            continue
        along = seen.closure([key]) - {key}
        removed[key] = key
        fresh = sorted(other for other in along if other in items and other not in removed)
        for other in fresh:
            removed[other] = key
        deletes[key] = (roots[key], fresh)
    return removed, deletes


def _deletion_rank(resource: Resource) -> tuple[int, Key]:
    key = resource.key
    if resource.lingers:
        return -1, key
    if key.kind == "link":
        return (0 if not key.netns else 1), key
    if key.kind == "netns":
        return 3, key
    return (4 if any(parent.kind == "netns" for parent in resource.hangs_on()) else 2), key


def _refuse_foreign(
    draft: _Draft, deletes: Mapping[Key, tuple[str, list[Key]]], items: Mapping[Key, Observed], owner: str
) -> None:
    """A namespace of ours is not removed with somebody else's interface in it: that would die with it."""
    for key, (_reason, along) in deletes.items():
        holds = items[key].resource.holds
        if not holds:
            continue
        for other in along:
            if other.kind in holds and items[other].owner != owner and not _hardware(items[other].resource):
                draft.conflicts.append(
                    Problem(
                        Origin(document=str(key)),
                        f"{key} is to go, but {other} in it is not ours and would go along",
                        items[key].resource.eviction(other),
                    )
                )


def _hardware(resource: Resource) -> bool:
    """Hardware goes back to the first namespace when its own dies."""
    return getattr(resource, "type", None) == ""


def _freed_ports(
    draft: _Draft, everything: Mapping[Key, Resource], items: Mapping[Key, Observed], lost: Mapping[Key, Key]
) -> dict[Key, str]:
    """Ports that lose their bridge because that is made anew, and the bridge's name: they are enslaved again."""
    bridges = {key.name for key in draft.recreate if key.kind == "link" and not key.netns}
    if not bridges:
        return {}
    return {
        key: resource.master
        for key, resource in everything.items()
        if isinstance(resource, Link)
        and not key.netns
        and resource.master in bridges
        and key in items
        and key not in lost
    }


def _delete(
    key: Key, seen: Observed, reason: str, along: list[Key], recreate: bool, wanted: Mapping[Key, Resource]
) -> Op:
    impact = Impact.OUTAGE if seen.resource.guarded() or along else Impact.NONE
    origin = wanted[key].origin if key in wanted else Origin()
    return Op(
        id=f"delete:{key}",
        action=Action.DELETE,
        key=key,
        before=seen.resource,
        after=seen.was,
        reason=reason,
        impact=impact,
        also_removes=tuple(along),
        origin=origin,
        recreate=recreate,
    )


def _update(
    key: Key, action: Action, before: Resource, after: Resource, dropped: Mapping[Key, Key], reason: str = ""
) -> Op:
    change = before.change_to(after)
    before = before.managed(after)
    return Op(
        id=f"{action}:{key}",
        action=action,
        key=key,
        before=before,
        after=after,
        reason="; ".join(filter(None, (reason, difference(before, after)))),
        impact=change.impact,
        also_removes=tuple(sorted(lost for lost, root in dropped.items() if root == key)),
        origin=after.origin,
    )
