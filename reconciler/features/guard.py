"""The guard at each host-side port: what a sandbox sends carries its own addresses, and nothing that only routers and
servers may say.

A bridge table, in front of everything else: it is in force before the port exists, an endpoint more is a few
elements more, and a frame costs the same with one port and with a thousand.

::

    prerouting  (frames that come in by a guarded port)
        EtherType IPv4, IPv6, ARP or one that was allowed?  source MAC of this port's?
        ARP: sender's MAC and address of this port's (0.0.0.0: a probe, RFC 5227)
        IPv4, IPv6: source address of this port's (::, to ask whether an address is free, RFC 4862)
        no router advertisement or redirect, no DHCP server; a neighbour advertisement only for an address of this port's
    forward, output  (frames to ports of endpoints that an ingress policy selects)
        no broadcast or multicast but IPv6's own needs: who receives them is no single endpoint, so no rule can say it

Where a network has no IPv6 no IPv6 source is anybody's, and so no such frame passes; the same holds of IPv4 and ARP.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import ClassVar

from reconciler.drivers.driver import host_port
from reconciler.drivers.firewall import table_name
from reconciler.drivers.nftexpr import (
    ACCEPT,
    COUNTER,
    DROP,
    Expr,
    concat,
    match,
    meta,
    one_of,
    payload,
    rule,
    vmap,
)
from reconciler.drivers.nfttable import Hook, Table
from reconciler.drivers.registry import drivers
from reconciler.errors import Origin, Problem
from reconciler.policy.view import ALWAYS_ICMPV6, INGRESS
from reconciler.resources.nft import Rule
from reconciler.resources.resource import Resource
from reconciler.topology.view import EndpointView, NetworkView, NodeFacts, Topology

FAMILY = "bridge"
PRIORITY = -310  # before the bridge's own destination NAT (-300): nothing may change a frame first
_PORT: Expr = {"meta": {"key": "iifname"}}
_TARGET: Expr = {"payload": {"base": "th", "offset": 64, "len": 128}}  # of a neighbour advertisement (RFC 4861, 4.4)
_ORIGIN = Origin(document="guard")
_NAMES = {0x0800: "ip", 0x0806: "arp", 0x86DD: "ip6", 0x8100: "8021q", 0x88A8: "8021ad"}


class GuardFeature:
    """Against spoofed addresses and forged ARP, ND, router advertisements and DHCP answers."""

    name: ClassVar[str] = "guard"
    summary: ClassVar[str] = "endpoints send under their own addresses only, and play neither router nor DHCP server"

    def check(self, topology: Topology) -> Iterable[Problem]:
        return ()

    def requires(self, topology: Topology) -> frozenset[str]:
        return frozenset({"nft"}) if any(_ports(topology)) else frozenset()

    def render(self, topology: Topology, facts: NodeFacts) -> Iterable[Resource]:
        ports = list(_ports(topology))
        closed = list(_closed(topology))
        if not ports and not closed:
            return
        table = Table(FAMILY, table_name(facts.owner), _ORIGIN)
        yield from _frame(table.name)
        for port, network, endpoint in ports:
            yield from _render_port(table, port, network, endpoint)
        for port, endpoint in closed:
            yield table.element("closed", port, endpoint.origin)


def _ports(topology: Topology) -> Iterator[tuple[str, NetworkView, EndpointView]]:
    """(port, network, endpoint) of all guarded ports here."""
    for network in topology.networks:
        driver = drivers()[network.driver]
        for endpoint in network.local:
            port = host_port(driver, network, endpoint) if endpoint.guard else None
            if port is not None:
                yield port, network, endpoint


def _closed(topology: Topology) -> Iterator[tuple[str, EndpointView]]:
    """(port, endpoint) of those that policies select for ingress."""
    policies = topology.policies
    if policies is None or policies.idle:
        return
    parties = {party.name: party for party in policies.parties}
    for network in topology.networks:
        driver = drivers()[network.driver]
        for endpoint in network.local if network.filtered else ():
            port = host_port(driver, network, endpoint)
            if port is not None and policies.guarded(parties[f"{network.name}/{endpoint.name}"], INGRESS):
                yield port, endpoint


@cache
def _frame(table: str) -> tuple[Resource, ...]:
    """What is there once, however many ports."""
    return tuple(_render_frame(Table(FAMILY, table, _ORIGIN)))


def _render_frame(table: Table) -> Iterable[Resource]:
    yield table.itself()
    yield table.set("ports", "ifname")
    yield table.set("closed", "ifname")
    yield table.set("frames", "ifname . ether_type")
    yield table.set("macs", "ifname . ether_addr")
    yield table.set("addresses4", "ifname . ipv4_addr")
    yield table.set("addresses6", "ifname . ipv6_addr")
    yield table.set("targets", "ifname", "verdict")
    yield table.chain("prerouting", tuple(_guard()), Hook("filter", "prerouting", PRIORITY))
    for hook in ("forward", "output"):
        yield table.chain(f"closed-{hook}", tuple(_closed_rules()), Hook("filter", hook, PRIORITY))


def _render_port(table: Table, port: str, network: NetworkView, endpoint: EndpointView) -> Iterable[Resource]:
    """What is one port's own."""
    at = endpoint.origin
    yield table.element("ports", port, at)
    for kind in endpoint.ether_types:
        yield table.element("frames", f"{port} . {_NAMES.get(kind, kind)}", at)
    yield table.element("macs", f"{port} . {endpoint.mac}", at)
    own = [address.ip for address in (*endpoint.addresses, *endpoint.link_local)]
    for address in own:
        yield table.element(f"addresses{address.version}", f"{port} . {address}", at)
    if network.ipv6:
        yield table.element("addresses6", f"{port} . ::", at)
        numbers = [f"0x{int(address):032x}" for address in sorted(a for a in own if a.version == 6)]
        chain = f"target-{port}"
        foreign = match(_TARGET, one_of(numbers), "!=")
        yield table.chain(chain, (rule("advertises somebody else's address", foreign, COUNTER, DROP),), origin=at)
        yield table.element("targets", port, at, f"goto {chain}")


