"""Telling the service manager how we are: sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress


class ServiceManager:
    """Speaks to $NOTIFY_SOCKET; without one, to nobody."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        own = os.environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self._interval = int(os.environ.get("WATCHDOG_USEC", "0") or 0) / 1e6 if own else 0.0
        self._last = 0.0

    @property
    def interval(self) -> float:
        """Seconds within which it wants to hear from us, halved for safety; 0: it does not."""
        return self._interval / 2

    def tell(self, *words: str) -> None:
        """``READY=1``, ``STATUS=...``, ``STOPPING=1``."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as own:
            own.sendto("\n".join(words).encode(), address)

    def beat(self) -> None:
        """Say that we are alive, no more often than is asked for."""
        now = time.monotonic()
        if self._interval and now - self._last >= self._interval / 4:
            self._last = now
            self.tell("WATCHDOG=1")
