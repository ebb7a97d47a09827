"""The way back: a plan with what was observed before as what is wanted. There is no inverse code.

Everything here is a function of what stood before and what stands now, so it does not matter how far a run came,
nor whether the process that goes back is the one that went.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from time import perf_counter

from msgspec.structs import replace

from reconciler.engine.before import Before
from reconciler.engine.execute import Execution
from reconciler.engine.observe import observe
from reconciler.engine.result import Rollback
from reconciler.errors import CnmError
from reconciler.host.host import Host
from reconciler.planner.diff import make_plan
from reconciler.planner.plan import Observation, Op, Plan
from reconciler.resources.link import Link
from reconciler.resources.resource import Key, Observed, Resource, again
from reconciler.topology.view import NodeFacts

_ROUNDS = 3  # what fails because something was in the way for a moment gets another chance


def roll_back(host: Host, before: Before, making: frozenset[Key] = frozenset()) -> Rollback:
    """Return the host to what it was. Never raises: what could not be undone is in the answer.

    ``making`` are the keys that the run was about to make: cut off between making a thing and marking it, it left
    one without a mark."""
    clock = perf_counter()
    done: list[Op] = []
    failed: list[str] = []
    left: tuple[str, ...] = ()
    unseen = False
    for _ in range(_ROUNDS):
        failed, unseen = [], False
        try:
            host.making = making
            now = _look(host, before)
            host.making = frozenset()
            plan = plan_back(before, replace(now, partial=()))
            if not plan.empty:
                run = Execution(host, plan, tolerant=True)
                run.run()
                run.finish()
                done += run.done
                failed = list(map(str, run.failed))
            if making or not plan.empty:
                now = _look(host, before)
            left = now.partial + remaining(before, now)
            if left == now.partial:
                _remember(host, before)
                break
        except (CnmError, OSError, MemoryError) as error:
            left = (f"the host could not be looked at: {error or type(error).__name__}; `cnm recover` tries again",)
            unseen = True
            continue
    return Rollback(tuple(done), tuple(failed) if left else (), left, perf_counter() - clock, unseen)


def _remember(host: Host, before: Before) -> None:
    """The way there and the way back may have noted more of a setting than was ours to put back before the run."""
    inventory = host.inventory
    for name in map(str, before.touched):
        if name in before.remembered:
            inventory.settings[name] = dict(before.remembered[name])
        else:
            inventory.settings.pop(name, None)
    with suppress(OSError):  # the inventory tells of it: ``trouble``
        inventory.save()


def _look(host: Host, before: Before) -> Observation:
    """What is beyond this host and does not answer must not keep the host from going back."""
    return observe(host, [seen.resource for seen in before.items.values()], NodeFacts(), lenient=True)


def plan_back(before: Before, now: Observation) -> Plan:
    """The plan from ``now`` to ``before``. It touches nothing but what the run may have touched."""
    wanted = {resource.key: _again(resource, now) for resource in before.ours()}
    foreign = {resource.key: resource for resource in before.foreign() if _can_give_back(resource, now, before.owner)}
    for key, seen in now.items.items():  # what the run did not touch stays as it is
        if seen.owner == before.owner and key not in before.touched:
            wanted[key] = seen.resource
    for name in _occupied(now, wanted, before.owner):  # somebody moved in meanwhile
        wanted[name] = now.items[name].resource
    wanted = {key: resource for key, resource in wanted.items() if not _taken(resource, now, before.owner)}
    possible = _standing({**wanted, **foreign}, now.items)
    return make_plan(possible.values(), now, owner=before.owner, foreign=foreign.keys() & possible.keys())


def _again(resource: Resource, now: Observation) -> Resource:
    seen = now.items.get(resource.key)
    wanted: Resource = again(resource, seen.resource) if seen is not None else resource
    return wanted


def _can_give_back(resource: Resource, now: Observation, owner: str) -> bool:
    """An interface of somebody else's is more than what is read of it: one that is gone is not made again."""
    seen = now.items.get(resource.key)
    if seen is None:
        return not isinstance(resource, Link) and resource.kind != "netns"
    return seen.owner in ("", owner)


def _taken(resource: Resource, now: Observation, owner: str) -> bool:
    """Something of somebody else's stands where ours stood, or where what makes it would have to stand."""
    places = filter(None, (resource.key, resource.made_by()))
    seen = [now.items[key] for key in places if key in now.items]
    return not resource.setting and not resource.awaited() and any(item.owner != owner for item in seen)


def _occupied(now: Observation, wanted: Mapping[Key, Resource], owner: str) -> Iterable[Key]:
    """Namespaces that would go, with an interface of somebody else's in them."""
    doomed = {
        key.name: key
        for key, seen in now.items.items()
        if key.kind == "netns" and seen.owner == owner and key not in wanted
    }
    for key, seen in now.items.items():
        link = seen.resource
        if key.netns in doomed and isinstance(link, Link) and link.type and seen.owner != owner:
            yield doomed[key.netns]


def _standing(wanted: Mapping[Key, Resource], items: Mapping[Key, Observed]) -> dict[Key, Resource]:
    """Those that have all they need: what stood on a thing of somebody else's that is gone cannot come back."""
    possible = dict(wanted)
    while True:
        out = [
            key
            for key, resource in possible.items()
            if key not in items
            and any(not any(k in possible or k in items for k in need.keys) for need in resource.needs())
        ]
        if not out:
            return possible
        for key in out:
            del possible[key]


def remaining(before: Before, now: Observation) -> tuple[str, ...]:
    """What is not as it was, a line each. Empty: the host is back."""
    found = [
        f"{key} could not be looked at: {now.unread[key.sandbox]}"
        if key.sandbox in now.unread
        else _rest(key, before, now.items.get(key))
        for key in sorted(before.touched)
    ]
    return tuple(filter(None, found))


def _rest(key: Key, before: Before, now: Observed | None) -> str:
    was = before.items.get(key)
    wanted = was.resource.restorable() if was is not None else None
    if was is None or (wanted is None and was.owner == before.owner):
        stays = now is not None and now.owner == before.owner and not (was and now.resource.restorable() is None)
        return f"{key} was not there before, and is still here" if stays else ""
    if now is None:
        return f"{key} is gone" + ("" if was.owner == before.owner else "; it was not ours")
    if wanted is not None:
        changed = now.resource.differs(again(wanted, now.resource) if was.owner == before.owner else wanted)
        if changed:
            return f"{key} is not as it was: {', '.join(changed)}"
    if now.owner != was.owner and not now.resource.setting:
        return f"{key} {'still' if now.owner == before.owner else 'no longer'} carries our mark"
    return ""
