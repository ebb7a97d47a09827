"""Published ports: who speaks to an address of the host on one of them reaches a sandbox.

::

    raw prerouting    nothing from outside to 127.0.0.0/8 (the bridges take it, see below: CVE-2020-8558)
    nat prerouting,   to an address of the host's own -> publish: ADDRESS . PROTOCOL . PORT, then PROTOCOL . PORT,
    nat output            each in a map of single ports and in one of ranges
    forward           to-NETWORK -> published: what was translated to a published port is let in
                                 -> opened: gateway mode routed: what goes to that port by itself
    nat postrouting   hairpin: a sandbox that reaches itself or a neighbour by the host's address must get the answer from
                          that; and what the host sends from 127.0.0.1 gets an address that can be answered

Ports are elements of maps: a packet costs the same with one port and with a thousand, and a port more is an element more.
What the kernel cannot do (::1, a family that the endpoint does not have) is a relay's, which also holds the port
against other programs. An internal network has no way out, so it does not get there by this door either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import ClassVar

from msgspec import Struct

from reconciler.drivers.driver import publishing
from reconciler.drivers.firewall import DSTNAT, FAMILY, RAW, SRCNAT, TRANSLATED, table_name
from reconciler.drivers.nftexpr import (
    ACCEPT,
    DROP,
    LOCAL,
    MASQUERADE,
    RETURN,
    Expr,
    address,
    concat,
    jump,
    match,
    meta,
    payload,
    rule,
)
from reconciler.drivers.nfttable import Hook, Table
from reconciler.drivers.registry import drivers
from reconciler.errors import Origin, Problem
from reconciler.resources.attended import attendant_process
from reconciler.resources.conntrack import Conntrack, conntrack_key
from reconciler.resources.nft import NftElement, Rule
from reconciler.resources.relay import Relay, relay_key
from reconciler.resources.resource import Key, Resource
from reconciler.resources.sysctl import Sysctl, sysctl_key
from reconciler.topology.view import Address, EndpointView, HostSocket, NetworkView, NodeFacts, PublishView, Topology

VERSIONS = (4, 6)
_MOST_MOVED = 1024  # ports of a range that leads to other numbers: those are elements, one a port
_MOST_HELD = 256  # ports of a range that a relay holds: each is a socket or two
_WILD = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - the names of addresses
_ADDRESS = {4: "ipv4_addr", 6: "ipv6_addr"}
_PROTOCOL: Expr = {"meta": {"key": "l4proto"}}
_PORT = payload("th", "dport")
_FEATURE = Origin(document="published ports")


class Publication(Struct, frozen=True):
    """One range of one endpoint, ``to`` an address of it by IP version. ``address`` is the host's; None: all of them.
    ``modes`` are those of its network; an IP version without ``to`` is for a relay to serve."""

    endpoint: EndpointView
    ports: PublishView
    address: Address | None
    to: dict[int, Address]
    modes: dict[int, str]
    bridge: str

    @property
    def versions(self) -> tuple[int, ...]:
        """Of the host's addresses that it is published on."""
        return VERSIONS if self.address is None else (self.address.version,)

    def translated(self, version: int) -> bool:
        return version in self.to and version in self.versions and self.modes[version] in ("nat", "nat-unprotected")

    def overlaps(self, protocol: str, first: int, last: int, address: Address | None) -> bool:
        if self.ports.protocol != protocol or last < self.ports.first or self.ports.last < first:
            return False
        return address is None or self.address is None or address == self.address

    @property
    def on_host(self) -> bool:
        """Whether it takes a port of the host: where all is routed, none is taken."""
        return any(self.modes[version] in ("nat", "nat-unprotected") for version in self.to)

    def __str__(self) -> str:
        ports = (
            f"{self.ports.first}" if self.ports.first == self.ports.last else f"{self.ports.first}-{self.ports.last}"
        )
        where = "" if self.address is None else f" of {self.address}"
        return f"{ports}/{self.ports.protocol}{where}"


def _carries(endpoint: EndpointView, version: int) -> bool:
    """Answers leave by the sandbox's default route: only there can a port be published."""
    return (endpoint.gateway4 if version == 4 else endpoint.gateway6) is not None or version in endpoint.on_device


def _targets(endpoint: EndpointView, modes: dict[int, str]) -> dict[int, Address]:
    found: dict[int, Address] = {}
    for interface in endpoint.addresses:
        version = interface.version
        if _carries(endpoint, version) and modes[version] != "isolated":
            found.setdefault(version, interface.ip)
    return found