def _foreign(what: Expr, name: str) -> Expr:
    """``iifname . WHAT != @name``: not of this port's."""
    return match(concat(_PORT, what), f"@{name}", "!=")


def _guard() -> Iterator[Rule]:
    drop = (COUNTER, DROP)
    unspecified = match(payload("ip6", "saddr"), "::")
    icmp = payload("icmpv6", "type")
    kind = payload("ether", "type")
    yield rule("not guarded", meta("iifname", "@ports", "!="), ACCEPT)
    usual = match(kind, one_of(sorted(("ip", "arp", "ip6"))), "!=")
    yield rule("a kind of frame that it may not send", usual, _foreign(kind, "frames"), *drop)
    yield rule("somebody else's MAC", _foreign(payload("ether", "saddr"), "macs"), *drop)
    yield rule("ARP: somebody else's MAC", _foreign(payload("arp", "saddr ether"), "macs"), *drop)
    probe = match(payload("arp", "saddr ip"), "0.0.0.0", "!=")  # noqa: S104 - no socket: an address probe, RFC 5227
    yield rule("ARP: somebody else's address", _foreign(payload("arp", "saddr ip"), "addresses4"), probe, *drop)
    yield rule("somebody else's IPv4 address", _foreign(payload("ip", "saddr"), "addresses4"), *drop)
    yield rule("no address: not ICMPv6", unspecified, meta("l4proto", 58, "!="), *drop)
    asking = match(icmp, one_of([131, 132, 135, 143]), "!=")
    yield rule("no address, but to ask whether one is free", unspecified, asking, *drop)
    yield rule("somebody else's IPv6 address", _foreign(payload("ip6", "saddr"), "addresses6"), *drop)
    yield rule("router advertisement, redirect", match(icmp, one_of([134, 137])), *drop)
    yield rule("neighbour advertisement", match(icmp, 136), vmap(_PORT, "targets"))
    for name, server, client in (("DHCP", 67, 68), ("DHCPv6", 547, 546)):
        sport, dport = match(payload("udp", "sport"), server), match(payload("udp", "dport"), client)
        yield rule(f"{name} server", sport, dport, *drop)


def _closed_rules() -> Iterator[Rule]:
    yield rule("to endpoints that no ingress policy selects", meta("oifname", "@closed", "!="), ACCEPT)
    yield rule("IPv6's own needs", match(payload("icmpv6", "type"), one_of(sorted(ALWAYS_ICMPV6))), ACCEPT)
    for kind in ("ip", "ip6"):
        wide = match({"meta": {"key": "pkttype"}}, one_of(["broadcast", "multicast"]))
        yield rule("broadcast and multicast", match(payload("ether", "type"), kind), wide, COUNTER, DROP)


FEATURE = GuardFeature()
