"""Endpoint documents: who is plugged in where, under which addresses, and whose default route it carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address
from typing import TYPE_CHECKING, Literal, NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.errors import Origin
from reconciler.manifest.document import Document
from reconciler.manifest.kinds.endpoint import Endpoint, EndpointSpec, Rate, bits
from reconciler.manifest.lockfile import Lock
from reconciler.manifest.suggest import meant
from reconciler.topology.allocate import Asker, Pool, pool_of, reserved, reserved_for
from reconciler.topology.derive import link_local_of, mac_of
from reconciler.topology.publish import publications
from reconciler.topology.sandboxes import slashed
from reconciler.topology.view import (
    Address,
    BlockView,
    EndpointView,
    Interface,
    NetworkView,
    RateView,
    RouteView,
    SandboxView,
)

if TYPE_CHECKING:
    from reconciler.topology.resolve import Problems

BUILTIN = ("host", "none")
_Gateways = Mapping[tuple[str, int], tuple["_Plug", Address | None]]
_NO_ENDPOINTS = {
    "host": "it uses the host's own stack",
    "none": "it has loopback only",
    "container": "it shares another sandbox's stack",
}


def check_references(
    document: Document,
    networks: Mapping[str, NetworkView],
    sandboxes: Mapping[str, SandboxView],
    problems: Problems,
) -> bool:
    """Whether network and sandbox exist and can have this endpoint; what does not is told."""
    spec = spec_of(document)
    found = len(problems)
    if spec.network in BUILTIN:
        problems.add(
            document.at("spec", "network"),
            f"network {spec.network} has no endpoints",
            f"write 'stack: {spec.network}' in sandbox {spec.sandbox} and leave the endpoint out",
        )
    elif spec.network not in networks:
        problems.add(
            document.at("spec", "network"), f"there is no network {spec.network!r}", meant(spec.network, networks)
        )
    sandbox = sandboxes.get(spec.sandbox)
    at = document.at("spec", "sandbox")
    if sandbox is None:
        problems.add(at, f"there is no sandbox {spec.sandbox!r}", meant(spec.sandbox, sandboxes))
    elif sandbox.stack in _NO_ENDPOINTS:
        hint = (
            "give it 'stack: netns'"
            if sandbox.stack != "container"
            else f"put the endpoint on sandbox {sandbox.target}"
        )
        problems.add(at, f"sandbox {sandbox.name} can have no endpoint: {_NO_ENDPOINTS[sandbox.stack]}", hint)
    return len(problems) == found


def spec_of(document: Document) -> EndpointSpec:
    model = document.model
    assert isinstance(model, Endpoint)
    return model.spec


class _Plug(Struct):
    """An endpoint while it is being resolved."""

    document: Document
    network: NetworkView
    sandbox: SandboxView
    addresses: list[Address] = field(default_factory=list)
    interface: str = ""
    leased: set[int] = field(default_factory=set)  # IP versions whose addresses others give at run time

    @property
    def name(self) -> str:
        return f"{self.network.name}/{self.document.name}"

    @property
    def asker(self) -> Asker:
        labels = {**self.sandbox.labels, **self.document.model.metadata.labels}
        return Asker(self.name, self.sandbox.node, self.sandbox.namespace, labels)


class Allocated(NamedTuple):
    """``views`` and ``blocks`` by network; ``locked``: what the lock file shall hold of addresses; ``chosen``: where each
    automatic address was asked for."""

    views: Mapping[str, Sequence[EndpointView]]
    blocks: Mapping[str, Sequence[BlockView]]
    locked: Mapping[str, tuple[str, ...]]
    chosen: Mapping[str, Origin]


def resolve_endpoints(
    documents: Sequence[Document],
    networks: Mapping[str, NetworkView],
    sandboxes: Mapping[str, SandboxView],
    here: str,
    lock: Lock,
    problems: Problems,
) -> Allocated:
    """Every endpoint, with the addresses that it has: static, locked or chosen now, by its network's own strategy."""
    plugs = [
        _Plug(document, networks[spec_of(document).network], sandboxes[spec_of(document).sandbox])
        for document in documents
        if check_references(document, networks, sandboxes, problems)
    ]
    plugs.sort(key=lambda plug: (plug.network.name, plug.document.name))
    pools = _pools(networks, lock)
    _static(plugs, pools, problems)
    locked, chosen = _automatic(plugs, pools, lock, problems)
    _interfaces(plugs, problems)
    if problems:
        return Allocated({}, {}, {}, {})
    gateways = _gateways(plugs)
    views: dict[str, list[EndpointView]] = {}
    for plug in plugs:
        views.setdefault(plug.network.name, []).append(_view(plug, gateways, here, problems))
    _unique(plugs, views, problems)
    blocks = {name: [block for pool in members for block in pool.blocks()] for name, members in pools.items()}
    return Allocated(views, blocks, locked, chosen)


