"""The nftables table of networks with a host side: who may pass between them, and under which address they leave.

::

    forward:      established -> accept; by output interface -> to-NETWORK; by input interface -> from-NETWORK
    to-NETWORK:   who may come in        from-NETWORK: who may go out
    postrouting:  masquerade or SNAT for what leaves our networks

Dispatch is by maps, so that a packet costs the same with one network and with a thousand, and a network more
is an element more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from msgspec import Struct

from reconciler.drivers.driver import Publishing
from reconciler.drivers.nftexpr import (
    ACCEPT,
    DROP,
    ESTABLISHED,
    LET_THROUGH,
    MASQUERADE,
    Expr,
    meta,
    rule,
    snat_map,
    source_in,
    verdict_map,
)
from reconciler.drivers.nfttable import Hook, Table
from reconciler.errors import Origin
from reconciler.resources.nft import Rule
from reconciler.resources.resource import Resource
from reconciler.topology.view import NetworkView

FAMILY = "inet"
# nft(8), table of standard priority names.
RAW, DSTNAT, FILTER, SRCNAT = -300, -100, 0, 100
# What must hold of a packet before it is asked whether a port is published: that its address was translated, or nothing.
TRANSLATED: Expr = {"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}}
PUBLISHED: Mapping[str, tuple[Expr, ...]] = {"published": (TRANSLATED,), "opened": ()}
USER_CHAIN, USER_PRIORITY = "user", -10


def table_name(owner: str) -> str:
    """One table an owner, so that two repositories on one host do not meet."""
    return "cnm" if owner == "cnm" else f"cnm-{owner}"


class Zone(Struct, frozen=True):
    """A network as the firewall sees it.

    ``outside`` is what happens to new connections from other interfaces of the host: ``accept`` or ``drop``.
    ``nat`` are (IP version, subnet, SNAT address or None for masquerading).
    """

    network: str
    interface: str
    origin: Origin
    inter_container: bool
    allow_from: tuple[str, ...]
    trusted: tuple[str, ...]
    internal: bool
    outside: dict[int, str]
    nat: tuple[tuple[int, str, str | None], ...]
    published: tuple[str, ...] = ()  # chains of features/ports.py


def let_in(network: NetworkView) -> tuple[str, ...]:
    """The interfaces of the networks that this one allows from; those without one never pass the host."""
    from reconciler.drivers.registry import drivers  # which finds this package's modules

    interfaces = (drivers()[other.driver].host_interface(other) for other in network.allow_from)
    return tuple(interface for interface in interfaces if interface is not None)


@cache
def _forward() -> tuple[Rule, ...]:
    return (
        rule("what was let through before", ESTABLISHED, ACCEPT),
        rule("let through by the admin", LET_THROUGH, ACCEPT),
        rule("into a network", verdict_map("oifname", "to")),
        rule("out of a network", verdict_map("iifname", "from")),
    )


@cache
def _postrouting() -> tuple[Rule, ...]:
    rules: list[Rule] = []
    leaving = meta("oifname", "@bridges", "!=")
    for version in (4, 6):
        rules.append(rule("fixed source address", leaving, snat_map(version, f"snat{version}")))
        rules.append(rule("the host's own address", source_in(version, f"masquerade{version}"), leaving, MASQUERADE))
    return tuple(rules)


class Firewall:
    """The parts of one owner's table."""

    def __init__(self, owner: str, origin: Origin) -> None:
        self._table = Table(FAMILY, table_name(owner), origin)

    def render(self, zone: Zone) -> Iterable[Resource]:
        """The shared frame, and what is this network's own."""
        yield from self._frame()
        name = zone.network
        yield self._table.chain(f"to-{name}", tuple(_inward(zone)))
        yield self._table.chain(f"from-{name}", tuple(_outward(zone)))
        yield self._table.element("to", zone.interface, value=f"goto to-{name}")
        yield self._table.element("from", zone.interface, value=f"goto from-{name}")
        yield self._table.element("bridges", zone.interface)
        for version, subnet, address in zone.nat:
            if address is None:
                yield self._table.element(f"masquerade{version}", subnet)
            else:
                yield self._table.element(f"snat{version}", subnet, value=address)

    def _frame(self) -> Iterable[Resource]:
        yield self._table.itself()
        yield self._table.set("to", "ifname", "verdict")
        yield self._table.set("from", "ifname", "verdict")
        yield self._table.set("bridges", "ifname")
        for version, kind in ((4, "ipv4_addr"), (6, "ipv6_addr")):
            yield self._table.set(f"masquerade{version}", kind, interval=True)
            yield self._table.set(f"snat{version}", kind, kind, interval=True)
        yield self._table.chain("forward", _forward(), Hook("filter", "forward", FILTER))
        # Before policies (-6, -5) and our own filter: the admin's rules see every packet first.
        yield self._table.chain(USER_CHAIN, None, Hook("filter", "forward", USER_PRIORITY))
        yield self._table.chain("postrouting", _postrouting(), Hook("nat", "postrouting", SRCNAT))


def _inward(zone: Zone) -> Iterable[Rule]:
    """Frames between two ports of one bridge pass here too where br_netfilter is on: hence the first rule."""
    name = zone.network
    for chain in zone.published:
        yield rule(f"{name}: published ports", *PUBLISHED[chain], {"jump": {"target": chain}})
    if zone.inter_container:
        yield rule(f"{name}: among its own endpoints", meta("iifname", zone.interface), ACCEPT)
    else:
        yield rule(f"{name}: its endpoints are kept apart", meta("iifname", zone.interface), DROP)
    for interface in sorted(zone.allow_from):
        yield rule(f"{name}: allowFrom", meta("iifname", interface), ACCEPT)
    for interface in sorted(zone.trusted):
        yield rule(f"{name}: trusted interface of the host", meta("iifname", interface), ACCEPT)
    yield rule(f"{name}: other networks", meta("iifname", "@bridges"), DROP)
    if zone.internal:
        yield rule(f"{name}: internal", DROP)
        return
    outside = dict(zone.outside)
    if len(set(outside.values())) == 1:
        verdict = next(iter(outside.values()))
        yield rule(f"{name}: from outside", ACCEPT if verdict == "accept" else DROP)
        return
    for version, verdict in sorted(outside.items()):
        family = {"match": {"op": "==", "left": {"meta": {"key": "nfproto"}}, "right": f"ipv{version}"}}
        yield rule(f"{name}: IPv{version} from outside", family, ACCEPT if verdict == "accept" else DROP)


def _outward(zone: Zone) -> Iterable[Rule]:
    if zone.internal:
        yield rule(f"{zone.network}: internal, no way out", DROP)


def published_chains(network: NetworkView, publishing: Publishing | None) -> tuple[str, ...]:
    """The chains of features/ports.py that a network's traffic must be asked by: none where no port is published."""
    if publishing is None or not any(endpoint.publish for endpoint in network.local):
        return ()
    modes = set(publishing.modes.values())
    nat = ("published",) if modes & {"nat", "nat-unprotected"} else ()
    return (*nat, "opened") if "routed" in modes else nat