def publications(topology_networks: Iterable[NetworkView]) -> Iterator[Publication]:
    """All of this node."""
    for network in topology_networks:
        how = publishing(drivers()[network.driver], network)
        if how is None or network.internal:
            continue
        modes = dict(how.modes)
        for endpoint in network.local:
            to = _targets(endpoint, modes) if endpoint.publish else {}
            if not to:
                continue
            for ports in endpoint.publish:
                for own in ports.addresses or how.addresses or (None,):
                    yield Publication(endpoint, ports, own, to, modes, how.behind[endpoint.name])


class PortsFeature:
    """Published ports of endpoints on networks whose driver can."""

    name: ClassVar[str] = "ports"
    summary: ClassVar[str] = "published ports: sandboxes that are reached by the host's addresses"

    def requires(self, topology: Topology) -> frozenset[str]:
        return frozenset({"nft"} if next(publications(topology.networks), None) is not None else ())

    # -- what is wrong -------------------------------------------------------------------------------------

    def check(self, topology: Topology) -> Iterable[Problem]:
        for network in topology.networks:
            for endpoint in network.local:
                if endpoint.publish:
                    yield from self._possible(network, endpoint)
        found = list(publications(topology.networks))
        yield from _shapes(found)
        on_host = [one for one in found if one.on_host]
        yield from _twice(on_host)
        yield from _taken(on_host, topology.facts.sockets)

    @staticmethod
    def _possible(network: NetworkView, endpoint: EndpointView) -> Iterable[Problem]:
        at = endpoint.at("spec", "publish")
        how = publishing(drivers()[network.driver], network)
        if how is None:
            yield Problem(
                at,
                f"endpoint {endpoint.name}: networks of driver {network.driver} have no host side to publish ports by",
                "leave publish out; its own address is reached directly",
            )
        elif network.internal:
            yield Problem(
                at,
                f"endpoint {endpoint.name}: network {network.name} is internal, nobody comes in",
                "leave publish out, or spec.internal of the network",
            )
        elif not _targets(endpoint, dict(how.modes)):
            isolated = [
                v for v in VERSIONS if how.modes[v] == "isolated" and any(a.version == v for a in endpoint.addresses)
            ]
            hint = "raise its spec.gatewayPriority, or publish on the endpoint that has the route"
            if isolated:
                hint = f"options.gatewayMode.ipv{isolated[0]} of network {network.name} is isolated"
            yield Problem(
                at,
                f"endpoint {endpoint.name} carries no default route of sandbox {endpoint.sandbox.name}: "
                "answers to a published port would leave elsewhere",
                hint,
            )

    # -- what it comes to ----------------------------------------------------------------------------------

    def render(self, topology: Topology, facts: NodeFacts) -> Iterable[Resource]:
        found = list(publications(topology.networks))
        if not found:
            return
        table = Table(FAMILY, table_name(facts.owner), _FEATURE)
        parts = _Parts(table)
        yield from parts.frame()
        for network in topology.networks:
            interface = drivers()[network.driver].host_interface(network)
            if network.internal and interface is not None:
                yield table.element("sealed", interface, network.origin)
        for one in found:
            yield from parts.publication(one)
        held = [relay for one in found for relay in _relays(one)]
        if held:
            yield attendant_process(_FEATURE)
        yield from held
        yield from _localnet(found)


def _localnet(found: Iterable[Publication]) -> Iterable[Resource]:
    """A bridge takes 127.0.0.1 as a source that comes back, where ports are published on it."""
    for one in found:
        if one.translated(4) and one.address in (None, ip_address("127.0.0.1")):
            key = sysctl_key("", f"net/ipv4/conf/{one.bridge}/route_localnet")
            yield Sysctl(key=key, origin=_FEATURE, value="1", dev=one.bridge)


def _shapes(found: Iterable[Publication]) -> Iterable[Problem]:
    for one in found:
        count = one.ports.last - one.ports.first + 1
        if one.ports.first != one.ports.to and count > _MOST_MOVED:
            yield Problem(
                one.ports.origin,
                f"endpoint {one.endpoint.name}: {count:,} ports in a row lead to other numbers",
                f"write the same numbers inside and outside, or at most {_MOST_MOVED:,}",
            )
        version = one.address.version if one.address is not None else 0
        if version and version not in one.to and (one.ports.protocol == "sctp" or count > _MOST_HELD):
            yield Problem(
                one.ports.origin,
                f"endpoint {one.endpoint.name} has no IPv{version} address to publish {one} on",
                f"give network {one.endpoint.network} an IPv{version} subnet",
            )


