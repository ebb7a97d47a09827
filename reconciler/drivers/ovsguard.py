"""The guard of a bridge on Open vSwitch: what a port lets in carries its endpoint's own addresses, and nothing that only routers
and servers may say. The same promises as of :mod:`reconciler.features.guard`, as flows, on either datapath.

::

    table 0  ports    100  in_port, its MAC and one of its addresses (IPv4, IPv6, ARP's sender): -> 1
                       10  in_port: dropped where it is guarded; -> 3 where it is not, and has rates
                        0  NORMAL                     (as the bridge has it by itself, until somebody flushes its flows)
    table 1  forged        VLAN tags, router advertisements, redirects, DHCP servers, no address but to ask for one: dropped
                           neighbour advertisement: -> 2, all else -> 3
    table 2  targets  100  in_port, one of its addresses as target: -> 3; all else is dropped
    table 3  rates         ovsrates.py; NORMAL

Flows name ports, so they come right after a port and go right before it. What comes in by a port that is on other VLANs than one
is of other networks, whose addresses nobody here knows: it has no guard.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reconciler.drivers.ovsoptions import SwitchEndpointOptions, SwitchOptions
from reconciler.drivers.ovsrates import RATES, flows_are_ours
from reconciler.errors import Origin
from reconciler.resources.ovs_flow import OvsFlow, flow_key
from reconciler.resources.resource import Resource
from reconciler.topology.view import EndpointView, NetworkView

_PORTS, _FORGED, _TARGETS = 0, 1, 2
_TAGGED = "vlan_tci=0x1000/0x1000"
_TAGS = frozenset((0x8100, 0x88A8))  # EtherTypes of VLAN tags: flows know them as a tag, and what is in it as the type
_ASKING = (131, 132, 135, 143)  # of ICMPv6, also from no address: multicast listeners, is an address free (RFC 4862)


def guarded(network: NetworkView, endpoint: EndpointView) -> bool:
    """Whether flows of ours can and shall guard this endpoint's port."""
    options: SwitchOptions = network.options
    own: SwitchEndpointOptions = endpoint.options
    return endpoint.guard and flows_are_ours(options) and not own.trunks and own.vlan_mode in (None, "access")


def guard_port(
    bridge: str, port: str, network: NetworkView, endpoint: EndpointView, origin: Origin
) -> Iterable[Resource]:
    """The flows of a guarded port, and those that all of a bridge have in common."""
    if not guarded(network, endpoint):
        return
    shared = Origin(document=f"bridge {bridge}", driver=origin.driver)
    for priority, match, actions in _forged():
        yield OvsFlow(key=flow_key(bridge, _FORGED, priority, match), origin=shared, actions=actions)
    yield OvsFlow(key=flow_key(bridge, RATES, 0), origin=shared, actions="NORMAL")
    yield OvsFlow(key=flow_key(bridge, _PORTS, 10, f"in_port={port}"), origin=origin, actions="drop")
    for match, table in _own(port, endpoint, ipv6=network.ipv6):
        key = flow_key(bridge, _PORTS, 100, match)
        yield OvsFlow(key=key, origin=origin, actions=f"resubmit(,{table})")
    for match in _targets(port, endpoint):
        key = flow_key(bridge, _TARGETS, 100, match)
        yield OvsFlow(key=key, origin=origin, actions=f"resubmit(,{RATES})")


def _forged() -> Iterator[tuple[int, str, str]]:
    """(priority, match, actions): what nobody may say."""
    yield 200, _TAGGED, "drop"
    for kind in (134, 137):
        yield 100, f"icmp6,icmp_type={kind}", "drop"
    for family, server, client in (("udp", 67, 68), ("udp6", 547, 546)):
        yield 100, f"{family},tp_src={server},tp_dst={client}", "drop"
    for kind in _ASKING:
        yield 90, f"icmp6,ipv6_src=::,icmp_type={kind}", f"resubmit(,{RATES})"
    yield 80, "ipv6,ipv6_src=::", "drop"
    yield 70, "icmp6,icmp_type=136", f"resubmit(,{_TARGETS})"
    yield 0, "", f"resubmit(,{RATES})"


def _own(port: str, endpoint: EndpointView, *, ipv6: bool) -> Iterator[tuple[str, int]]:
    """(match, table that follows) of what carries its own addresses. A leased address is not known: any of that version."""
    start = f"in_port={port},dl_src={endpoint.mac}"
    addresses = [str(address.ip) for address in (*endpoint.addresses, *endpoint.link_local)]
    for address in addresses if 4 not in endpoint.leased else []:
        if ":" not in address:
            yield f"ip,{start},nw_src={address}", _FORGED
            yield f"arp,{start},arp_sha={endpoint.mac},arp_spa={address}", _FORGED
    if 4 in endpoint.leased:
        yield f"ip,{start}", _FORGED
        yield f"arp,{start},arp_sha={endpoint.mac}", _FORGED
    elif any(":" not in address for address in addresses):
        yield f"arp,{start},arp_sha={endpoint.mac},arp_spa=0.0.0.0", _FORGED  # a probe (RFC 5227)
    if 6 in endpoint.leased:
        yield f"ipv6,{start}", _FORGED
    elif ipv6:
        for address in [*(address for address in addresses if ":" in address), "::"]:
            yield f"ipv6,{start},ipv6_src={address}", _FORGED
    for kind in endpoint.ether_types:
        if kind in _TAGS:
            yield f"{start},{_TAGGED}", RATES
        else:
            yield f"{start},dl_type={kind:#06x}", _FORGED


def _targets(port: str, endpoint: EndpointView) -> Iterator[str]:
    """Matches of advertisements for its own addresses. The code is said as well: without it, Open vSwitch up to 3.2.1 leaves
    the target out of what it tells the kernel's datapath (CVE-2023-5366)."""
    if 6 in endpoint.leased:
        yield f"icmp6,in_port={port},icmp_type=136"
        return
    for address in (*endpoint.addresses, *endpoint.link_local):
        if address.version == 6:
            yield f"icmp6,in_port={port},icmp_type=136,icmp_code=0,nd_target={address.ip}"
