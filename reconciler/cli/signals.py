"""Signals while a host is changed: they do not cut the work off, they end it in good order."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """For the length of a block, interrupt, termination and a lost terminal are noted and told by :meth:`reason`.
    One that was ignored before (nohup) stays ignored. Only for the main thread."""

    def __init__(self) -> None:
        self._received = ""
        self._before: dict[int, Any] = {}

    def reason(self) -> str:
        return f"stopped by {self._received}" if self._received else ""

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._received = signal.Signals(number).name