def _pools(networks: Mapping[str, NetworkView], lock: Lock) -> dict[str, list[Pool]]:
    """The pools of each network; those that several draw from are the same object."""
    shared: dict[str, Pool] = {}
    found: dict[str, list[Pool]] = {}
    for name, network in networks.items():
        fresh = [subnet for subnet in network.subnets if subnet.pool is None or subnet.pool.name not in shared]
        made = iter(network.options.pools(fresh, network.nodes, lock.blocks))
        members = found[name] = []
        for subnet in network.subnets:
            pool = shared.get(subnet.pool.name) if subnet.pool is not None else None
            pool = pool or next(made)
            if subnet.pool is not None:
                shared[subnet.pool.name] = pool
            members.append(pool)
    return found


def _static(plugs: Sequence[_Plug], pools: Mapping[str, list[Pool]], problems: Problems) -> None:
    """Addresses that the manifests name come first: nothing automatic may take them."""
    holders: dict[tuple[str, int, int], str] = {}
    for plug in plugs:
        for number, address in enumerate(_asked(plug)):
            if isinstance(address, str):
                _by_others(plug, number, address, problems)
                continue
            at = plug.document.at("spec", "addresses", number)
            pool = pool_of(pools[plug.network.name], address)
            if pool is None:
                cidrs = ", ".join(str(subnet.cidr) for subnet in plug.network.subnets)
                problems.add(
                    at, f"{address} is in no subnet of network {plug.network.name}", f"write an address of {cidrs}"
                )
                continue
            holder = holders.setdefault((plug.network.name, address.version, int(address)), plug.document.name)
            asker = replace(plug.asker, static=True)
            if pool.take(address, asker):
                plug.addresses.append(address)
            elif int(address) in reserved(pool.subnet.cidr):
                problems.add(at, f"{address} is the {reserved_for(address, pool.subnet.cidr)}", "write a host address")
            elif address == pool.subnet.gateway:
                problems.add(at, f"{address} is the gateway of network {plug.network.name}", "choose another address")
            elif (why := pool.refusal(address, asker)) is not None:
                problems.add(at, f"endpoint {plug.document.name}: {why[0]}", why[1])
            elif holder != plug.document.name:
                problems.add(at, f"{address} is the address of endpoint {holder} already", "choose another address")
            elif address in plug.addresses:
                problems.add(at, f"{address} is written twice", "leave one of them out")
            else:
                name = next((name for name, kept in pool.subnet.auxiliary.items() if kept == address), None)
                kept_for = f"{name} (auxiliary)" if name is not None else f"the host, by options of {plug.network.name}"
                problems.add(at, f"{address} is kept for {kept_for}", "choose another address")


_LEASES = {"dhcp": 4, "slaac": 6}


def _asked(plug: _Plug) -> list[Address | Literal["dhcp", "slaac"]]:
    asked = spec_of(plug.document).addresses
    if isinstance(asked, list):
        return list(asked)
    return [] if asked == "auto" else [asked]


