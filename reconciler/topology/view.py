"""The resolved picture of one node: what drivers render from. Frozen, pure, complete: every reference is
followed, every address decided, every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct, field

from reconciler.errors import Origin
from reconciler.manifest.document import Document
from reconciler.sourced import Sourced

if TYPE_CHECKING:
    from reconciler.policy.view import Policies

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Subnet = IPv4Network | IPv6Network


class BlockView(Struct, frozen=True):
    """A part of a subnet that is one node's, so that one route leads to all addresses in it. ``owner`` is for whom it is
    there, where a strategy keeps askers apart; "": for all. ``node`` "": nobody's at present."""

    cidr: Subnet
    node: str
    owner: str = ""


class PoolView(Struct, frozen=True):
    """Addresses for routed networks (IPPool). ``nodes`` are those that get blocks of ``block_length``, at most
    ``max_blocks`` each; ``strict``: they borrow none. ``encapsulation``: never | always | cross-subnet, in a ``tunnel``:
    vxlan | ipip."""

    name: str
    cidr: Subnet
    block_length: int
    nodes: frozenset[str]
    origin: Origin
    max_blocks: int | None = None
    strict: bool = False
    nat: bool = False
    encapsulation: str = "never"
    tunnel: str = "vxlan"
    vni: int = 0
    port: int = 0
    disabled: bool = False


class SubnetView(Struct, frozen=True):
    """One subnet of a network. ``gateway`` is None when the network has none (isolated mode). Subnets of one
    ``segment`` (numbered from 0) share a link layer; most drivers have one only. ``blocks`` are those of all nodes, by
    address, where the driver allocates by blocks."""

    cidr: Subnet
    gateway: Address | None
    range: Subnet
    auxiliary: Mapping[str, Address]
    origin: Origin
    segment: int = 0
    blocks: tuple[BlockView, ...] = ()
    pool: PoolView | None = None


class RouteView(Struct, frozen=True):
    """An extra route inside a sandbox. ``via`` None: on the link itself. ``metric`` 0: the kernel's default."""

    to: Subnet
    via: Address | None
    metric: int
    origin: Origin


class RateView(Struct, frozen=True):
    """``rate`` in bits a second; ``burst`` in KiB, 0: what suits the rate."""

    rate: int
    burst: int


class PublishView(Struct, frozen=True):
    """Ports ``first`` to ``last`` of the host that lead to those from ``to`` on in a sandbox. ``protocol``: tcp | udp |
    sctp. ``addresses`` are the host's; none: all of them."""

    protocol: str
    first: int
    last: int
    to: int
    addresses: tuple[Address, ...]
    origin: Origin


class SandboxView(Struct, frozen=True):
    """A network stack. ``netns`` is what resource keys carry: the sandbox's own name; its container's for
    ``stack: {container: ...}``; ``""`` for the host; ``NAME.HASH`` for a namespace that others made.

    ``stack`` is one of ``netns | none | host | container | path | pid | docker``; ``target`` is the path,
    pid or container name that goes with it. ``made`` says that cnm makes (and removes) the namespace.
    """

    name: str
    node: str
    stack: str
    target: str
    netns: str
    made: bool
    labels: Mapping[str, str]
    sysctls: Mapping[str, str]  # slash form below /proc/sys: net/ipv4/ip_forward
    origin: Origin
    dns_servers: tuple[Address, ...] | None = None  # None: the host's own
    dns_search: tuple[str, ...] = ()
    namespace: str = "default"  # Kubernetes' sense of the word
    ports: tuple[tuple[str, str, int], ...] = ()  # name, protocol, number


_LOCAL = attrgetter("local")