def _twice(found: list[Publication]) -> Iterable[Problem]:
    """Each with those before it that begin no later and have not ended: what overlaps is adjacent in that order."""
    ordered = sorted(found, key=lambda one: (one.ports.protocol, one.ports.first, one.ports.last, one.ports.origin))
    open_: list[Publication] = []
    for one in ordered:
        ports = one.ports
        open_ = [other for other in open_ if other.ports.protocol == ports.protocol and other.ports.last >= ports.first]
        for other in open_:
            if other.overlaps(ports.protocol, ports.first, ports.last, one.address):
                first, second = sorted((one, other), key=lambda each: each.ports.origin)
                yield Problem(
                    second.ports.origin,
                    f"port {second} is published twice: for endpoint {second.endpoint.network}/{second.endpoint.name} "
                    f"and for {first.endpoint.network}/{first.endpoint.name}",
                    "choose another hostPort, or different hostAddresses",
                )
        open_.append(one)


def _taken(found: Iterable[Publication], sockets: tuple[HostSocket, ...]) -> Iterable[Problem]:
    by_port: dict[tuple[str, int], list[HostSocket]] = {}
    for own in sockets:
        by_port.setdefault((own.protocol, own.port), []).append(own)
    if not by_port:
        return
    for one in found:
        for port in range(one.ports.first, one.ports.last + 1):
            for own in by_port.get((one.ports.protocol, port), ()):
                address = ip_address(own.address)
                versions = VERSIONS if own.both else (address.version,)
                wild = own.address in _WILD.values()
                if not set(versions) & set(one.versions) or not (wild or one.address in (None, address)):
                    continue
                where = f"[{own.address}]:{port}" if address.version == 6 else f"{own.address}:{port}"
                yield Problem(
                    one.ports.origin,
                    f"port {port}/{own.protocol} is taken: a process on this host listens on {where}",
                    "stop it (ss -lpn shows which it is), or choose another hostPort",
                )


def _relays(one: Publication) -> Iterable[Relay]:
    ports = one.ports
    if ports.protocol == "sctp" or ports.last - ports.first >= _MOST_HELD or not one.on_host:
        return
    serve: list[str] = []
    for version in one.versions:
        if version not in one.to:
            serve.append(str(one.address) if one.address is not None else _WILD[version])
        elif version == 6 and one.address in (None, ip_address("::1")):
            serve.append("::1")
    bind = tuple(
        str(one.address) if one.address is not None else _WILD[version]
        for version in one.versions
        if version not in one.to or one.translated(version)
    )
    to = one.to.get(6) or one.to[4]
    if bind:
        address = str(one.address) if one.address is not None else ""
        yield Relay(
            key=relay_key(ports.protocol, ports.first, ports.last, address),
            origin=ports.origin,
            protocol=ports.protocol,
            first=ports.first,
            last=ports.last,
            bind=bind,
            serve=tuple(serve),
            to=str(to),
            to_port=ports.to,
        )


