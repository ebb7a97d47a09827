"""What the drivers on Open vSwitch have in common: the bridge, and its ports that are no endpoint's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from reconciler.drivers.internalport import internal_link
from reconciler.drivers.ovsoptions import (
    Controller,
    HostPort,
    Mirror,
    PatchPort,
    SwitchEndpointOptions,
    SwitchOptions,
    Tagged,
    Tunnel,
    Uplink,
)
from reconciler.drivers.plug import plug_address
from reconciler.errors import Origin
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
from reconciler.topology.view import NetworkView, NodeFacts


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

    def _patch(self, patch: PatchPort, origin: Origin) -> Iterable[OvsPort]:
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
        yield self.port(name, origin, [OvsInterface(name=name, type="internal", mtu=network.mtu, fault="")])
        yield internal_link("", name, name, origin, mtu=network.mtu, mac=mac_of("host", network.name))
        if not network.ipv6:
            key = sysctl_key("", f"net/ipv6/conf/{name}/disable_ipv6")
            yield Sysctl(key=key, origin=origin, value="1", dev=name)
        for address in host.addresses:
            length = next(subnet.cidr.prefixlen for subnet in network.subnets if address in subnet.cidr)
            yield plug_address("", name, f"{address}/{length}", origin)


def _or_none(value: int | None) -> int:
    return -1 if value is None else value