class EndpointView(Sourced, frozen=True):
    """One attachment of a sandbox to a network.

    ``addresses`` carry the subnet's prefix length, IPv4 first. ``gateway4``/``gateway6`` is the next hop of
    the sandbox's default route when this endpoint is its gateway of that family, else None.
    ``local`` is False for endpoints of sandboxes on other nodes (drivers that span hosts render those as peers).
    ``sysctls`` are per interface, relative to ``net/FAMILY/conf/IFNAME``: ``ipv4/rp_filter``.
    """

    aside: ClassVar[frozenset[str]] = frozenset({"document"})

    name: str
    network: str
    sandbox: SandboxView
    interface: str
    mac: str
    mtu: int
    addresses: tuple[Interface, ...]
    link_local: tuple[IPv6Interface, ...]
    gateway4: IPv4Address | None
    gateway6: IPv6Address | None
    routes: tuple[RouteView, ...]
    sysctls: Mapping[str, str]
    aliases: tuple[str, ...]
    labels: Mapping[str, str]
    local: bool
    origin: Origin
    options: Any = None  # the validated EndpointOptions of its network's driver
    guard: bool = True  # its host-side port lets only its own addresses pass as source
    ether_types: tuple[int, ...] = ()  # what the guard lets pass beside IPv4, IPv6 and ARP
    leased: tuple[int, ...] = ()  # IP versions whose addresses others give: 4 by DHCP, 6 by router advertisements
    publish: tuple[PublishView, ...] = ()
    receive: RateView | None = None
    send: RateView | None = None
    connections_in: int | None = None
    connections_out: int | None = None
    dscp: int | None = None
    on_device: tuple[int, ...] = ()  # IP versions whose default route is this interface, without a next hop
    group: str = ""  # the EndpointGroup that it is in
    document: Document | None = None

    def at(self, *path: str | int) -> Origin:
        """Where a part of its manifest is written: ``at("spec", "options", "mode")``."""
        return self.document.at(*path) if self.document is not None else self.origin

    def says(self, *path: str | int) -> bool:
        """Whether its manifest itself has this part of ``spec``, so that it was not derived."""
        return self.document is not None and self.document.says("spec", *path)


class SpeakerView(Struct, frozen=True):
    """How a node speaks BGP. ``reflector``: it passes on what others of its AS tell it (RFC 4456). ``config_file`` and
    ``sockets`` are FRR's. ``include_file``, ``bird_config`` and ``bird_socket`` are those of a BIRD that somebody else runs, ""
    where it is our own."""

    asn: int
    router_id: str
    reflector: bool
    config_file: str
    sockets: str
    cluster_id: str = ""
    include_file: str = ""
    bird_config: str = ""
    bird_socket: str = ""


class NodeView(Struct, frozen=True):
    """A host that the manifests name. ``addresses`` are its underlay addresses."""

    name: str
    addresses: tuple[Address, ...]
    labels: Mapping[str, str]
    origin: Origin
    failsafe_ports: tuple[str, ...] = ("22/tcp",)  # what no policy closes
    bgp: SpeakerView | None = None


class NetworkView(Sourced, frozen=True):
    """A network as this node sees it. ``options`` is the validated ``Options`` model of its driver.

    ``endpoints`` are all endpoints of all nodes, by name; ``sandboxes`` only matter for the networks ``host``
    and ``none``, which exist by themselves. ``allow_from`` are the networks whose endpoints may reach this one.
    ``vnis`` are the virtual network identifiers of its segments, for drivers that have such. ``nodes`` are all hosts.
    ``joined`` is the network of whose switch this one's endpoints are ports.
    """

    aside: ClassVar[frozenset[str]] = frozenset({"document"})

    name: str
    driver: str
    options: Any
    subnets: tuple[SubnetView, ...]
    mtu: int
    internal: bool
    labels: Mapping[str, str]
    endpoints: tuple[EndpointView, ...]
    allow_from: tuple[NetworkView, ...]
    origin: Origin
    sandboxes: tuple[SandboxView, ...] = ()
    names: bool = False  # its endpoints find each other by name
    vnis: tuple[int, ...] = ()
    nodes: tuple[NodeView, ...] = ()
    policy_default: str = "allow"  # what holds for its endpoints where no policy decides: allow or deny
    filtered: bool = False  # policies are about its endpoints: traffic inside the network must pass them too
    joined: NetworkView | None = None
    document: Document | None = None

    def at(self, *path: str | int) -> Origin:
        """Where a part of its manifest is written: ``at("spec", "options", "mode")``."""
        return self.document.at(*path) if self.document is not None else self.origin

    def says(self, *path: str | int) -> bool:
        """Whether its manifest itself has this part of ``spec``, so that it was not derived."""
        return self.document is not None and self.document.says("spec", *path)

    @property
    def local(self) -> tuple[EndpointView, ...]:
        """The endpoints on this node."""
        return tuple(filter(_LOCAL, self.endpoints))

    @property
    def ipv4(self) -> bool:
        return any(subnet.cidr.version == 4 for subnet in self.subnets)

    @property
    def ipv6(self) -> bool:
        return any(subnet.cidr.version == 6 for subnet in self.subnets)


class HostRoute(Struct, frozen=True):
    """A route of the host that is not ours: what an automatic or explicit subnet must not cover. ``daemon``: a routing
    daemon's (BIRD, zebra)."""

    to: str
    dev: str
    daemon: bool = False


