"""How often an object is repaired: at once, then ever more slowly, and not for ever against somebody who undoes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from msgspec import Struct, field

from reconciler.resources.resource import Key


class Limits(Struct, frozen=True):
    """Seconds. After a repair, and after a failure, an object waits ``first``, doubled each time, at most ``most``.
    Repaired ``fight`` times within ``window`` it is left alone for ``truce``."""

    first: float = 0.1
    most: float = 60.0
    fight: int = 8
    window: float = 60.0
    truce: float = 600.0


class _Object(Struct):
    repairs: deque[float] = field(default_factory=deque)
    failures: int = 0
    not_before: float = 0.0
    fighting: bool = False


class Pace:
    """Times are those of a monotonic clock, given by the caller."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._objects: dict[Key, _Object] = {}

    def ready(self, key: Key, now: float) -> bool:
        found = self._objects.get(key)
        return found is None or found.not_before <= now

    def repaired(self, keys: Iterable[Key], now: float) -> list[Key]:
        """Note repairs; the keys over which a fight is now on."""
        limits, fights = self._limits, []
        for key in keys:
            found = self._objects.setdefault(key, _Object())
            found.failures = 0
            found.repairs.append(now)
            while found.repairs[0] < now - limits.window:
                found.repairs.popleft()
            count = len(found.repairs)
            found.not_before = now + min(limits.first * 2 ** (count - 1), limits.most)
            found.fighting = count >= limits.fight
            if found.fighting:
                found.not_before = now + limits.truce
                found.repairs.clear()
                fights.append(key)
        return fights

    def failed(self, keys: Iterable[Key], now: float) -> None:
        for key in keys:
            found = self._objects.setdefault(key, _Object())
            found.not_before = now + min(self._limits.first * 2**found.failures, self._limits.most)
            found.failures = min(found.failures + 1, 30)

    def failures(self, key: Key) -> int:
        found = self._objects.get(key)
        return found.failures if found is not None else 0

    def fights(self, now: float) -> list[Key]:
        """The keys that are left alone because somebody undoes every repair."""
        return sorted(key for key, found in self._objects.items() if found.fighting and found.not_before > now)

    def forgive(self, keys: Iterable[Key]) -> None:
        """Start afresh: these are wanted otherwise than before."""
        for key in keys:
            self._objects.pop(key, None)

    def next(self, keys: Iterable[Key], now: float) -> float | None:
        """Seconds until the first of these may be tried again; None when none waits."""
        times = [found.not_before for key in keys if (found := self._objects.get(key)) and found.not_before > now]
        return min(times) - now if times else None

    def tidy(self, now: float) -> None:
        """Forget objects that have been well for long."""
        quiet = now - self._limits.window
        for key in [key for key, found in self._objects.items() if _idle(found, now, quiet)]:
            del self._objects[key]


def _idle(found: _Object, now: float, quiet: float) -> bool:
    return found.not_before < now and not found.failures and (not found.repairs or found.repairs[-1] < quiet)
