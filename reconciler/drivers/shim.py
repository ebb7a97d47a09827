"""The host's own interface beside its endpoints: without one it cannot reach what rides on its own parent."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace
from pydantic import Field

from reconciler.drivers.parent import Parent
from reconciler.drivers.plug import plug_address
from reconciler.errors import Problem
from reconciler.manifest.model import Model
from reconciler.manifest.types import InterfaceName, IPAddress
from reconciler.resources.link import Link, link_key
from reconciler.resources.linkinfo.info import LinkInfo
from reconciler.resources.resource import Resource
from reconciler.resources.route import Route, route_key
from reconciler.resources.sysctl import Sysctl, sysctl_key
from reconciler.topology.derive import link_local_of, mac_of, short_name
from reconciler.topology.view import NetworkView


class Shim(Model):
    """An interface of the host on the network, with a route to every endpoint of this node."""

    interface: InterfaceName | None = Field(default=None, description="Its name. Default: derived from the network's.")
    addresses: list[IPAddress] = Field(
        description="The host's addresses on the network, one of each family that it has; no endpoint gets them."
    )


def check_shim(network: NetworkView, shim: Shim) -> Iterable[Problem]:
    """What is wrong with it."""
    at = network.at("spec", "options", "shim", "addresses")
    for version in sorted({subnet.cidr.version for subnet in network.subnets}):
        if not any(address.version == version for address in shim.addresses):
            yield Problem(
                at,
                f"network {network.name}: the shim has no IPv{version} address, so endpoints could not answer the host",
                f"add an IPv{version} address of one of the network's subnets",
            )
    for number, address in enumerate(shim.addresses):
        if not any(address in subnet.cidr for subnet in network.subnets):
            yield Problem(
                network.at("spec", "options", "shim", "addresses", number),
                f"network {network.name}: {address} of the shim is in none of its subnets",
                f"write an address of {', '.join(str(subnet.cidr) for subnet in network.subnets)}",
            )


def render_shim(network: NetworkView, shim: Shim, on: Parent, info: LinkInfo, driver: str) -> Iterable[Resource]:
    """The interface; its addresses, which are of the host alone (/32, /128), so that the parent keeps the way to the
    rest of the segment; the routes."""
    origin = replace(network.at("spec", "options", "shim"), driver=driver)
    name = shim.interface or short_name("sh-", "shim", network.name)
    mac = mac_of("shim", network.name)
    yield Link(
        key=link_key("", name),
        origin=origin,
        type=info.type,
        up=True,
        mtu=network.mtu,
        mac=mac if info.type == "macvlan" else None,
        addr_gen="none",
        parent=link_key("", on.name),
        info=info,
    )
    item, value = ("accept_ra", "0") if network.ipv6 else ("disable_ipv6", "1")
    yield Sysctl(key=sysctl_key("", f"net/ipv6/conf/{name}/{item}"), origin=origin, value=value, dev=name)
    if network.ipv6:
        yield plug_address("", name, str(link_local_of(mac)), origin)
    sources: dict[int, str] = {}
    for address in shim.addresses:
        sources.setdefault(address.version, str(address))
        yield plug_address("", name, f"{address}/{address.max_prefixlen}", origin)
    for endpoint in network.local:
        for interface in endpoint.addresses:
            to = f"{interface.ip}/{interface.max_prefixlen}"
            at = replace(endpoint.origin, driver=driver)
            yield Route(key=route_key("", to), origin=at, to=to, dev=name, src=sources.get(interface.version))
