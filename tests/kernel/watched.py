"""``cnm watch`` as a process, for tests: what it says, and waiting for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PATIENCE = 30.0


class Watched:
    """Runs from the block's begin to its end; it must have ended well then."""

    def __init__(
        self, *arguments: str | Path, before: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> None:
        self.log = Path(f"/run/watch-{time.monotonic_ns()}.log")
        with self.log.open("w") as words:
            self.process = subprocess.Popen(
                [
                    *before,
                    sys.executable,
                    "-m",
                    "reconciler.cli.main",
                    "watch",
                    "--node",
                    "here",
                    "--log",
                    "json",
                    *map(str, arguments),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=words,
                env={**os.environ, "PYTHONFAULTHANDLER": "1", **(env or {})},
            )

    def said(self, event: str = "") -> list[dict[str, Any]]:
        """All that it said so far, or what it said of one event."""
        found = []
        for line in self.log.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"event": "raw", "message": line})
        return [entry for entry in found if not event or entry["event"] == event]

    def wait(self, what: Callable[[], object], why: str, patience: float = PATIENCE) -> None:
        deadline = time.monotonic() + patience
        while not what():
            assert self.process.poll() is None, f"cnm watch ended: {self.log.read_text()}"
            assert time.monotonic() < deadline, f"not in {patience} s: {why}\n{self.log.read_text()[-4000:]}"
            time.sleep(0.02)

    def hear(self, event: str, count: int = 1, patience: float = PATIENCE, **about: Any) -> dict[str, Any]:
        """Wait until it has said something so many times; the last one."""

        def heard() -> list[dict[str, Any]]:
            return [e for e in self.said(event) if all(e.get(name) == value for name, value in about.items())]

        self.wait(lambda: len(heard()) >= count, f"{event} {about}", patience)
        return heard()[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # When a test fails: where it is just now.
        self.process.send_signal(signal.SIGTERM if kind is None else signal.SIGABRT)
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = -9
        if kind is None:
            assert status == 0, self.log.read_text()
        else:
            sys.stderr.write(self.log.read_text()[-6000:])
