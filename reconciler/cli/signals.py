"""Signals while a host is changed: they do not cut the work off, they end it in good order."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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


class _Waker:
    """The end of a pipe into which the interpreter writes when a signal comes, for a loop that waits on descriptors."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def fileno(self) -> int:
        return self._end.fileno()

    def serve(self) -> None:
        with suppress(BlockingIOError):
            self._end.recv(4096)


@contextmanager
def waking(serve: Callable[[_Waker], None]) -> Iterator[None]:
    """For the length of a block a signal also makes a descriptor readable, which ``serve`` is given."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    serve(_Waker(ours))
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        ours.close()
        theirs.close()