class _Parts:
    """The part of an owner's table that is about published ports."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def frame(self) -> Iterable[Resource]:
        yield self._table.itself()
        yield self._table.set("bridges", "ifname")
        yield self._table.set("sealed", "ifname")
        yield self._table.set("hairpin", "ifname . ifname")
        for version, kind in _ADDRESS.items():
            triple = f"{kind} . inet_proto . inet_service"
            for where, key in (("publish", "inet_proto . inet_service"), ("publish-at", triple)):
                yield self._table.set(f"{where}{version}", key, kind)
                yield self._table.set(f"{where}{version}-port", key, "inet_service")
                yield self._table.set(f"{where}{version}-range", key, kind, interval=True)
            for name in ("published", "opened"):
                yield self._table.set(f"{name}{version}", triple)
                yield self._table.set(f"{name}{version}-range", triple, interval=True)
            yield self._table.set(f"self{version}", f"{kind} . {kind}")
        yield self._table.chain("publish", tuple(_translations()))
        yield self._table.chain("published", tuple(_admissions("published")))
        yield self._table.chain("opened", tuple(_admissions("opened")))
        yield from self._hooks()

    def _hooks(self) -> Iterable[Resource]:
        publish = rule("published ports", LOCAL, jump("publish"))
        sealed = rule("internal networks do not get out by this door", meta("iifname", "@sealed"), RETURN)
        loopback = {"prefix": {"addr": "127.0.0.0", "len": 8}}
        yield self._table.chain(
            "loopback",
            (
                rule(
                    "loopback addresses are on no wire (RFC 1122)",
                    meta("iifname", "lo", "!="),
                    _daddr(4, loopback),
                    DROP,
                ),
            ),
            hook=Hook("filter", "prerouting", RAW),
        )
        yield self._table.chain("publish-prerouting", (sealed, publish), hook=Hook("nat", "prerouting", DSTNAT))
        others = (_daddr(4, loopback), _daddr(4, "127.0.0.1", "!="))
        yield self._table.chain(
            "publish-output",
            (
                rule("other loopback addresses are other programs'", *others, RETURN),
                rule("no route leads away from ::1: a relay's", _daddr(6, "::1"), RETURN),
                publish,
            ),
            hook=Hook("nat", "output", DSTNAT),
        )
        pair = concat({"meta": {"key": "iifname"}}, {"meta": {"key": "oifname"}})
        rules = [rule("back to a neighbour, by the host", TRANSLATED, match(pair, "@hairpin"), MASQUERADE)]
        for version in VERSIONS:
            both = concat(address(version, "source"), address(version, "destination"))
            rules.append(rule("back to itself, by the host", TRANSLATED, match(both, f"@self{version}"), MASQUERADE))
        source = match(address(4, "source"), loopback)
        rules.append(rule("from the host itself", TRANSLATED, source, meta("oifname", "@bridges"), MASQUERADE))
        yield self._table.chain("publish-postrouting", tuple(rules), hook=Hook("nat", "postrouting", SRCNAT - 1))

    def publication(self, one: Publication) -> Iterable[Resource]:
        at = one.ports.origin
        for version in one.versions:
            if version not in one.to:
                continue
            to, mode = str(one.to[version]), one.modes[version]
            if mode == "routed":
                yield from self._ports(f"opened{version}", f"{to} . ", one, None, inside=True)
                continue
            where = f"publish{version}" if one.address is None else f"publish-at{version}"
            lead = "" if one.address is None else f"{one.address} . "
            elements = [
                *self._ports(where, lead, one, to),
                *self._ports(f"published{version}", f"{to} . ", one, None, inside=True),
            ]
            yield from elements
            yield self._table.element("hairpin", f"{one.bridge} . {one.bridge}", _FEATURE)
            yield self._table.element("bridges", one.bridge, _FEATURE)
            yield self._table.element(f"self{version}", f"{to} . {to}", _FEATURE)
            yield from self._connections(one, version, (elements[0].key,), at)

    @staticmethod
    def _connections(one: Publication, version: int, after: tuple[Key, ...], at: Origin) -> Iterable[Resource]:
        ports, address = one.ports, str(one.address) if one.address is not None else ""
        key = conntrack_key(ports.protocol, ports.first, ports.last, str(one.to[version]), ports.to, address)
        yield Conntrack(key=key, origin=at, after=after)

    def _ports(
        self, name: str, lead: str, one: Publication, to: str | None, *, inside: bool = False
    ) -> Iterator[NftElement]:
        """Elements for one range: a single one where numbers stay, else one a port."""
        ports = one.ports
        last = ports.to + ports.last - ports.first
        if ports.first != ports.last and (ports.first == ports.to or inside):
            first, last = (ports.to, last) if inside else (ports.first, ports.last)
            yield self._table.element(f"{name}-range", f"{lead}{ports.protocol} . {first}-{last}", ports.origin, to)
            return
        for number in range(ports.last - ports.first + 1):
            port = number + (ports.to if inside else ports.first)
            element = f"{lead}{ports.protocol} . {port}"
            yield self._table.element(name, element, ports.origin, to)
            if to is not None:
                yield self._table.element(f"{name}-port", element, ports.origin, str(ports.to + number))


def _daddr(version: int, value: object, op: str = "==") -> Expr:
    return match(address(version, "destination"), value, op)


def _translations() -> Iterable[Rule]:
    for version in VERSIONS:
        family = "ip" if version == 4 else "ip6"
        at = [address(version, "destination"), _PROTOCOL, _PORT]
        for where, parts, only in (
            ("publish-at", at, ()),
            ("publish", at[1:], (meta("nfproto", f"ipv{version}"),)),
        ):
            name, key = f"{where}{version}", concat(*parts)
            single: Expr = {"map": {"key": key, "data": f"@{name}"}}
            port: Expr = {"map": {"key": key, "data": f"@{name}-port"}}
            several: Expr = {"map": {"key": key, "data": f"@{name}-range"}}
            said = f"IPv{version}, {'one address' if parts is at else 'any address'}"
            yield rule(f"{said}: single ports", *only, {"dnat": {"family": family, "addr": single, "port": port}})
            yield rule(f"{said}: ranges", *only, {"dnat": {"family": family, "addr": several}})


def _admissions(name: str) -> Iterable[Rule]:
    yield rule("not from internal networks", meta("iifname", "@sealed"), RETURN)
    for version in VERSIONS:
        key: Expr = concat(address(version, "destination"), _PROTOCOL, _PORT)
        yield rule(f"IPv{version}, single ports", match(key, f"@{name}{version}"), ACCEPT)
        yield rule(f"IPv{version}, ranges", match(key, f"@{name}{version}-range"), ACCEPT)


FEATURE = PortsFeature()
