"""What a watch owes to those around it: the service manager, those who ask, those who read what it publishes."""

from __future__ import annotations

import time

from reconciler.engine.watch.door import Board
from reconciler.engine.watch.loop import Tell, Watch
from reconciler.engine.watch.publish import Publisher
from reconciler.engine.watch.situation import Situation
from reconciler.host.notify import ServiceManager


class Service:
    """:meth:`beat` is called after each turn of the loop. A snapshot is published when something was applied and
    every ``interval`` seconds."""

    def __init__(self, loop: Watch, board: Board, publisher: Publisher | None, interval: float, tell: Tell) -> None:
        self._loop = loop
        self._board = board
        self._publisher = publisher
        self._interval = interval
        self._tell = tell
        self._manager = ServiceManager()
        self._told: Situation | None = None
        self._next = 0.0
        self._ready = False
        board.put(loop.situation.data())

    def beat(self) -> None:
        self._manager.beat()
        situation = self._loop.situation
        changed = situation != self._told
        if changed:
            before, self._told = self._told, situation
            self._board.put(situation.data())
            state = f"STATUS={situation.state}: {situation.wanted} objects wanted, {len(situation.drift)} drifted"
            self._manager.tell(*(() if self._ready else ("READY=1",)), state)
            self._ready = True
            if before is None or before.commit != situation.commit:
                self._next = 0.0
        if self._publisher is not None and (changed or time.monotonic() >= self._next):
            self._publish(self._publisher, situation)

    def _publish(self, publisher: Publisher, situation: Situation) -> None:
        try:
            publisher.status(situation)
            if time.monotonic() >= self._next:
                self._next = time.monotonic() + self._interval
                publisher.snapshot(self._loop.snapshot())
        except OSError as error:
            self._tell("trouble", message=f"cannot publish: {error}")

    def stopping(self) -> None:
        self._manager.tell("STOPPING=1")
