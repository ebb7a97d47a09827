"""What a service says: a line an event on standard error, for people or as JSON."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from typing import Any

from reconciler.review.escape import visible

# Levels as systemd reads them at the start of a line (sd-daemon(3)).
_LEVELS = {"failed": "error", "fight": "error", "refused": "error", "trouble": "error", "invalid": "warning",
           "conflict": "warning", "overflow": "warning", "drift": "warning", "locked": "warning"}  # fmt: skip


class Log:
    """Called with an event's name and what belongs to it. A reader that is gone does not end the service."""

    def __init__(self, *, json: bool = False) -> None:
        self._json = json

    def __call__(self, event: str, **about: Any) -> None:
        level = _LEVELS.get(event, "info")
        if self._json:
            line = json.dumps({"time": _now(), "level": level, "event": event, **about}, default=str)
        else:
            words = [f"{name}={_word(value)}" for name, value in about.items() if name != "message" and value]
            line = visible(" ".join(filter(None, (event, str(about.get("message", "")), *words))).replace("\n", "; "))
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{key}:{_word(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        shown = [_word(item) for item in value[:5]]
        return ",".join(shown) + (f",...({len(value)})" if len(value) > 5 else "")
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _now() -> str:
    seconds = time.time()
    return time.strftime("%FT%T", time.gmtime(seconds)) + f".{int(seconds * 1000) % 1000:03d}Z"
