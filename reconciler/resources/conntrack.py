"""Tracked connections to a published port: they go where that port leads, and nowhere else.

The kernel translates what belongs to a connection as it did when that began, whatever the rules say by then: a UDP client
that keeps its port would for ever send to an endpoint that is gone. So where a port leads is a thing by itself: when it
changes, the entries that lead elsewhere are dropped, after the rules.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from errno import EIO
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from reconciler.errors import ObservationError
from reconciler.host.conntrack import Flow, forget
from reconciler.netlink.address import RTM_GETADDR, decode_address, dump_addresses
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.resource import Key, Need, Observed, Resource

if TYPE_CHECKING:
    from reconciler.host.host import Host

_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}


def conntrack_key(protocol: str, first: int, last: int, to: str, to_port: int, address: str = "") -> Key:
    """``conntrack/udp/53/10.1.0.2/5353``, ranges as ``5000-5009``, with a host address at the end."""
    ports = str(first) if first == last else f"{first}-{last}"
    return Key("conntrack", "", f"{protocol}/{ports}/{to}/{to_port}" + (f"/{address}" if address else ""))


class Conntrack(Resource, frozen=True, kw_only=True):
    """All is in the key. To make it is to drop what leads elsewhere; to remove it, what was translated. That cannot be
    taken back, and comes last, when the rules are gone. The inventory remembers what was brought in line."""

    kind: ClassVar[str] = "conntrack"
    batch: ClassVar[str] = "conntrack"
    marked: ClassVar[str] = "inventory"
    final: ClassVar[bool] = True

    after: tuple[Key, ...] | None = None

    def needs(self) -> Iterable[Need]:
        for key in self.after or ():
            yield Need((key,))

    def identity(self) -> Key:
        _where(self.key)
        return self.key


class _Where(Struct, frozen=True):
    protocol: int
    first: int
    last: int
    to: str
    to_port: int
    address: str


def _where(key: Key) -> _Where:
    """Raises ValueError."""
    protocol, ports, to, to_port, *rest = key.name.split("/")
    first, _, last = ports.partition("-")
    if protocol not in _PROTOCOLS or len(rest) > 1:
        raise ValueError(f"{key} is not about a published port")
    return _Where(_PROTOCOLS[protocol], int(first), int(last or first), to, int(to_port), rest[0] if rest else "")


class ConntrackActuator:
    """Drops entries: one look at the table a family and batch, however many ports."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        for text in host.inventory.made:
            if text.startswith("conntrack/"):
                key = Key.parse(text)
                wanted = scope.wanted.get(key)
                after = wanted.after if isinstance(wanted, Conntrack) else None
                yield Observed(Conntrack(key=key, after=after), scope.owner)

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        by_family: dict[int, list[OpView]] = {}
        for op in ops:
            family: int = socket.AF_INET6 if ":" in _where(op.key).to else socket.AF_INET
            by_family.setdefault(family, []).append(op)
        local = {raw.address for raw in host.root.rtnl.dump(RTM_GETADDR, dump_addresses(), decode_address)}
        for family, mine in by_family.items():
            try:
                refusal = forget(host.root, family, _stale(mine, local), host.step)
            except (ObservationError, OSError) as error:
                yield from (Outcome(op.id, EIO, str(error)) for op in mine)
            else:
                yield from (Outcome(op.id, *refusal) if refusal else Outcome(op.id) for op in mine)


def _stale(ops: Sequence[OpView], local: set[str]) -> Callable[[Flow], bool]:
    """What is to be dropped: connections to an address of the host, on one of the ports, that lead elsewhere, or
    that lead where nothing shall lead any more."""
    single: dict[tuple[int, int], list[tuple[_Where, bool]]] = {}
    ranges: list[tuple[_Where, bool]] = []
    for op in ops:
        where, gone = _where(op.key), op.action == "delete"
        if where.first == where.last:
            single.setdefault((where.protocol, where.first), []).append((where, gone))
        else:
            ranges.append((where, gone))

    def stale(flow: Flow) -> bool:
        to = flow.original
        if to.destination not in local:
            return False
        for where, gone in (*single.get((to.protocol, to.destination_port), ()), *ranges):
            if (
                where.protocol != to.protocol
                or not where.first <= to.destination_port <= where.last
                or where.address not in ("", to.destination)
            ):
                continue
            port = where.to_port + to.destination_port - where.first
            there = (flow.reply.source, flow.reply.source_port) == (where.to, port)
            if there is gone:
                return True
        return False

    return stale


KINDS = (Conntrack,)
ACTUATOR = ConntrackActuator()
