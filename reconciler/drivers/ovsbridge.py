"""What the drivers on Open vSwitch have in common: the bridge, and its ports that are no endpoint's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from reconciler.drivers.plug import plug_address
from reconciler.errors import Origin, Problem
from reconciler.manifest.model import Model
from reconciler.manifest.types import InterfaceName, IPAddress, Mac
from reconciler.resources.link import Link, link_key
from reconciler.resources.ovs import (
    OvsBridge,
    OvsController,
    OvsInterface,
    OvsMirror,
    OvsPort,
    ovs_bridge_key,
    ovs_controller_key,
    ovs_mirror_key,
    ovs_port_key,
)
from reconciler.resources.ovs_flow import OvsFlow, flow_key
from reconciler.resources.resource import Resource
from reconciler.resources.sysctl import Sysctl, sysctl_key
from reconciler.topology.derive import mac_of, short_name
from reconciler.topology.options import DEFAULT_MTU, EndpointOptions, Gateway, NetworkOptions
from reconciler.topology.view import EndpointView, NetworkView, NodeFacts, NodeView, SubnetView, Topology

Vlan = Annotated[int, Field(ge=1, le=4094)]
VlanMode = Literal["access", "trunk", "native-tagged", "native-untagged", "dot1q-tunnel"]
Protocol = Literal["OpenFlow10", "OpenFlow11", "OpenFlow12", "OpenFlow13", "OpenFlow14", "OpenFlow15"]
TunnelType = Literal["vxlan", "geneve", "gre"]
# Bytes that a tunnel adds to an IPv4 packet's size; 20 more over IPv6.
_OVERHEAD = {"vxlan": 50, "geneve": 50, "gre": 42}

# What is a property of the bridge itself, and so not ours to set on somebody else's.
_OWN = (
    *(
        "fail_mode",
        "protocols",
        "controllers",
        "stp",
        "rstp",
        "priority",
        "forward_delay",
        "hello_time",
        "max_age",
        "mac",
    ),
    *("mac_table_size", "mac_aging_time", "multicast_snooping", "multicast_aging_time", "multicast_table_size"),
    "multicast_flood_unregistered",
)


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


class Patch(Tagged):
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
    patches: list[Patch] = Field(default=[], description="Cables to other bridges of this switch.")
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


def bridge_name(network: NetworkView) -> str:
    options: SwitchOptions = network.options
    if options.bridge is not None:
        return options.bridge
    name = f"br-{network.name}"
    return name if len(name) <= 15 else short_name("br-", "bridge", network.name)


def uplink_name(uplink: Uplink) -> str:
    return uplink.name or uplink.interfaces[0]


class Switch:
    """A network's bridge on this node and what is plugged into it, but for its endpoints. ``port_of`` says which port an
    endpoint's is."""

    def __init__(self, network: NetworkView, driver: str, datapath: str) -> None:
        self.network = network
        self.options: SwitchOptions = network.options
        self.bridge = bridge_name(network)
        self._driver = driver
        self._datapath = datapath

    def _origin(self, *path: str | int) -> Origin:
        return replace(self.network.at("spec", "options", *path), driver=self._driver)

    @property
    def used(self) -> bool:
        """Whether this node has anything on the network."""
        options = self.options
        return bool(self.network.local or options.uplinks or options.patches or options.tunnels or options.host)

    def render(self, node: NodeFacts, ports: Mapping[str, str]) -> Iterable[Resource]:
        """``ports``: endpoint on this node to its port."""
        origin = replace(self.network.origin, driver=self._driver)
        options = self.options
        if options.existing:
            yield OvsBridge(key=ovs_bridge_key(self.bridge), origin=origin, existing=True)
        else:
            yield self._own(origin)
            if options.fail_mode == "standalone" and not options.controllers:
                at = Origin(document=f"bridge {self.bridge}", driver=self._driver)
                yield OvsFlow(key=flow_key(self.bridge, 0, 0), origin=at, actions="NORMAL")
            for number, controller in enumerate(options.controllers):
                yield self._controller(controller, self._origin("controllers", number))
        for number, uplink in enumerate(options.uplinks):
            yield self._uplink(uplink, self._origin("uplinks", number))
        for number, patch in enumerate(options.patches):
            yield from self._patch(patch, self._origin("patches", number))
        for number, tunnel in enumerate(options.tunnels):
            yield self._tunnel(tunnel, self._origin("tunnels", number))
        yield from self._mesh(node)
        for number, mirror in enumerate(options.mirrors):
            yield from self._mirror(mirror, ports, self._origin("mirrors", number))
        if options.host is not None:
            yield from self._host(options.host, self._origin("host"))

    def _own(self, origin: Origin) -> OvsBridge:
        options = self.options
        tree = "rstp" if options.rstp else "stp"
        config = {
            "hwaddr": options.mac or mac_of("bridge", self.bridge),
            f"{tree}-priority": options.priority,
            f"{tree}-forward-delay": options.forward_delay,
            f"{tree}-hello-time": options.hello_time,
            f"{tree}-max-age": options.max_age,
            "mac-table-size": options.mac_table_size,
            "mac-aging-time": options.mac_aging_time,
            "mcast-snooping-aging-time": options.multicast_aging_time,
            "mcast-snooping-table-size": options.multicast_table_size,
            "mcast-snooping-disable-flood-unregistered": None if options.multicast_flood_unregistered else "true",
        }
        return OvsBridge(
            key=ovs_bridge_key(self.bridge),
            origin=origin,
            datapath_type=self._datapath,
            fail_mode=options.fail_mode,
            protocols=tuple(sorted(set(options.protocols))),
            stp=options.stp,
            rstp=options.rstp,
            mcast_snooping=options.multicast_snooping,
            other_config=tuple(sorted((name, str(value)) for name, value in config.items() if value is not None)),
            fault="",
        )

    def _controller(self, controller: Controller, origin: Origin) -> OvsController:
        return OvsController(
            key=ovs_controller_key(self.bridge, controller.target),
            origin=origin,
            bridge=self.bridge,
            target=controller.target,
            connection_mode=controller.connection_mode or "",
            inactivity_probe=_or_none(controller.inactivity_probe),
            max_backoff=_or_none(controller.max_backoff),
        )

    def port(
        self,
        name: str,
        origin: Origin,
        interfaces: Sequence[OvsInterface],
        tagged: Tagged | SwitchEndpointOptions | None = None,
        **more: Any,
    ) -> OvsPort:
        """A port of this bridge; without words of its own in the network's VLAN. ``more`` is what else is managed."""
        vlan = tagged.vlan if tagged is not None else None
        trunks = tuple(sorted(set(tagged.trunks))) if tagged is not None else ()
        mode = (tagged.vlan_mode if tagged is not None else None) or ""
        if vlan is None and not trunks and not mode:
            vlan = self.options.vlan
        fields: dict[str, Any] = {
            "protected": False,
            "qos": "",
            "bond_mode": "",
            "lacp": "",
            "bond_updelay": 0,
            "bond_downdelay": 0,
        }
        return OvsPort(
            key=ovs_port_key(name),
            origin=origin,
            bridge=self.bridge,
            tag=vlan if vlan is not None else -1,
            trunks=trunks,
            vlan_mode=mode,
            interfaces=tuple(sorted(interfaces, key=lambda interface: interface.name)),
            **(fields | more),
        )

    def _uplink(self, uplink: Uplink, origin: Origin) -> OvsPort:
        interfaces = [OvsInterface(name=name, type="", fault="") for name in uplink.interfaces]
        bonded = len(interfaces) > 1
        port = self.port(
            uplink_name(uplink),
            origin,
            interfaces,
            uplink,
            bond_mode=(uplink.bond_mode or "active-backup") if bonded else "",
            lacp=uplink.lacp or "",
            bond_updelay=uplink.bond_up_delay,
            bond_downdelay=uplink.bond_down_delay,
        )
        # The wire carries all VLANs unless it is told otherwise: the network's own is a tag on it.
        return port if uplink.vlan is not None or uplink.trunks or uplink.vlan_mode else replace(port, tag=-1)

    def _patch(self, patch: Patch, origin: Origin) -> Iterable[OvsPort]:
        near = short_name("pa-", "patch", self.bridge, patch.bridge)
        far = short_name("pa-", "patch", patch.bridge, self.bridge)
        here = OvsInterface(name=near, type="patch", options=(("peer", far),), fault="")
        yield self.port(near, origin, [here], patch)
        there = OvsInterface(name=far, type="patch", options=(("peer", near),), fault="")
        remote = self.port(far, origin, [there], Tagged(vlan=patch.remote_vlan))
        yield replace(remote, bridge=patch.bridge, tag=patch.remote_vlan or -1)

    def _tunnel(self, tunnel: Tunnel, origin: Origin) -> OvsPort:
        name = short_name("tu-", self.bridge, tunnel.type, str(tunnel.remote), str(tunnel.key))
        options = {
            "remote_ip": str(tunnel.remote),
            "local_ip": str(tunnel.local) if tunnel.local is not None else None,
            "key": str(tunnel.key) if tunnel.key is not None else None,
            "dst_port": str(tunnel.port) if tunnel.port is not None else None,
        }
        pairs = tuple(sorted((name, value) for name, value in options.items() if value is not None))
        return self.port(name, origin, [OvsInterface(name=name, type=tunnel.type, options=pairs, fault="")], tunnel)

    def _mesh(self, node: NodeFacts) -> Iterable[OvsPort]:
        """They are protected: what comes in by one leaves by no other, so that the mesh has no loops."""
        mesh = self.options.mesh
        if mesh is None or not self.network.local:
            return
        used = {endpoint.sandbox.node for endpoint in self.network.endpoints if not endpoint.local}
        for peer in self.network.nodes:
            if peer.name not in used or not peer.addresses:
                continue
            port = mesh.port
            tunnel = Tunnel(type=mesh.type, remote=peer.addresses[0], key=mesh.key, port=port)
            yield replace(self._tunnel(tunnel, self._origin("mesh")), protected=True)

    def _mirror(self, mirror: Mirror, ports: Mapping[str, str], origin: Origin) -> Iterable[OvsMirror]:
        known = {**{uplink_name(uplink): uplink_name(uplink) for uplink in self.options.uplinks}, **ports}
        if mirror.output is not None and mirror.output not in known:
            return  # that endpoint is on another node
        yield OvsMirror(
            key=ovs_mirror_key(self.bridge, mirror.name),
            origin=origin,
            bridge=self.bridge,
            name=mirror.name,
            select_all=mirror.all,
            from_ports=tuple(sorted({known[name] for name in mirror.received_from if name in known})),
            to_ports=tuple(sorted({known[name] for name in mirror.sent_to if name in known})),
            vlans=tuple(sorted(set(mirror.vlans))),
            output_port=known[mirror.output] if mirror.output is not None else "",
            output_vlan=_or_none(mirror.output_vlan),
            snaplen=mirror.snaplen or 0,
        )

    def _host(self, host: HostPort, origin: Origin) -> Iterable[Resource]:
        network = self.network
        name = host.interface or short_name("ho-", "host", network.name)
        mac = mac_of("host", network.name)
        yield self.port(name, origin, [OvsInterface(name=name, type="internal", mtu=network.mtu, fault="")])
        yield Link(
            key=link_key("", name),
            origin=origin,
            type=None,
            up=True,
            mtu=network.mtu,
            mac=mac,
            addr_gen="none",
            device=f"ovs:{name}",
        )
        if not network.ipv6:
            key = sysctl_key("", f"net/ipv6/conf/{name}/disable_ipv6")
            yield Sysctl(key=key, origin=origin, value="1", dev=name)
        for address in host.addresses:
            length = next(subnet.cidr.prefixlen for subnet in network.subnets if address in subnet.cidr)
            yield plug_address("", name, f"{address}/{length}", origin)


