"""Relays: a published port that the attendant holds, and serves where the kernel cannot translate addresses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from reconciler.host.attendant import listen
from reconciler.resources.attended import Attended, AttendedActuator
from reconciler.resources.resource import Claim, Key

if TYPE_CHECKING:
    from socket import socket

    from reconciler.host.host import Host


def relay_key(protocol: str, first: int, last: int, address: str = "") -> Key:
    """``relay/tcp/8080``, ``relay/udp/5000-5009``, with a host address ``relay/tcp/8080/192.0.2.1``."""
    ports = str(first) if first == last else f"{first}-{last}"
    return Key("relay", "", f"{protocol}/{ports}" + (f"/{address}" if address else ""))


class Relay(Attended, frozen=True, kw_only=True):
    """``protocol``: tcp | udp. Ports ``first`` to ``last`` of the addresses ``bind`` are held; what comes in on an
    address of ``serve`` (``::1``; ``::``: any of IPv6) is passed on to ``to``, ports from ``to_port`` on."""

    kind: ClassVar[str] = "relay"
    batch: ClassVar[str] = "relay"
    fixed: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("protocol", "first", "last", "bind"), "its sockets are bound once"
    )

    protocol: str
    first: int
    last: int
    bind: tuple[str, ...]
    serve: tuple[str, ...]
    to: str
    to_port: int

    def claims(self) -> Iterable[Claim]:
        """Whatever the addresses: all of them at once do not go with one of them."""
        for port in range(self.first, self.last + 1):
            yield Claim("port", "", f"{self.protocol}/{port}")

    def sockets(self, host: Host) -> Sequence[socket]:
        found: list[socket] = []
        try:
            with host.root.entered():
                for address in self.bind:
                    for port in range(self.first, self.last + 1):
                        try:
                            found.append(listen(self.protocol, address, port))
                        except OSError as error:
                            where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
                            raise OSError(error.errno, f"{self.protocol} {where}: {error.strerror}") from None
        except OSError:
            for each in found:
                each.close()
            raise
        return found


KINDS = (Relay,)
ACTUATOR = AttendedActuator(Relay)
