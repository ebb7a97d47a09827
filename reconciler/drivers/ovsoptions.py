"""What manifests may say of a bridge of Open vSwitch, of its ports that are no endpoint's, and of endpoints on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal

from pydantic import Field

from reconciler.manifest.model import Model
from reconciler.manifest.types import InterfaceName, IPAddress, Mac
from reconciler.topology.options import DEFAULT_MTU, EndpointOptions, Gateway, NetworkOptions
from reconciler.topology.view import NodeFacts, NodeView, SubnetView

Vlan = Annotated[int, Field(ge=1, le=4094)]
VlanMode = Literal["access", "trunk", "native-tagged", "native-untagged", "dot1q-tunnel"]
Protocol = Literal["OpenFlow10", "OpenFlow11", "OpenFlow12", "OpenFlow13", "OpenFlow14", "OpenFlow15"]
TunnelType = Literal["vxlan", "geneve", "gre"]
# Bytes that a tunnel adds to an IPv4 packet's size; 20 more over IPv6.
_OVERHEAD = {"vxlan": 50, "geneve": 50, "gre": 42}


class Tagged(Model):
    """How a port takes part in VLANs."""

    vlan: Vlan | None = Field(
        default=None, description="VLAN of untagged frames: the port is an access port, or with trunks its native VLAN."
    )
    trunks: list[Vlan] = Field(default=[], description="VLANs that pass tagged. Default without vlan: all of them.")
    vlan_mode: VlanMode | None = Field(
        default=None,
        description="How vlan and trunks are meant (ovs-vswitchd.conf.db(5), vlan_mode). Default: follows.",
    )


class Uplink(Tagged):
    """A port on interfaces that the host has: one, or several that are bonded."""

    interfaces: list[InterfaceName] = Field(
        min_length=1, description="The host's interfaces. They lose what IP they had."
    )
    name: InterfaceName | None = Field(
        default=None, description="The port's name. Default: the interface's, if it is one."
    )
    bond_mode: Literal["active-backup", "balance-slb", "balance-tcp"] | None = Field(
        default=None, description="How several interfaces share the load. Default: active-backup."
    )
    lacp: Literal["off", "passive", "active"] | None = Field(default=None, description="LACP (802.1AX). Default: off.")
    bond_up_delay: Annotated[int, Field(ge=0, le=60000)] = Field(
        default=0, description="Milliseconds that a link must be up before it is used."
    )
    bond_down_delay: Annotated[int, Field(ge=0, le=60000)] = Field(
        default=0, description="Milliseconds that a link must be down before it is given up."
    )


class PatchPort(Tagged):
    """A cable to another bridge of the same switch."""

    bridge: InterfaceName = Field(description="The other bridge: a network's of this driver, or somebody else's.")
    remote_vlan: Vlan | None = Field(default=None, description="The VLAN of untagged frames at the other end.")


class Tunnel(Tagged):
    """A port that leads to another host."""

    type: TunnelType = Field(default="vxlan", description="vxlan | geneve | gre.")
    remote: IPAddress = Field(description="The other host's address.")
    local: IPAddress | None = Field(default=None, description="Source address. Default: what the routing table says.")
    key: Annotated[int, Field(ge=0, le=4294967295)] | None = Field(
        default=None, description="VNI or key, the same at both ends. Default: none (0)."
    )
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        default=None, description="UDP port of vxlan (4789) and geneve (6081)."
    )


class Mesh(Model):
    """A tunnel to each other node that has endpoints of this network."""

    type: TunnelType = Field(default="vxlan", description="vxlan | geneve | gre.")
    key: Annotated[int, Field(ge=1, le=4294967295)] = Field(description="VNI or key, one a network.")
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        default=None, description="UDP port of vxlan (4789) and geneve (6081)."
    )


class Controller(Model):
    """Who may put flows into the bridge."""

    target: Annotated[str, Field(pattern=r"^p?(tcp|ssl|unix):\S+$", max_length=200)] = Field(
        description="tcp:ADDRESS:PORT, ssl:ADDRESS:PORT, unix:FILE; with a p in front: listens there (ovs-vsctl(8))."
    )
    connection_mode: Literal["in-band", "out-of-band"] | None = Field(
        default=None, description="Whether it is reached through the bridge itself. Default: in-band."
    )
    inactivity_probe: Annotated[int, Field(ge=0, le=3600000)] | None = Field(
        default=None, description="Milliseconds of silence after which it is asked; 0: never. Default: 5000."
    )
    max_backoff: Annotated[int, Field(ge=1000, le=3600000)] | None = Field(
        default=None, description="Longest time in milliseconds between two attempts to connect. Default: 8000."
    )


class Mirror(Model):
    """Copies of what passes. Endpoints are this network's, by name; uplinks by their port's name."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,63}$")] = Field(description="The mirror's name.")
    all: bool = Field(default=False, description="Everything that passes the bridge.")
    received_from: list[str] = Field(default=[], description="What comes in from these endpoints or uplinks.")
    sent_to: list[str] = Field(default=[], description="What goes out to these endpoints or uplinks.")
    vlans: list[Vlan] = Field(default=[], description="Only what is in these VLANs. Default: any.")
    output: str | None = Field(
        default=None, description="The endpoint or uplink that gets the copies, and nothing else."
    )
    output_vlan: Vlan | None = Field(default=None, description="Or a VLAN in which they are sent on.")
    snaplen: Annotated[int, Field(ge=14, le=65535)] | None = Field(
        default=None, description="Bytes of each packet that are copied. Default: all."
    )


