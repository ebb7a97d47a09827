"""Resolvers: what answers a sandbox's questions for names, on loopback inside its namespace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from reconciler.host.attendant import listen
from reconciler.resources.attended import Attended, AttendedActuator
from reconciler.resources.netns import netns_key
from reconciler.resources.resource import Key, Need

if TYPE_CHECKING:
    from socket import socket

    from reconciler.host.host import Host

ADDRESS = "127.0.0.11"  # as Docker's


def resolver_key(netns: str) -> Key:
    """The key of a sandbox's resolver."""
    return Key("resolver", netns, ADDRESS)


class Resolver(Attended, frozen=True, kw_only=True):
    """It knows the names of ``networks``, asks ``servers`` for what no network here knows, and keeps questions about
    addresses of ``local`` (CIDRs) to itself."""

    kind: ClassVar[str] = "resolver"
    batch: ClassVar[str] = "resolver"

    networks: tuple[str, ...]
    servers: tuple[str, ...]
    local: tuple[str, ...]

    def needs(self) -> Iterable[Need]:
        yield from super().needs()
        yield Need((netns_key(self.key.netns),))

    def hangs_on(self) -> Iterable[Key]:
        yield from super().hangs_on()

    def sockets(self, host: Host) -> Sequence[socket]:
        with host.netns(self.key.netns).entered():
            datagrams = listen("udp", ADDRESS, 53)
            try:
                return datagrams, listen("tcp", ADDRESS, 53)
            except OSError:
                datagrams.close()
                raise


KINDS = (Resolver,)
ACTUATOR = AttendedActuator(Resolver)
