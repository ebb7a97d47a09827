"""What a driver is. A driver is one file in this package that defines a class and ``DRIVER = ThatClass()``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import ClassVar, Protocol, TypeGuard

from msgspec import Struct

from reconciler.errors import Origin, Problem
from reconciler.resources.link import BridgePort
from reconciler.resources.resource import Resource
from reconciler.topology.options import EndpointOptions, NetworkOptions
from reconciler.topology.view import Address, EndpointView, NetworkView, NodeFacts, Subnet, Topology


class Place(StrEnum):
    """Where packets of a driver's endpoints can be filtered."""

    HOST = "host"  # they pass the host's own hooks
    SANDBOX = "sandbox"  # they never do (macvlan, ipvlan): only inside the sandbox's namespace
    DRIVER = "driver"  # the driver makes filters of its own from the policies (OVN's ACLs, VPP's)
    NOWHERE = "nowhere"


class Publishing(Struct, frozen=True):
    """How a network's endpoints are reached by the host's addresses. ``behind`` says of each endpoint on this node behind
    which interface of the host it is; ``modes`` say it by IP version: nat | nat-unprotected | routed | isolated;
    ``addresses`` are the host's that ports are published on where an endpoint names none (none: all)."""

    behind: Mapping[str, str]
    modes: Mapping[int, str]
    addresses: tuple[Address, ...] = ()


class Announcing(Struct, frozen=True):
    """What this node tells others of a network by BGP. ``whole`` are routes of the node that are announced as they are,
    while nothing inside them is; any other route of the node inside ``parts`` is announced too, ``hosts`` are those of them
    that there are. ``originated``: prefixes that the node announces without a route to them. ``tunnelled``: prefixes to which the
    driver makes routes of its own: none is taken from BGP."""

    whole: tuple[Subnet, ...] = ()
    parts: tuple[Subnet, ...] = ()
    hosts: tuple[Subnet, ...] = ()
    originated: tuple[Subnet, ...] = ()
    tunnelled: tuple[Subnet, ...] = ()


class SwitchPort(Struct, frozen=True):
    """How an interface of the host becomes a port of a network's switch. ``master`` is its Linux bridge and ``port`` what the
    interface has there; both None where another kind of switch takes it. ``beside`` is what must be there as well: the
    switch itself, its VLANs on that port."""

    master: str | None = None
    port: BridgePort | None = None
    beside: tuple[Resource, ...] = ()


class Driver(Protocol):
    """Pure: a topology in, resources out. No socket, no file, no clock, no randomness."""

    name: ClassVar[str]
    summary: ClassVar[str]  # one line for tables and `cnm doctor`
    capabilities: ClassVar[frozenset[str]]  # what the host must have in any case: link:bridge, nft, link:ipvlan, ovsdb
    Options: ClassVar[type[NetworkOptions]]  # what Network.spec.options may hold, strict, every field described
    EndpointOptions: ClassVar[type[EndpointOptions]]  # the same for Endpoint.spec.options

    def check(self, network: NetworkView, topology: Topology) -> Iterable[Problem]:
        """What is wrong with this network for this driver, beyond types and references. All of it at once."""

    def render(self, network: NetworkView, node: NodeFacts) -> Iterable[Resource]:
        """Everything that this network needs on this node, its local endpoints included; order does not matter."""

    def requires(self, network: NetworkView) -> frozenset[str]:
        """What the host must have for this very network: ``capabilities`` and what its options ask for."""

    def host_interface(self, network: NetworkView) -> str | None:
        """The host-side interface that this network's traffic passes, if there is one (for ``allowFrom``)."""


def place_of(driver: Driver, network: NetworkView) -> Place:
    """Where this network's endpoints are filtered. A driver says so by an attribute ``place`` (a :class:`Place`), or
    a method of that name that is given the network; without one its host-side interface, or the lack of it, says it."""
    said = getattr(driver, "place", None)
    if callable(said):
        return Place(said(network))
    if said is not None:
        return Place(said)
    return Place.HOST if driver.host_interface(network) is not None else Place.SANDBOX


def host_port(driver: Driver, network: NetworkView, endpoint: EndpointView) -> str | None:
    """The Linux bridge's port on the host through which an endpoint's frames come in, for the guard there. A driver
    that has one says so by a method ``host_port(network, endpoint)``."""
    said = getattr(driver, "host_port", None)
    return said(network, endpoint) if said is not None else None


def publishing(driver: Driver, network: NetworkView) -> Publishing | None:
    """How ports are published on this network; None: they cannot be. A driver that can says so by a method
    ``publishing(network)``."""
    said = getattr(driver, "publishing", None)
    return said(network) if said is not None else None


def announcing(driver: Driver, network: NetworkView, node: str) -> Announcing | None:
    """What node ``node`` announces of this network by BGP; None: its routes are nobody else's business. A driver whose
    networks are routed says so by a method ``announcing(network, node)``."""
    said = getattr(driver, "announcing", None)
    return said(network, node) if said is not None else None


class Switching(Driver, Protocol):
    """A driver whose networks have switches on the host, of which other interfaces can be ports."""

    def switch_port(
        self, network: NetworkView, interface: str, node: NodeFacts, origin: Origin, trunk: tuple[int, ...]
    ) -> SwitchPort:
        """How ``interface`` becomes one; VLANs of ``trunk`` come with their tags besides."""


def has_switch(driver: Driver) -> TypeGuard[Switching]:
    """Whether it is such a driver: it says so by having the method."""
    return hasattr(driver, "switch_port")


def switch_port(
    driver: Driver, network: NetworkView, interface: str, node: NodeFacts, origin: Origin, trunk: tuple[int, ...] = ()
) -> SwitchPort:
    """How ``interface`` becomes a port of this network's switch, see :class:`Switching`."""
    assert has_switch(driver), driver.name  # checked when planning
    return driver.switch_port(network, interface, node, origin, trunk)


def holds_rates(driver: Driver) -> bool:
    """Whether the driver itself holds what its endpoints send and receive, and sets their DSCP, where it switches. It says
    so by an attribute of that name."""
    return bool(getattr(driver, "holds_rates", False))
