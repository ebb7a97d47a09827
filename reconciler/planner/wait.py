"""What cannot be made yet, because something outside cnm's reach is missing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from reconciler.errors import Problem
from reconciler.planner.plan import Pending
from reconciler.resources.resource import Key, Observed, Resource


def split_pending(
    missing: Iterable[Resource],
    wanted: Mapping[Key, Resource],
    items: Mapping[Key, Observed],
    left_out: Collection[Key] = (),
) -> tuple[dict[Key, Pending], list[Problem]]:
    """Of the ``missing`` resources, those that have to wait, with the reason; and those that never can be.

    ``left_out`` holds the keys that the manifests ask for but this plan is not about: waiting for one is no error.
    """
    verdicts: dict[Key, str] = {}  # key -> why it waits; "" for what can be made
    problems: list[Problem] = []

    def why(key: Key) -> str:
        if key in verdicts:
            return verdicts[key]
        verdicts[key] = ""  # a cycle of needs is the ordering's business
        if key in items:
            return ""
        resource = wanted[key]
        reason = resource.awaited()
        maker = resource.made_by()
        if not reason and maker is not None and maker in wanted:
            reason = why(maker)
        if not reason:
            for need in resource.needs():
                if not items.keys().isdisjoint(need.keys):
                    continue
                reasons = [why(k) for k in need.keys if k in wanted]
                if "" in reasons:
                    continue
                absent = next((k for k in need.keys if k in left_out), None)
                reason = next(iter(reasons), "") or (f"{absent} is left out of this plan" if absent else need.pending)
                if not reason:
                    names = " or ".join(map(str, need.keys))
                    problems.append(Problem(resource.origin, f"{key} needs {names}, which nobody makes"))
                break
        verdicts[key] = reason
        return reason

    pending = {
        resource.key: Pending(resource.key, reason, resource.origin)
        for resource in missing
        if (reason := why(resource.key))
    }
    return pending, problems
