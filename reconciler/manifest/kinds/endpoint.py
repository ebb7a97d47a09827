"""Endpoint: a sandbox's interface on a network."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from reconciler.manifest.model import DocumentModel, Model, once
from reconciler.manifest.types import Cidr, InterfaceName, IPAddress, Mac, Mtu, Name, SysctlName, SysctlValue


class Route(Model):
    """One extra route in the sandbox, through this endpoint."""

    to: Cidr = Field(description="Destination, like 10.0.0.0/8.")
    via: IPAddress | None = Field(default=None, description="Next hop. Default: directly on the link.")
    metric: Annotated[int, Field(ge=0, le=4294967295)] = Field(
        default=0, description="Route metric; lower wins. 0: the kernel's default."
    )


_RANGE = re.compile(r"([1-9][0-9]{0,4})-([1-9][0-9]{0,4})\Z")


def _ports(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535:
        return value
    if isinstance(value, str):
        found = _RANGE.match(value)
        if found and int(found[1]) <= int(found[2]) <= 65535:
            return value
    raise ValueError(f"{value!r} is not a port: write a number from 1 to 65535, or a range like '8000-8009'")


Ports = Annotated[
    int | str,
    BeforeValidator(_ports),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 65535},
                {"type": "string", "pattern": "^[1-9][0-9]{0,4}-[1-9][0-9]{0,4}$"},
            ]
        }
    ),
]


class Publish(Model):
    """Ports of the sandbox that are reached by the host's addresses."""

    port: Ports | list[Ports] = Field(
        description="Ports in the sandbox: a number, a range like 8000-8009, or a list of these."
    )
    host_port: Ports | list[Ports] | None = Field(
        default=None, description="Ports of the host, as many and in the same order. Default: the same numbers."
    )
    protocol: Literal["tcp", "udp", "sctp"] = Field(default="tcp", description="The protocol.")
    host_addresses: list[IPAddress] = Field(
        default=[], description="Addresses of the host, of either family. Default: all, IPv4 and IPv6 alike."
    )


_UNITS = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}  # as in tc(8): powers of ten
_BITS = re.compile(r"([1-9][0-9]{0,8})(bit|kbit|mbit|gbit)\Z")


def bits(rate: str) -> int:
    """Bits a second of ``10mbit``. Raises ValueError."""
    found = _BITS.match(rate)
    if not found or not 8000 <= int(found[1]) * _UNITS[found[2]] <= 10**11:
        raise ValueError(
            f"{rate!r} is not a rate: write one like '500kbit', '10mbit' or '1gbit', from 8kbit to 100gbit"
        )
    return int(found[1]) * _UNITS[found[2]]


def _bits(value: str) -> str:
    bits(value)
    return value


BitRate = Annotated[
    str, AfterValidator(_bits), WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]{0,8}(bit|kbit|mbit|gbit)$"})
]


class Rate(Model):
    """A token bucket."""

    rate: BitRate = Field(description="Bits a second, like 10mbit (units of tc(8): powers of ten).")
    burst: Annotated[int, Field(ge=0, le=1048576)] = Field(
        default=0, description="KiB that may pass at once. 0: what suits the rate, a hundredth of a second."
    )


class Rates(Model):
    """How fast an endpoint may be."""

    receive: Rate | None = Field(default=None, description="What it receives; on networks with a host side.")
    send: Rate | None = Field(default=None, description="What it sends; held inside the sandbox.")
    connections_in: Annotated[int, Field(ge=1, le=4294967295)] | None = Field(
        default=None, description="How many connections others may have open to it at once, through the host."
    )
    connections_out: Annotated[int, Field(ge=1, le=4294967295)] | None = Field(
        default=None, description="How many connections it may have open to others at once, through the host."
    )
    dscp: Annotated[int, Field(ge=0, le=63)] | None = Field(
        default=None, description="The DSCP (RFC 2474) of what it sends through the host: 46 is expedited forwarding."
    )


class EndpointSpec(Model):
    """Where this endpoint is plugged in and who it is there."""

    network: Name = Field(description="Name of the network.")
    sandbox: Name = Field(description="Name of the sandbox.")
    interface: InterfaceName | None = Field(
        default=None,
        description="Interface name inside the sandbox. Default: eth0, eth1, ... in order of endpoint names.",
    )
    addresses: Literal["auto", "dhcp", "slaac"] | list[IPAddress | Literal["dhcp", "slaac"]] = Field(
        default="auto",
        description=(
            "Static addresses, one or more; auto (default): one of each family that the network has, "
            "kept in the lock file. A family without a static address gets an automatic one. dhcp: the IPv4 address, "
            "routes and name servers come from the segment's DHCP server, by a client of the endpoint's own that gives "
            "the lease back at its end; slaac: the IPv6 addresses and the default route follow from router "
            "advertisements. Both as well in the list."
        ),
    )
    link_local: list[IPAddress] = Field(
        default=[], description="IPv6 link-local addresses instead of the one derived from the MAC address."
    )
    mac: Mac | None = Field(default=None, description="MAC address. Default: derived from network and endpoint name.")
    mtu: Mtu | None = Field(default=None, description="MTU of this endpoint in bytes. Default: the network's.")
    aliases: list[Name] = Field(default=[], description="Further names by which peers on this network find it.")
    publish: list[Publish] = Field(
        default=[],
        description="Ports that are reached by the host's addresses. Only on the endpoint that carries the sandbox's default route.",
    )
    rates: Rates = Field(default_factory=once(Rates), description="How fast it may be. Default: as fast as it goes.")
    gateway_priority: Annotated[int, Field(ge=-2147483648, le=2147483647)] = Field(
        default=0, description="The sandbox's default route goes through the endpoint with the highest priority."
    )
    routes: list[Route] = Field(default=[], description="Extra routes in the sandbox through this endpoint.")
    sysctls: dict[SysctlName, SysctlValue] = Field(
        default={},
        description="Sysctls of this interface with IFNAME in the interface's place, like net.ipv4.conf.IFNAME.rp_filter: 0.",
    )
    guard: bool = Field(
        default=True,
        description="On the host's side only its own MAC and addresses pass as source, no router advertisements, no "
        "DHCP server's packets, and no protocols but IPv4, IPv6 and ARP. False: anything passes.",
    )
    ether_types: list[Annotated[int, Field(ge=0x0600, le=0xFFFF)]] = Field(
        default=[], description="Further EtherTypes that the guard lets pass, by number (35020 is LLDP)."
    )
    options: dict[str, Any] = Field(default={}, description="Options of the network's driver for one endpoint.")


class Endpoint(DocumentModel):
    """A sandbox's interface on a network. Its name is unique in its network."""

    kind: Literal["Endpoint"] = Field(description="Endpoint")
    spec: EndpointSpec = Field(description="Where this endpoint is plugged in and who it is there.")


KIND = Endpoint
SCOPE = ("spec", "network", "")
EXAMPLE = """\
apiVersion: cnm/v1alpha1
kind: Endpoint
metadata: {name: shop}
spec:
  network: web
  sandbox: shop
  interface: eth0
  addresses: [172.20.0.10, "2001:db8:20::10"]
  aliases: [store]
  publish:
    - {port: 80, hostPort: 8080}
    - {port: [53, 5000-5009], protocol: udp, hostAddresses: [192.0.2.10]}
  rates: {receive: {rate: 100mbit}, send: {rate: 20mbit, burst: 64}, connectionsIn: 500, dscp: 46}
  gatewayPriority: 10
  routes:
    - {to: 10.8.0.0/16, via: 172.20.0.9}
  sysctls: {net.ipv4.conf.IFNAME.rp_filter: 1}
"""
