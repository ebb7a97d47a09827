"""Names: endpoints of a network find each other by name, and their sandboxes find the rest of the world by the servers
that they are given.

One attendant a host answers, on 127.0.0.11 inside each sandbox's namespace: a sandbox needs no way to the host for it, and
who asks is known by where the question comes in. A sandbox with no way out has no servers to ask.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import ClassVar

from reconciler.errors import Origin, Problem
from reconciler.resources.attended import attendant_process
from reconciler.resources.name import Name, name_key
from reconciler.resources.netnsfile import NetnsFile, netns_file_key
from reconciler.resources.resolver import ADDRESS, Resolver, resolver_key
from reconciler.resources.resource import Resource
from reconciler.topology.view import EndpointView, NetworkView, NodeFacts, SandboxView, Topology

_FEATURE = Origin(document="names")
_NO_STACK_OF_THEIR_OWN = ("host", "none", "container")


def named(topology: Topology) -> tuple[NetworkView, ...]:
    """The networks whose endpoints find each other by name and of which some are here."""
    return tuple(network for network in topology.networks if network.names and network.local)


def own_names(endpoint: EndpointView) -> tuple[str, ...]:
    """What an endpoint is called on its network: by its own name, its sandbox's, and its aliases."""
    return tuple(dict.fromkeys((endpoint.name, endpoint.sandbox.name, *endpoint.aliases)))


class NamesFeature:
    """Networks with ``names: true``."""

    name: ClassVar[str] = "names"
    summary: ClassVar[str] = "endpoints of a network find each other by name"

    def requires(self, topology: Topology) -> frozenset[str]:
        return frozenset()

    def check(self, topology: Topology) -> Iterable[Problem]:
        with_names = {endpoint.sandbox.name for network in named(topology) for endpoint in network.local}
        for sandbox in topology.sandboxes:
            if sandbox.dns_servers is not None or sandbox.dns_search:
                if sandbox.stack in _NO_STACK_OF_THEIR_OWN:
                    yield Problem(
                        sandbox.origin,
                        f"sandbox {sandbox.name}: spec.dns is of no use with stack {sandbox.stack}",
                        "leave it out",
                    )
                elif sandbox.name not in with_names:
                    yield Problem(
                        sandbox.origin,
                        f"sandbox {sandbox.name}: spec.dns is of no use without a network that has names",
                        "write spec.names: true in one of its networks",
                    )

    def render(self, topology: Topology, facts: NodeFacts) -> Iterable[Resource]:
        networks = named(topology)
        if not networks:
            return
        yield attendant_process(_FEATURE)
        places: dict[str, list[EndpointView]] = {}
        for network in networks:
            for endpoint in network.endpoints:
                addresses = tuple(str(address.ip) for address in endpoint.addresses)
                if addresses:
                    yield Name(
                        key=name_key(network.name, endpoint.name),
                        origin=endpoint.origin,
                        network=network.name,
                        names=own_names(endpoint),
                        addresses=addresses,
                    )
                if endpoint.local:
                    places.setdefault(endpoint.sandbox.netns, []).append(endpoint)
        local = tuple(sorted(str(subnet.cidr) for network in topology.networks for subnet in network.subnets))
        ways_out = {
            endpoint.sandbox.netns
            for network in topology.networks
            for endpoint in network.local
            if not network.internal and _leads_out(endpoint)
        }
        for netns, endpoints in sorted(places.items()):
            sandbox = endpoints[0].sandbox
            yield Resolver(
                key=resolver_key(netns),
                origin=sandbox.origin,
                networks=tuple(sorted({endpoint.network for endpoint in endpoints})),
                servers=_servers(sandbox, facts) if netns in ways_out else (),
                local=local,
            )
            if sandbox.made:
                yield from _files(sandbox, endpoints)


def _leads_out(endpoint: EndpointView) -> bool:
    return endpoint.gateway4 is not None or endpoint.gateway6 is not None or bool(endpoint.on_device)


def _servers(sandbox: SandboxView, facts: NodeFacts) -> tuple[str, ...]:
    if sandbox.dns_servers is not None:
        return tuple(map(str, sandbox.dns_servers))
    return tuple(server for server in facts.nameservers if server != ADDRESS)


def _files(sandbox: SandboxView, endpoints: Iterable[EndpointView]) -> Iterable[Resource]:
    lines = [f"nameserver {ADDRESS}"]
    if sandbox.dns_search:
        lines.append(f"search {' '.join(sandbox.dns_search)}")
    yield NetnsFile(
        key=netns_file_key(sandbox.name, "resolv.conf"), origin=sandbox.origin, content="\n".join([*lines, ""])
    )
    hosts = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    own = {str(address.ip): own_names(endpoint) for endpoint in endpoints for address in endpoint.addresses}
    hosts += [
        f"{address} {' '.join(dict.fromkeys((sandbox.name, *own[address])))}"
        for address in sorted(own, key=lambda text: (ip_address(text).version, int(ip_address(text))))
    ]
    yield NetnsFile(key=netns_file_key(sandbox.name, "hosts"), origin=sandbox.origin, content="\n".join([*hosts, ""]))


FEATURE = NamesFeature()
