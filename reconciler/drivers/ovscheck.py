"""What can be wrong with a network on Open vSwitch, and with its endpoints."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from reconciler.drivers.ovsbridge import bridge_name, uplink_name
from reconciler.drivers.ovsoptions import SwitchEndpointOptions, SwitchOptions
from reconciler.errors import Problem
from reconciler.topology.view import EndpointView, NetworkView, Topology

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