class HostSocket(Struct, frozen=True):
    """A port of the host on which somebody else listens. ``address`` is ``::`` too for what takes both families
    (``both``)."""

    protocol: str
    address: str
    port: int
    both: bool = False


class HostLink(Struct, frozen=True):
    """An interface of the host that is not ours. ``type`` is the kernel's kind, "" for hardware; ``addresses`` are
    its global ones, with prefix length; ``parent`` is the interface of the host that it rides on, ``master`` the one
    that it is a port of, "" for none; ``device`` is the hardware's place, like pci/0000:01:00.0; ``mode`` is what kinds
    that ride on a parent may share, as the kernel words it."""

    name: str
    type: str
    mtu: int
    addresses: tuple[str, ...] = ()
    parent: str = ""
    device: str = ""
    master: str = ""
    mode: str = ""
    up: bool = True


class PhysicalFunction(Struct, frozen=True):
    """A NIC that can have virtual functions. ``vfs`` are those that it has now, ``limit`` how many it can have.
    ``used`` are (number, whose): ``NETWORK/ENDPOINT`` for what we gave away, else what the host says of it."""

    pf: str
    device: str
    vendor: str
    product: str
    driver: str
    vfs: int
    limit: int
    used: tuple[tuple[int, str], ...] = ()


class NodeFacts(Struct, frozen=True):
    """What checking and rendering may know of the host: read once, saved in snapshots, no secrets.

    ``ra_links`` are interfaces whose default route came from a router advertisement. ``uplink_mtu`` is the
    smallest MTU of the links that carry a default route (1500 when there is none).
    """

    name: str = ""
    owner: str = "cnm"
    kernel: str = ""
    capabilities: frozenset[str] = field(default=frozenset())
    ra_links: tuple[str, ...] = ()
    uplink_mtu: int = 1500
    routes: tuple[HostRoute, ...] = ()
    nameservers: tuple[str, ...] = ()
    links: tuple[HostLink, ...] = ()
    functions: tuple[PhysicalFunction, ...] = ()
    sockets: tuple[HostSocket, ...] = ()


class GroupView(Sourced, frozen=True):
    """An EndpointGroup. ``members`` are the names of its endpoints on its network, of all nodes; ``nodes`` those that
    have one. ``vlan`` 0: none. ``provides`` and ``consumes`` are the names of Contracts."""

    aside: ClassVar[frozenset[str]] = frozenset({"document"})

    name: str
    network: str
    members: tuple[str, ...]
    nodes: tuple[str, ...]
    vlan: int
    application: str
    provides: tuple[str, ...]
    consumes: tuple[str, ...]
    origin: Origin
    document: Document


class TenantView(Sourced, frozen=True):
    """A Tenant with its groups, by name. ``fabric`` is the AciFabric that carries it, "" for none; ``fabric_name`` and
    ``vrf`` are what it and its VRF are called there; ``existing``: others made it there."""

    aside: ClassVar[frozenset[str]] = frozenset({"document"})

    name: str
    networks: tuple[str, ...]
    groups: tuple[GroupView, ...]
    fabric: str
    fabric_name: str
    vrf: str
    existing: bool
    origin: Origin
    document: Document


class Topology(Struct, frozen=True):
    """Everything, resolved, for ``node``. Tuples are sorted by name, so that what follows is deterministic."""

    node: str
    nodes: tuple[NodeView, ...]
    networks: tuple[NetworkView, ...]
    sandboxes: tuple[SandboxView, ...]  # those on this node
    others: tuple[Document, ...] = ()  # documents of the kinds that features own
    facts: NodeFacts = NodeFacts()  # empty where no host was looked at
    policies: Policies | None = None  # who may reach whom, where anything is said about it
    tenants: tuple[TenantView, ...] = ()

    def documents(self, kind: str) -> tuple[Document, ...]:
        """The documents of a kind that is a feature's own, by name."""
        return tuple(document for document in self.others if document.kind == kind)

    def tenant_of(self, network: str) -> TenantView | None:
        """The tenant that a network belongs to."""
        return next((tenant for tenant in self.tenants if network in tenant.networks), None)

    def fabric_of(self, network: str) -> str:
        """The fabric that carries a network and routes between it and others; "" for none."""
        tenant = self.tenant_of(network)
        return tenant.fabric if tenant is not None else ""

    def network(self, name: str) -> NetworkView:
        return next(network for network in self.networks if network.name == name)
