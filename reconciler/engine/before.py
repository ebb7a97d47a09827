"""What stood before a run, as far as the run may touch it: enough to go back there, also from a journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from reconciler.errors import StateError
from reconciler.planner.plan import Action, Observation, Plan
from reconciler.resources.data import from_data, key_from_data, to_data
from reconciler.resources.link import Link
from reconciler.resources.resource import Key, Observed, Resource


class Before(Struct, frozen=True):
    """``touched`` are all keys that a run changes, makes, removes or takes along; ``items`` are those of them that
    were there, as they were. ``remembered`` is what the inventory held of settings among them: key -> entry.
    ``final`` are the keys whose deletion the run does last of all."""

    owner: str
    touched: frozenset[Key]
    items: Mapping[Key, Observed]
    remembered: Mapping[str, Mapping[str, Any]]
    final: tuple[Key, ...] = field(default=())

    def ours(self) -> list[Resource]:
        """What was ours and can be made again."""
        found = (seen.resource.restorable() for seen in self.items.values() if seen.owner == self.owner)
        return [resource for resource in found if resource is not None]

    def foreign(self) -> list[Resource]:
        """What was not ours and that we may have adopted, changed or taken along. Settings are put back from the
        inventory."""
        found = (
            seen.resource.restorable()
            for seen in self.items.values()
            if seen.owner != self.owner and not seen.resource.setting
        )
        return [resource for resource in found if resource is not None]


def before(plan: Plan, observation: Observation, settings: Mapping[str, Mapping[str, Any]]) -> Before:
    """Cut out of a whole observation, and of what the inventory holds of ``settings``, what ``plan`` may touch."""
    touched: set[Key] = set()
    bridges: set[Key] = set()
    for op in plan.ops():
        touched.add(op.key)
        touched.update(op.also_removes)
        if op.action is Action.DELETE and getattr(op.before, "type", "") == "bridge":
            bridges.add(op.key)
    items = {key: _as_set(observation.items[key]) for key in touched & observation.items.keys()}
    items |= {key: observation.items[key] for key in _built_on(plan, observation)}
    if bridges:  # ports of others lose their master, and nothing else
        for key, seen in observation.items.items():
            link = seen.resource
            if key in touched or not isinstance(link, Link) or not link.master:
                continue
            if Key("link", key.netns, link.master) in bridges and seen.owner != plan.owner:
                items[key] = Observed(Link(key=key, type=link.type, master=link.master), seen.owner)
    final = tuple(op.key for op in plan.ops() if op.action is Action.DELETE and type(op.resource).final)
    touched |= items.keys()
    remembered = {name: dict(settings[name]) for name in map(str, touched) if name in settings}
    return Before(plan.owner, frozenset(touched), items, remembered, final)


def _built_on(plan: Plan, observation: Observation) -> set[Key]:
    """What the touched things need and nobody makes: by it they are found again (a fabric's controllers, a key file)."""
    found = set()
    for op in plan.ops():
        for need in op.resource.needs():
            for key in need.keys:
                seen = observation.items.get(key)
                if seen is not None and seen.resource.awaited():
                    found.add(key)
    return found


def _as_set(seen: Observed) -> Observed:
    return seen if seen.was is None else seen._replace(resource=seen.resource.as_set(seen.was))


def to_record(before: Before) -> dict[str, Any]:
    """JSON-native data. It holds no secrets: specs name files, not what is in them."""
    return {
        "owner": before.owner,
        "touched": [str(key) for key in before.touched],
        "items": [_item_to_data(seen) for seen in before.items.values()],
        "remembered": before.remembered,
        "final": [str(key) for key in before.final],
    }


def _item_to_data(seen: Observed) -> dict[str, Any]:
    data = {"key": str(seen.resource.key), "spec": seen.resource.data(), "owner": seen.owner}
    if seen.was is not None:
        data["was"] = to_data(seen.was)
    return data


def from_record(data: Mapping[str, Any]) -> Before:
    """Raises StateError."""
    try:
        items = {}
        for entry in data["items"]:
            resource = from_data({"key": entry["key"], "spec": entry["spec"]})
            was = from_data(entry["was"]) if "was" in entry else None
            items[resource.key] = Observed(resource, str(entry["owner"]), was)
        return Before(
            owner=str(data["owner"]),
            touched=frozenset(map(key_from_data, data["touched"])),
            items=items,
            remembered={str(name): dict(entry) for name, entry in data["remembered"].items()},
            final=tuple(map(key_from_data, data["final"])),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateError(f"the journal of an interrupted run makes no sense: {error}") from None
