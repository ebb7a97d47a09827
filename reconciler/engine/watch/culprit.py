"""Who changed something: by what netlink says of a change, as far as it says it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from reconciler.host.files import read_small
from reconciler.host.monitor import Heard
from reconciler.netlink.mark import PROTOCOL
from reconciler.resources.resource import Key

_MOST = 10_000
_PROTOCOLS = ("/etc/iproute2/rt_protos", "/usr/share/iproute2/rt_protos", "/usr/lib/iproute2/rt_protos")
_KERNEL = 2
_WELL_KNOWN = {
    3: "boot",
    4: "static",
    9: "ra",
    11: "zebra",
    12: "bird",
    16: "dhcp",
    186: "bgp",
    188: "ospf",
}
_AUTOMATIC = 1 << 31  # ports from here on are second sockets of somebody: they name no process


class Culprits:
    """The last program that was seen to change each kind of thing in each namespace. A process is named as long as
    it lives when its event is read."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], str] = {}
        self._own = os.getpid()

    def note(self, heard: Iterable[Heard]) -> None:
        for netns, event, _payload in heard:
            if event.port in (0, self._own) and event.protocol in (0, PROTOCOL):
                continue
            if len(self._found) > _MOST:
                self._found.clear()
            words = []
            if 0 < event.port < _AUTOMATIC and event.port != self._own:
                name = event.process or read_small(f"/proc/{event.port}/comm").strip()
                words.append(f"process {event.port} ({name or 'ended since'})")
            if event.protocol not in (0, _KERNEL, PROTOCOL):
                words.append(f"route protocol {_protocol(event.protocol)}")
            if words:
                self._found[netns, event.batch] = ", ".join(words)

    def of(self, key: Key, batch: str) -> str:
        """In words; "" when nothing is known."""
        return self._found.get((key.netns, batch)) or self._found.get((key.netns, "link"), "")


@lru_cache
def _protocol(number: int) -> str:
    for path in _PROTOCOLS:
        for line in read_small(path).splitlines() if Path(path).exists() else ():
            words = line.split()
            if len(words) >= 2 and words[0] == str(number):
                return f"{words[1]} ({number})"
    return f"{_WELL_KNOWN[number]} ({number})" if number in _WELL_KNOWN else str(number)
