"""Addresses and ports of a rule as matches of flows: what a flow can say are prefixes, values and masks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import collapse_addresses, ip_network

from reconciler.policy.view import WITH_PORTS, PeerView, PortMatch, RuleView
from reconciler.topology.view import Subnet


def prefixes(peer: PeerView, version: int) -> list[str]:
    """The networks that an address must be in, without those that it must not; [""]: anywhere."""
    wanted: list[Subnet] | None = None
    if peer.nets is not None:
        wanted = [cidr for nets in peer.nets for cidr in nets.cidrs if cidr.version == version]
    if peer.nodes is not None:
        own = [ip_network(address) for address in peer.nodes if address.version == version]
        wanted = own if wanted is None else [a for a in own if any(_inside(a, b) for b in wanted)]
    holes: list[Subnet] = [cidr for nets in peer.not_nets for cidr in nets.cidrs if cidr.version == version]
    holes += [ip_network(address) for address in peer.not_nodes if address.version == version]
    if wanted is None:
        if not holes:
            return [""]
        wanted = [ip_network("0.0.0.0/0" if version == 4 else "::/0")]
    for hole in holes:
        wanted = [part for net in wanted for part in _without(net, hole)]
    return [_cidr(net) for net in sorted(collapse_addresses(wanted))]  # type: ignore[type-var]  # all of one version


def _inside(one: Subnet, other: Subnet) -> bool:
    return one.network_address in other and one.prefixlen >= other.prefixlen


def _without(net: Subnet, hole: Subnet) -> Iterable[Subnet]:
    if _inside(net, hole):
        return ()
    return net.address_exclude(hole) if _inside(hole, net) else (net,)  # type: ignore[arg-type]  # of one version


def _cidr(net: Subnet) -> str:
    """As ovs-ofctl prints it; "" for everything."""
    if not net.prefixlen:
        return ""
    return str(net.network_address) if net.prefixlen == net.max_prefixlen else str(net)


def port_matches(rule: RuleView, peer: PeerView, ports: Iterable[tuple[str, int, int]]) -> list[str]:
    """Numbers and masks that together are the ports that a rule asks for; [""]: any."""
    if rule.protocol not in WITH_PORTS or (peer.ports is None and not peer.not_ports):
        return [""]
    named = {(name, protocol): number for name, protocol, number in ports}

    def spans(some: Iterable[PortMatch]) -> list[tuple[int, int]]:
        found = []
        for port in some:
            if not port.name:
                found.append((port.first, port.last))
            elif (port.name, rule.protocol) in named:
                number = named[port.name, rule.protocol or 0]
                found.append((number, number))
        return found

    wanted = spans(peer.ports) if peer.ports is not None else [(0, 65535)]
    for low, high in spans(peer.not_ports):
        wanted = [
            (first, last)
            for span in wanted
            for first, last in ((span[0], min(span[1], low - 1)), (max(span[0], high + 1), span[1]))
            if first <= last
        ]
    return sorted({mask for first, last in wanted for mask in port_masks(first, last)})


def port_masks(first: int, last: int) -> Iterator[str]:
    """A range as values with masks, as few as there can be; "" for all ports."""
    if (first, last) == (0, 65535):
        yield ""
        return
    while first <= last:
        size = first & -first or 1 << 16
        while size > last - first + 1:
            size >>= 1
        yield str(first) if size == 1 else f"{first:#x}/{0x10000 - size:#x}"
        first += size