def _by_others(plug: _Plug, number: int, word: str, problems: Problems) -> None:
    """An address that a DHCP server gives, or that follows from a router's advertisements."""
    version = _LEASES[word]
    if version in plug.leased:
        problems.add(plug.document.at("spec", "addresses", number), f"{word} is written twice", "leave one out")
    if not plug.network.options.leases():
        problems.add(
            plug.document.at("spec", "addresses", number),
            f"endpoint {plug.document.name}: nobody on network {plug.network.name} (driver {plug.network.driver}) could answer {word}",
            "write an address, or auto",
        )
    plug.leased.add(version)


def _automatic(
    plugs: Sequence[_Plug], pools: Mapping[str, list[Pool]], lock: Lock, problems: Problems
) -> tuple[dict[str, tuple[str, ...]], dict[str, Origin]]:
    """For each family that an endpoint has no static address of: the locked address while it still fits, then
    the lowest free one. All locked ones are settled before any new one is chosen."""
    open_families: list[tuple[_Plug, int]] = []
    automatic: dict[str, list[Address]] = {}
    for plug in plugs:
        have = {address.version for address in plug.addresses}
        for version in (4, 6):
            mine = _within_reach(plug, pools, version, automatic)
            if version in have or not mine or version in plug.leased:
                continue
            automatic.setdefault(plug.name, [])
            for text in lock.addresses.get(plug.name, ()):
                address = ip_address(text)
                pool = pool_of(mine, address)
                if pool is not None and address in pool.subnet.range and pool.take(address, plug.asker):
                    automatic[plug.name].append(address)
                    break
            else:
                open_families.append((plug, version))
    for plug, version in open_families:
        mine = _within_reach(plug, pools, version, automatic)
        if not mine:
            continue  # its link layer has none of this family
        number = plug.network.options.choose(mine, plug.asker)
        if number is None:
            ranges = ", ".join(pool.reach(plug.asker) for pool in mine)
            problems.add(
                plug.document.at("spec"),
                f"no IPv{version} address is left for endpoint {plug.document.name} in network {plug.network.name} ({ranges})",
                "widen the range, or add a subnet to the network",
            )
            continue
        automatic[plug.name].append(IPv4Address(number) if version == 4 else IPv6Address(number))
    for plug in plugs:
        plug.addresses += automatic.get(plug.name, [])
        plug.addresses.sort(key=lambda address: address.version)
    locked = {name: tuple(str(a) for a in sorted(found, key=lambda a: a.version)) for name, found in automatic.items()}
    return locked, {plug.name: plug.document.at("spec", "addresses") for plug in plugs if plug.name in automatic}


def _within_reach(
    plug: _Plug, pools: Mapping[str, list[Pool]], version: int, automatic: Mapping[str, list[Address]]
) -> list[Pool]:
    """The subnets of a family that an endpoint can have an address of: one interface is on one link layer."""
    every = pools[plug.network.name]
    mine = [pool for pool in every if pool.subnet.cidr.version == version]
    if not any(pool.subnet.segment for pool in every):
        return mine
    have = (*plug.addresses, *automatic.get(plug.name, ()))
    segments = {pool.subnet.segment for address in have if (pool := pool_of(every, address)) is not None}
    return [pool for pool in mine if pool.subnet.segment in segments] if segments else mine


def _interfaces(plugs: Sequence[_Plug], problems: Problems) -> None:
    """Static names first; the others are eth0, eth1, ... in order of endpoint names."""
    by_sandbox: dict[str, list[_Plug]] = {}
    for plug in plugs:
        by_sandbox.setdefault(plug.sandbox.netns, []).append(plug)
    for members in by_sandbox.values():
        members.sort(key=lambda plug: (plug.document.name, plug.network.name))
        taken: dict[str, _Plug] = {}
        for plug in members:
            name = spec_of(plug.document).interface
            if name is None:
                continue
            at = plug.document.at("spec", "interface")
            if name == "lo":
                problems.add(at, "lo is the sandbox's loopback", "choose another interface name")
            elif name in taken:
                problems.add(
                    at,
                    f"sandbox {plug.sandbox.name} has interface {name} already, on endpoint {taken[name].document.name}",
                    "choose another interface name",
                )
            taken.setdefault(name, plug)
            plug.interface = name
        number = 0
        for plug in members:
            if plug.interface:
                continue
            while f"eth{number}" in taken:
                number += 1
            plug.interface = f"eth{number}"
            taken[plug.interface] = plug