class HostPort(Model):
    """An interface of the host itself on the network."""

    interface: InterfaceName | None = Field(default=None, description="Its name. Default: derived from the network's.")
    addresses: list[IPAddress] = Field(
        min_length=1,
        description="The host's addresses on the network; no endpoint gets them. One that is a subnet's "
        "gateway makes the host its router.",
    )


class SwitchOptions(NetworkOptions):
    """Options of every driver on Open vSwitch."""

    bridge: InterfaceName | None = Field(
        default=None,
        description="Name of the bridge; networks with different VLANs can share one. Default: br-NETWORK, shortened where needed.",
    )
    existing: bool = Field(
        default=False,
        description="True: use a bridge that somebody else made, as it is; only ports of ours are added to it and removed.",
    )
    vlan: Vlan | None = Field(
        default=None, description="VLAN of the network's endpoints on the bridge. Default: untagged."
    )
    inter_container: bool = Field(default=True, description="False: endpoints of this network cannot reach each other.")
    fail_mode: Literal["standalone", "secure"] = Field(
        default="standalone",
        description="Without a controller that answers: standalone: a learning switch; secure: only flows that are there.",
    )
    protocols: list[Protocol] = Field(default=[], description="OpenFlow versions that are spoken. Default: all.")
    controllers: list[Controller] = Field(default=[], description="OpenFlow controllers.")
    stp: bool = Field(default=False, description="Spanning tree protocol (802.1D-1998).")
    rstp: bool = Field(default=False, description="Rapid spanning tree protocol (802.1D-2004).")
    priority: Annotated[int, Field(ge=0, le=61440, multiple_of=4096)] | None = Field(
        default=None, description="The bridge's spanning tree priority. Default: 32768."
    )
    forward_delay: Annotated[int, Field(ge=4, le=30)] | None = Field(
        default=None, description="Spanning tree forward delay in seconds. Default: 15."
    )
    hello_time: Annotated[int, Field(ge=1, le=10)] | None = Field(
        default=None, description="Spanning tree hello time in seconds (STP only: in RSTP it is 2). Default: 2."
    )
    max_age: Annotated[int, Field(ge=6, le=40)] | None = Field(
        default=None, description="Spanning tree maximum message age in seconds. Default: 20."
    )
    mac: Mac | None = Field(default=None, description="MAC address of the bridge. Default: derived from its name.")
    mac_table_size: Annotated[int, Field(ge=10, le=1000000)] | None = Field(
        default=None, description="Learned MAC addresses that are kept. Default: 8192."
    )
    mac_aging_time: Annotated[int, Field(ge=15, le=3600)] | None = Field(
        default=None, description="Seconds after which a learned MAC address is forgotten. Default: 300."
    )
    multicast_snooping: bool = Field(default=False, description="IGMP and MLD snooping.")
    multicast_aging_time: Annotated[int, Field(ge=15, le=3600)] | None = Field(
        default=None,
        description="Seconds after which a multicast group that nobody confirms is forgotten. Default: 300.",
    )
    multicast_table_size: Annotated[int, Field(ge=1, le=1000000)] | None = Field(
        default=None, description="Multicast groups that are kept. Default: 2048."
    )
    multicast_flood_unregistered: bool = Field(
        default=True, description="With snooping: groups that nobody joined go to all ports."
    )
    uplinks: list[Uplink] = Field(default=[], description="Ports on interfaces of the host.")
    patches: list[PatchPort] = Field(default=[], description="Cables to other bridges of this switch.")
    tunnels: list[Tunnel] = Field(default=[], description="Ports to other hosts.")
    mesh: Mesh | None = Field(
        default=None, description="Tunnels between all nodes that have endpoints of this network."
    )
    mirrors: list[Mirror] = Field(default=[], description="Copies of what passes.")
    host: HostPort | None = Field(default=None, description="An interface of the host itself on the network.")

    def gateway(self, version: int) -> Gateway:
        return "written"

    def reserved(self) -> Iterable[IPv4Address | IPv6Address]:
        return self.host.addresses if self.host is not None else ()

    def shares(self) -> frozenset[str]:
        names = {name for uplink in self.uplinks for name in uplink.interfaces}
        return frozenset(names | ({self.bridge} if self.existing and self.bridge is not None else set()))

    def leases(self) -> bool:
        return bool(self.uplinks or self.patches or self.existing)

    def default_mtu(self, facts: NodeFacts, node: NodeView | None, subnets: Sequence[SubnetView]) -> int:
        """What a packet of a tunnel has room for on the way."""
        whole = min(DEFAULT_MTU, facts.uplink_mtu)
        kinds = {tunnel.type: tunnel.remote.version for tunnel in self.tunnels}
        if self.mesh is not None:
            kinds[self.mesh.type] = node.addresses[0].version if node is not None and node.addresses else 4
        return whole - max(
            (_OVERHEAD[kind] + (20 if version == 6 else 0) for kind, version in kinds.items()), default=0
        )


class SwitchEndpointOptions(EndpointOptions):
    """Options of an endpoint on a network of a driver on Open vSwitch."""

    vlan: Vlan | None = Field(default=None, description="Its VLAN, instead of the network's.")
    trunks: list[Vlan] = Field(default=[], description="VLANs that it gets tagged.")
    vlan_mode: VlanMode | None = Field(
        default=None,
        description="How vlan and trunks are meant (ovs-vswitchd.conf.db(5), vlan_mode). Default: follows.",
    )
