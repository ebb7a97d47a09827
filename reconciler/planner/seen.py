"""What was observed, as an index for cascade questions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reconciler.resources.resource import Key, Observed, Resource


class SeenIndex:
    """Answers "what hangs on this?". Built on first use: most looks find nothing to change and never ask."""

    def __init__(self, items: Mapping[Key, Observed]) -> None:
        self._items = items
        self._hanging: dict[Key, list[Resource]] | None = None

    def get(self, key: Key) -> Resource | None:
        found = self._items.get(key)
        return found.resource if found is not None else None

    def hanging_on(self, key: Key) -> Iterable[Resource]:
        return self.built().get(key, ())

    def built(self) -> dict[Key, list[Resource]]:
        """What hangs on each key. For who follows changes: to be asked when there is time, before it is needed."""
        if self._hanging is None:
            self._hanging = {}
            for observed in self._items.values():
                for parent in observed.resource.hangs_on():
                    self._hanging.setdefault(parent, []).append(observed.resource)
        return self._hanging

    def change(self, key: Key, before: Observed | None, after: Observed | None) -> None:
        """Follow a change of ``items``: what was seen of ``key``, and what is now."""
        if self._hanging is None:
            return
        for parent in before.resource.hangs_on() if before is not None else ():
            here = [other for other in self._hanging.get(parent, ()) if other.key != key]
            if here:
                self._hanging[parent] = here
            else:
                self._hanging.pop(parent, None)
        if after is not None:
            for parent in after.resource.hangs_on():
                self._hanging.setdefault(parent, []).append(after.resource)

    def closure(self, keys: Iterable[Key]) -> set[Key]:
        """``keys`` and all that the kernel drops with them, and with those, and so on."""
        found: set[Key] = set()
        waiting = list(keys)
        while waiting:
            key = waiting.pop()
            if key in found:
                continue
            found.add(key)
            resource = self.get(key)
            if resource is not None:
                waiting.extend(resource.takes_along(self))
        return found