def _gateways(plugs: Sequence[_Plug]) -> _Gateways:
    """(namespace, IP version) -> the endpoint that carries the default route, and its next hop (None: on the device).

    Highest priority, then dual stack before single, then network name, then endpoint name. Internal networks
    and those without a gateway address carry none.
    """
    best: dict[tuple[str, int], tuple[tuple[object, ...], _Plug, Address | None]] = {}
    for plug in plugs:
        if plug.network.internal:
            continue
        single = not (plug.network.ipv4 and plug.network.ipv6)
        rank = (-spec_of(plug.document).gateway_priority, single, plug.network.name, plug.document.name)
        for version in (4, 6):
            hop = _next_hop(plug, version)
            place = (plug.sandbox.netns, version)
            carries = hop is not None or _on_device(plug, version)
            if carries and (place not in best or rank < best[place][0]):
                best[place] = (rank, plug, hop)
    return {place: (plug, hop) for place, (_rank, plug, hop) in best.items()}


def _next_hop(plug: _Plug, version: int) -> Address | None:
    """The gateway of the subnet of the endpoint's first address of a family, or the driver's own next hop."""
    for address in plug.addresses:
        if address.version == version:
            if plug.network.options.gateway(version) == "hop":
                hop: Address | None = plug.network.options.hop(version)
                return hop
            for subnet in plug.network.subnets:
                if address in subnet.cidr:
                    return subnet.gateway
    return None


def _on_device(plug: _Plug, version: int) -> bool:
    """Whether an endpoint's interface takes all that has no better route, without a next hop."""
    has = any(address.version == version for address in plug.addresses)
    return has and plug.network.options.gateway(version) == "device"


def _view(plug: _Plug, gateways: _Gateways, here: str, problems: Problems) -> EndpointView:
    document, network, sandbox = plug.document, plug.network, plug.sandbox
    spec = spec_of(document)
    mac = spec.mac or mac_of("endpoint", network.name, document.name)
    mtu = spec.mtu or network.mtu
    if mtu > network.mtu:
        problems.add(
            document.at("spec", "mtu"), f"MTU {mtu} is above network {network.name}'s ({network.mtu})", "lower it"
        )
    if network.ipv6 and mtu < 1280:
        problems.add(document.at("spec", "mtu"), f"MTU {mtu} is too small for IPv6", "write at least 1280 (RFC 8200)")
    if spec.link_local and not network.ipv6 and 6 not in plug.leased:
        at = document.at("spec", "linkLocal")
        problems.add(at, f"network {network.name} has no IPv6", "give it an IPv6 subnet, or leave linkLocal out")
    for number, address in enumerate(spec.link_local):
        if address.version != 6 or not address.is_link_local:
            at = document.at("spec", "linkLocal", number)
            problems.add(at, f"{address} is not an IPv6 link-local address", "write an address of fe80::/64")
    hops = {version: gateways.get((sandbox.netns, version)) for version in (4, 6)}
    mine = {version: hop[1] for version, hop in hops.items() if hop is not None and hop[0] is plug}
    v4, v6 = mine.get(4), mine.get(6)
    link_local = tuple(IPv6Interface((int(address), 64)) for address in spec.link_local)
    return EndpointView(
        name=document.name,
        network=network.name,
        sandbox=sandbox,
        interface=plug.interface,
        mac=mac,
        mtu=mtu,
        addresses=tuple(_with_prefix(address, network) for address in plug.addresses),
        link_local=(link_local or (link_local_of(mac),)) if network.ipv6 or 6 in plug.leased else (),
        gateway4=v4 if isinstance(v4, IPv4Address) else None,
        gateway6=v6 if isinstance(v6, IPv6Address) else None,
        leased=tuple(sorted(plug.leased)),
        on_device=tuple(version for version, hop in mine.items() if hop is None),
        routes=_routes(plug, problems),
        sysctls=_sysctls(document, problems),
        aliases=tuple(spec.aliases),
        labels=dict(document.model.metadata.labels),
        local=sandbox.node == here,
        document=document,
        options=document.options,
        publish=tuple(publications(document, spec.publish, problems)),
        receive=rate_view(spec.rates.receive),
        send=rate_view(spec.rates.send),
        connections_in=spec.rates.connections_in,
        connections_out=spec.rates.connections_out,
        dscp=spec.rates.dscp,
        origin=document.origin,
        guard=spec.guard,
        ether_types=tuple(sorted(set(spec.ether_types))),
    )


