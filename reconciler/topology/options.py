"""What drivers' options can say to whoever resolves documents: base classes with the answers of most drivers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

from reconciler.manifest.model import Model
from reconciler.topology.allocate import Asker, Pool
from reconciler.topology.groups import Layout, assign, lay_out
from reconciler.topology.view import NodeFacts, NodeView, Subnet, SubnetView

DEFAULT_MTU = 1500

Gateway = Literal["first", "written", "never", "device", "hop"]


class NetworkOptions(Model):
    """Options of a driver. Subclasses add fields, and override what is otherwise for them."""

    def gateway(self, version: int) -> Gateway:
        """Which gateway address a subnet of this IP version has: ``first``: the first free address when the manifest
        names none; ``written``: only the one that it names; ``never``: none at all; ``device``: none either, the
        default route of an endpoint goes out of its interface as it is; ``hop``: none, it goes to :meth:`hop`."""
        return "first"

    def hop(self, version: int) -> IPv4Address | IPv6Address | None:
        """The next hop of an endpoint's default route where that is an address of no subnet."""
        return None

    def pooled(self) -> bool:
        """Whether subnets that the manifest does not name come from IPPools."""
        return False

    def routed(self) -> bool:
        """Whether routing daemons tell this host of parts of the subnets: then their routes are no clash."""
        return False

    def length(self, cidr: Subnet) -> int:
        """The prefix length of an endpoint's address of a subnet."""
        return cidr.prefixlen

    def reserved(self) -> Iterable[IPv4Address | IPv6Address]:
        """Addresses that the driver itself takes: no endpoint gets one of them."""
        return ()

    def pools(
        self, subnets: Sequence[SubnetView], nodes: Sequence[NodeView], locked: Mapping[str, tuple[str, ...]]
    ) -> list[Pool]:
        """Where the addresses of these subnets come from, a pool each: a driver's way to allocate is a subclass of
        :class:`Pool`. ``locked`` is what the lock file says of blocks: CIDR to node and, where there is one, owner."""
        taken = {int(address) for address in self.reserved()}
        return [Pool(subnet, set(taken)) for subnet in subnets]

    def choose(self, pools: Sequence[Pool], asker: Asker) -> int | None:
        """Reserve an address of one of these pools, which are of one family; None when there is none."""
        return next((number for pool in pools if (number := pool.lowest(asker)) is not None), None)

    def faults(self, subnets: Sequence[Subnet]) -> Iterable[tuple[tuple[str | int, ...], str, str]]:
        """What of these options does not fit the network's subnets, so that no address can be chosen: (place below
        ``spec.options``, what is wrong, what to write instead)."""
        return ()

    def layout(
        self, subnets: Sequence[SubnetView], nodes: Sequence[NodeView], blocks: Iterable[tuple[Subnet, str]]
    ) -> Layout:
        """Which groups of nodes have which parts of the subnets, and which node is in which; ``blocks`` are (CIDR, node)
        of what was given already."""
        return assign(lay_out((), None, [subnet.cidr for subnet in subnets]), nodes, blocks)

    def domain(self) -> str:
        """The routing domain: networks of different ones may have the same subnets. "": the host's own routing table."""
        return ""

    def leases(self) -> bool:
        """Whether endpoints can have addresses by DHCP and from router advertisements: somebody else is on the segment."""
        return False

    def joins(self) -> str | None:
        """Another network, of whose switch this one's endpoints become ports: both are one link layer, and may have one subnet."""
        return None

    def shares(self) -> frozenset[str]:
        """Interfaces of the host that are on this network as well: that they have routes to its subnets is no clash."""
        return frozenset()

    def segment(self, cidr: Subnet, number: int) -> int:
        """Which of the network's link layers a subnet is on; ``number`` are the subnets of its family before it."""
        return 0

    def vni(self, segment: int) -> int | None:
        """The virtual network identifier of a segment; 0: one shall be chosen and kept in the lock file; None: this
        driver has no such thing."""
        return None

    def default_mtu(self, facts: NodeFacts, node: NodeView | None, subnets: Sequence[SubnetView]) -> int:
        """The MTU in bytes of a network whose manifest says none. ``node`` is this host's Node document."""
        return min(DEFAULT_MTU, facts.uplink_mtu)


class EndpointOptions(Model):
    """Options that an endpoint has on a network of a driver: most drivers know none."""