def _or_none(value: int | None) -> int:
    return -1 if value is None else value


class Checks:
    """What can be wrong with a network on Open vSwitch."""

    own: ClassVar[tuple[str, ...]] = _OWN

    def __init__(self, network: NetworkView, driver: str) -> None:
        self._network = network
        self._driver = driver
        self._options: SwitchOptions = network.options
        self._at = partial(network.at, "spec", "options")

    def problems(self, topology: Topology) -> Iterable[Problem]:
        yield from self._existing()
        yield from self._bridge()
        yield from self._ports()
        yield from self._mirrors()
        yield from self._host()
        yield from self._beside(topology)

    def _problem(self, path: tuple[str | int, ...], text: str, hint: str) -> Problem:
        return Problem(self._at(*path), f"network {self._network.name}: {text}", hint)

    def _existing(self) -> Iterable[Problem]:
        options = self._options
        if not options.existing:
            return
        if options.bridge is None:
            yield self._problem(("existing",), "which existing bridge?", "write options.bridge: NAME")
        for name in self.own:
            if name in options.model_fields_set:
                alias = type(options).model_fields[name].alias or name
                yield self._problem(
                    (alias,),
                    f"an existing bridge is used as it is, {alias} cannot be set on it",
                    f"leave options.{alias} out",
                )

    def _bridge(self) -> Iterable[Problem]:
        options, network = self._options, self._network
        if options.stp and options.rstp:
            yield self._problem(("rstp",), "stp and rstp exclude each other", "write one of them")
        if not (options.stp or options.rstp):
            for name in ("priority", "forward_delay", "hello_time", "max_age"):
                if getattr(options, name) is not None:
                    alias = type(options).model_fields[name].alias or name
                    text = f"{alias} is the spanning tree's, which is off"
                    yield self._problem((alias,), text, "write stp: true or rstp: true, or leave it out")
        if options.rstp and options.hello_time is not None:
            yield self._problem(("helloTime",), "RSTP's hello time is 2 seconds", "leave helloTime out")
        if network.allow_from:
            yield Problem(
                network.at("spec", "allowFrom"),
                f"network {network.name}: driver {self._driver} has no filter on the host that could let others in",
                "leave allowFrom out",
            )
        for name, many in (("uplinks", options.uplinks), ("patches", options.patches)):
            if network.internal and many:
                yield self._problem((name,), f"{name} lead out of an internal network", "leave one of both out")

    def _ports(self) -> Iterable[Problem]:
        options = self._options
        for number, uplink in enumerate(options.uplinks):
            at = ("uplinks", number)
            if len(uplink.interfaces) > 1 and uplink.name is None:
                yield self._problem(at, "a bond needs a name", "write name: bond0")
            if len(uplink.interfaces) == 1 and (uplink.bond_mode or uplink.lacp):
                yield self._problem(at, "one interface is no bond", "name two, or leave bondMode and lacp out")
            if uplink.bond_mode == "balance-tcp" and uplink.lacp != "active":
                yield self._problem((*at, "bondMode"), "balance-tcp needs LACP", "write lacp: active")
            if uplink.name is not None and len(uplink.interfaces) == 1 and uplink.name != uplink.interfaces[0]:
                yield self._problem((*at, "name"), "a port with one interface has that one's name", "leave name out")
        for number, patch in enumerate(options.patches):
            if patch.bridge == bridge_name(self._network):
                yield self._problem(
                    ("patches", number, "bridge"), "a bridge cannot be patched to itself", "name another"
                )
        for number, tunnel in enumerate(options.tunnels):
            if tunnel.local is not None and tunnel.local.version != tunnel.remote.version:
                yield self._problem(
                    ("tunnels", number, "local"), "both ends speak one IP version", "write another address"
                )
            if tunnel.port is not None and tunnel.type == "gre":
                yield self._problem(("tunnels", number, "port"), "GRE has no ports", "leave port out")
            if tunnel.key is not None and tunnel.key > _MOST[tunnel.type]:
                text = f"the largest key of {tunnel.type} is {_MOST[tunnel.type]:,}"
                yield self._problem(("tunnels", number, "key"), text, "write a smaller one")
        mesh = options.mesh
        if mesh is not None and mesh.key > _MOST[mesh.type]:
            text = f"the largest key of {mesh.type} is {_MOST[mesh.type]:,}"
            yield self._problem(("mesh", "key"), text, "write a smaller one")
        if mesh is not None and mesh.port is not None and mesh.type == "gre":
            yield self._problem(("mesh", "port"), "GRE has no ports", "leave port out")
        if mesh is not None:
            used = {endpoint.sandbox.node for endpoint in self._network.endpoints if not endpoint.local}
            for peer in self._network.nodes:
                if peer.name in used and not peer.addresses:
                    text = f"node {peer.name} has no address that a tunnel could lead to"
                    yield self._problem(("mesh",), text, f"write spec.addresses of Node {peer.name}")

    def _mirrors(self) -> Iterable[Problem]:
        options = self._options
        known = {endpoint.name for endpoint in self._network.endpoints}
        known |= {uplink_name(uplink) for uplink in options.uplinks}
        for number, mirror in enumerate(options.mirrors):
            at = ("mirrors", number)
            if (mirror.output is None) == (mirror.output_vlan is None):
                yield self._problem(at, f"where does mirror {mirror.name} send to?", "write output or outputVlan")
            if not (mirror.all or mirror.received_from or mirror.sent_to or mirror.vlans):
                yield self._problem(
                    at, f"mirror {mirror.name} copies nothing", "write all: true, or receivedFrom, sentTo"
                )
            for name in (*mirror.received_from, *mirror.sent_to, *filter(None, (mirror.output,))):
                if name not in known:
                    text = f"mirror {mirror.name}: {name} is neither an endpoint of this network nor an uplink of it"
                    yield self._problem(at, text, f"write one of {', '.join(sorted(known)) or 'none'}")
        names = [mirror.name for mirror in options.mirrors]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield self._problem(("mirrors",), f"two mirrors have the name {name}", "rename one of them")

    def _host(self) -> Iterable[Problem]:
        host, network = self._options.host, self._network
        for number, address in enumerate(host.addresses if host is not None else ()):
            if not any(address in subnet.cidr for subnet in network.subnets):
                cidrs = ", ".join(str(subnet.cidr) for subnet in network.subnets)
                text = f"{address} of the host is in none of its subnets"
                yield self._problem(("host", "addresses", number), text, f"write an address of {cidrs}")

    def _beside(self, topology: Topology) -> Iterable[Problem]:
        """Networks on one bridge and in one VLAN are one network."""
        mine, vlan = bridge_name(self._network), self._options.vlan
        for other in topology.networks:
            theirs = other.options
            if other.name >= self._network.name or not isinstance(theirs, SwitchOptions):
                continue
            if bridge_name(other) == mine and theirs.vlan == vlan:
                where = f"VLAN {vlan}" if vlan is not None else "no VLAN"
                text = f"network {other.name} is on bridge {mine} too, and both are in {where}"
                yield self._problem(("bridge",), text, "write options.vlan, or another bridge, in one of them")


_MOST = {"vxlan": (1 << 24) - 1, "geneve": (1 << 24) - 1, "gre": (1 << 32) - 1}


def check_endpoint(endpoint: EndpointView) -> Iterable[Problem]:
    """What can be wrong with an endpoint's VLANs."""
    options: SwitchEndpointOptions = endpoint.options
    if options.vlan_mode in ("access", "native-tagged", "native-untagged", "dot1q-tunnel") and options.vlan is None:
        yield Problem(
            endpoint.at("spec", "options", "vlanMode"),
            f"endpoint {endpoint.name}: mode {options.vlan_mode} is about a VLAN of its own",
            "write options.vlan",
        )
    if options.vlan_mode == "access" and options.trunks:
        yield Problem(
            endpoint.at("spec", "options", "trunks"),
            f"endpoint {endpoint.name}: an access port has no trunks",
            "leave trunks out, or write vlanMode: native-untagged",
        )