def rate_view(rate: Rate | None) -> RateView | None:
    """A rate in bits a second."""
    return RateView(bits(rate.rate), rate.burst) if rate is not None else None


def _with_prefix(address: Address, network: NetworkView) -> Interface:
    length = network.options.length(next(subnet.cidr for subnet in network.subnets if address in subnet.cidr))
    if isinstance(address, IPv4Address):
        return IPv4Interface((int(address), length))
    return IPv6Interface((int(address), length))


def _routes(plug: _Plug, problems: Problems) -> tuple[RouteView, ...]:
    views = []
    for number, route in enumerate(spec_of(plug.document).routes):
        at = plug.document.at("spec", "routes", number)
        hint = "write a gateway on one of this network's subnets"
        if route.via is not None and route.via.version != route.to.version:
            problems.add(at, f"route to {route.to} via {route.via}: not of one IP version", hint)
        elif route.via is not None and not (
            route.via.is_link_local or any(route.via in subnet.cidr for subnet in plug.network.subnets)
        ):
            problems.add(at, f"route via {route.via}, which is not on network {plug.network.name}", hint)
        if route.to.prefixlen == 0:
            problems.add(
                at,
                "the default route is not written here",
                "raise spec.gatewayPriority of the endpoint that shall carry it",
            )
        views.append(RouteView(route.to, route.via, route.metric, at))
    return tuple(views)


def _sysctls(document: Document, problems: Problems) -> dict[str, str]:
    """``net.ipv4.conf.IFNAME.rp_filter`` becomes ``ipv4/rp_filter``."""
    found = {}
    for name, value in spec_of(document).sysctls.items():
        parts = slashed(name).split("/")
        if len(parts) == 5 and parts[0] == "net" and parts[2] in ("conf", "neigh") and parts[3] == "IFNAME":
            found[f"{parts[1]}/{parts[4]}" if parts[2] == "conf" else f"{parts[1]}/neigh/{parts[4]}"] = value
        else:
            problems.add(
                document.at("spec", "sysctls", name),
                f"{name} is not a sysctl of one interface",
                "write net.ipv4.conf.IFNAME.NAME with the word IFNAME, or put it into the Sandbox's spec.sysctls",
            )
    return found


def _unique(plugs: Sequence[_Plug], views: Mapping[str, list[EndpointView]], problems: Problems) -> None:
    """MAC and link-local addresses are on one link; two of a kind would take each other's traffic.
    A destination and metric are one route in its sandbox."""
    holders: dict[tuple[str, str], str] = {}
    routes: dict[tuple[str, str, int], RouteView] = {}
    by_name = {(view.network, view.name): view for members in views.values() for view in members}
    for plug in plugs:
        view = by_name[plug.network.name, plug.document.name]
        for route in view.routes:
            first = routes.setdefault((view.sandbox.netns, str(route.to), route.metric), route)
            if first is not route:
                problems.add(
                    route.origin,
                    f"sandbox {view.sandbox.name} has a route to {route.to} with metric {route.metric} already"
                    f" ({first.origin})",
                    "give one of them another metric",
                )
        wanted = [("MAC address", view.mac, "mac")]
        wanted += [("link-local address", str(address.ip), "linkLocal") for address in view.link_local]
        for what, value, field_name in wanted:
            other = holders.setdefault((view.network, value), view.name)
            if other != view.name:
                problems.add(
                    plug.document.at("spec", field_name),
                    f"endpoints {other} and {view.name} of network {view.network} have the same {what} {value}",
                    "change one",
                )
