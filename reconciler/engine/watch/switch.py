"""What Open vSwitch tells: rows of its database that change, and the end of ovs-vswitchd, with which flows and taps go."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from reconciler.host.host import Host
from reconciler.host.ovsdb import Changes
from reconciler.resources.link import Link
from reconciler.resources.ovs import MONITORED
from reconciler.resources.resource import Key, Resource

Part = tuple[str, str]  # (sandbox, batch)
_OURS = ("ovs-bridge", "ovs-port")
_BATCHES = ("ovsdb", "openflow", "ovs-meter")
RETRY = 1.0  # seconds between two looks for a switch that does not run


class Switch:
    """:meth:`changed` names what is to be read again. Where no network is on a switch, nothing is opened."""

    def __init__(self, host: Host, watch: Callable[[int, int], None], forget: Callable[[int], None]) -> None:
        self._host = host
        self._watch = watch
        self._forget = forget
        self._changes: Changes | None = None
        self._pidfd = -1
        self._on: set[Key] = set()  # bridges and ports that are wanted
        self._taps: dict[Key, Part] = {}  # interfaces in sandboxes that are the switch's

    def close(self) -> None:
        self._hang_up()
        self._bury()

    @property
    def waiting(self) -> bool:
        """Whether it is wanted and does not run: it does not say when it starts."""
        return self.wanted and (self._changes is None or self._pidfd < 0)

    @property
    def wanted(self) -> bool:
        """Whether any network is on a switch."""
        return bool(self._on)

    def want(self, keys: Iterable[Key], desired: Mapping[Key, Resource]) -> None:
        """Take over what is wanted of these."""
        for key in keys:
            wanted = desired.get(key)
            if key.kind in _OURS:
                (self._on.add if wanted is not None else self._on.discard)(key)
            elif key.kind == "link":
                self._taps.pop(key, None)
                if isinstance(wanted, Link) and (wanted.device or "").startswith("ovs:"):
                    self._taps[key] = (key.netns, "link")

    def follow(self) -> None:
        """Attach, or let go, after a look at the host."""
        if self.wanted:
            self._attach()
        else:
            self.close()

    def _all(self) -> set[Part]:
        return {("", batch) for batch in _BATCHES} | set(self._taps.values())

    def changed(self, ready: Iterable[int]) -> set[Part]:
        """What the descriptors that are ready (and the time) say."""
        if not self.wanted:
            return set()
        signalled = set(ready)
        found: set[Part] = set()
        if self._changes is not None and self._changes.fileno() in signalled:
            heard = self._changes.heard()
            if heard is None:
                self._hang_up()
            if heard or heard is None:
                found |= {("", batch) for batch in _BATCHES}
        if self._pidfd >= 0 and self._pidfd in signalled:
            self._bury()
            found |= self._all()
        if self.waiting and self._attach():
            found |= self._all()
        return found

    def _attach(self) -> bool:
        """Whether something came to life."""
        came = False
        if self._changes is None:
            with suppress(OSError):
                self._changes = self._host.ovsdb.changes(MONITORED)
                self._watch(self._changes.fileno(), select.EPOLLIN)
                came = True
        if self._pidfd < 0:
            pid = self._host.ovsdb.pid()
            if pid > 0:
                with suppress(OSError):
                    self._pidfd = os.pidfd_open(pid)
                    self._watch(self._pidfd, select.EPOLLIN)
                    came = True
        return came

    def _hang_up(self) -> None:
        if self._changes is not None:
            self._forget(self._changes.fileno())
            self._changes.close()
            self._changes = None

    def _bury(self) -> None:
        if self._pidfd >= 0:
            self._forget(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
