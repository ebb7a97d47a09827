"""What holds now, and what does not, as the watch sees it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

from reconciler.errors import Problem
from reconciler.planner.plan import Pending
from reconciler.resources.resource import Key

FORMAT_VERSION = 1


class Mode(StrEnum):
    OBSERVE = "observe"  # report drift only
    HEAL = "heal"  # repair to what was last applied
    APPLY = "apply"  # follow the files


class Situation(Struct, frozen=True):
    """``drift`` are keys that are otherwise than wanted and that are (or, when only observing, would be) repaired;
    ``fights`` those that are left alone; ``failing`` with the kernel's words. ``invalid`` says what is wrong with the
    files while an earlier state of them is kept up; ``commit`` is the fingerprint of what was last applied, or the
    revision that the files themselves name."""

    mode: Mode
    ready: bool = False
    wanted: int = 0
    drift: tuple[Key, ...] = ()
    pending: tuple[Pending, ...] = ()
    conflicts: tuple[Problem, ...] = ()
    fights: tuple[Key, ...] = ()
    failing: Mapping[Key, str] = field(default_factory=dict)
    invalid: tuple[Problem, ...] = ()
    trouble: str = ""
    commit: str = ""

    @property
    def state(self) -> str:
        """The worst of it, in a word."""
        if not self.ready:
            return "starting"
        if self.trouble or self.failing or self.fights:
            return "failing"
        for word, found in (("invalid", self.invalid), ("conflict", self.conflicts), ("drift", self.drift)):
            if found:
                return word
        return "pending" if self.pending else "ok"

    def counts(self) -> dict[str, int]:
        """How many of the wanted objects are in which state."""
        left = self.drift_only()
        counts = {
            "fight": len(self.fights),
            "failing": len(self.failing),
            "drift": len(left),
            "pending": len(self.pending),
            "conflict": len(self.conflicts),
        }
        return counts | {"ok": max(0, self.wanted - sum(counts.values()))}

    def drift_only(self) -> tuple[Key, ...]:
        return tuple(key for key in self.drift if key not in self.failing and key not in self.fights)

    def data(self) -> dict[str, Any]:
        """JSON-native, versioned: docs/watch.md."""
        return {
            "format": "cnm-watch-status",
            "format_version": FORMAT_VERSION,
            "mode": str(self.mode),
            "state": self.state,
            "commit": self.commit,
            "objects": self.counts(),
            "drift": [str(key) for key in self.drift],
            "pending": [{"key": str(pending.key), "reason": pending.reason} for pending in self.pending],
            "conflicts": [str(problem) for problem in self.conflicts],
            "fights": [str(key) for key in self.fights],
            "failing": {str(key): words for key, words in self.failing.items()},
            "invalid": [str(problem) for problem in self.invalid],
            "trouble": self.trouble,
        }
