"""Driver sriov: a virtual function of a NIC for each endpoint, moved into its sandbox, or left to others; in mode switchdev its
representor as a port of another network's switch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from msgspec.structs import replace
from pydantic import AfterValidator, Field

from reconciler.drivers.driver import Place, has_switch, switch_port
from reconciler.drivers.parent import MAX_VLAN
from reconciler.drivers.plug import render_plug
from reconciler.drivers.registry import drivers
from reconciler.errors import Origin, Problem
from reconciler.manifest.model import Model
from reconciler.manifest.types import InterfaceName, Name
from reconciler.resources.link import Link, link_key
from reconciler.resources.resource import Resource
from reconciler.resources.sriov import Sriov, sriov_key
from reconciler.resources.vf import Vf, vf_key
from reconciler.topology.derive import short_name
from reconciler.topology.options import EndpointOptions, Gateway, NetworkOptions
from reconciler.topology.view import EndpointView, NetworkView, NodeFacts, PhysicalFunction, Topology

Number = Annotated[int, Field(ge=0, le=255)]
Rate = Annotated[int, Field(ge=0, le=4294967295)]
VlanId = Annotated[int, Field(ge=1, le=MAX_VLAN)]

# What a NIC's driver is told of a virtual function by its physical function (IFLA_VF_*) in mode legacy only, and who decides on
# it in mode switchdev, where the NIC forwards as the host's own switch does (Documentation/networking/representors.rst).
_LEGACY = {
    **dict.fromkeys(("vlan", "vlan_qos", "vlan_protocol"), "VLANs are those of the representor's port"),
    **dict.fromkeys(("min_rate", "max_rate"), "rates are for the representor to hold (tc, OVS)"),
    **dict.fromkeys(("spoof_check", "trust"), "what it may send is for the switch to filter"),
    "link_state": "its link is up while its representor is",
}


def _range(value: str) -> str:
    first, dash, last = value.partition("-")
    if not (first.isdigit() and last.isdigit() and dash) or int(first) > int(last) or int(last) > 255:
        raise ValueError(f"{value!r} is not a range of virtual functions: write one like '0-3'")
    return value


class PfSelector(Model):
    """Which NIC, by what it is. What is left out does not matter; the first that fits, by interface name, is taken."""

    vendor: str | None = Field(default=None, description="PCI vendor in hexadecimal, like '8086'.")
    product: str | None = Field(default=None, description="PCI device in hexadecimal, like '10c9'.")
    driver: str | None = Field(default=None, description="The NIC's driver, like igb.")


class SriovOptions(NetworkOptions):
    """Options of driver sriov. One of pf, device and selector says which NIC."""

    pf: InterfaceName | None = Field(default=None, description="The NIC (physical function) by interface name.")
    device: str | None = Field(default=None, description="The NIC by its place on the bus, like pci/0000:01:00.0.")
    selector: PfSelector | None = Field(
        default=None, description="The NIC by what it is; the first that fits is taken."
    )
    mode: Literal["netdev", "dpdk", "hostdev", "passthrough"] = Field(
        default="netdev",
        description="netdev: the virtual function's interface is moved into the sandbox; dpdk: it is bound to vfio-pci "
        "and left to a DPDK application; hostdev: it is left with the driver that it has, for a virtual machine's manager that "
        "takes it by itself (libvirt's <interface type='hostdev' managed='yes'>); passthrough: the whole NIC is moved into "
        "the sandbox of the only endpoint.",
    )
    vfs: Number | None = Field(
        default=None,
        description="Number of virtual functions, set when it differs and none is in use. Default: as the NIC has it.",
    )
    vf_range: Annotated[str, AfterValidator(_range)] | None = Field(
        default=None, description="Which of them are this network's, like 0-3. Default: all."
    )
    eswitch: Literal["legacy", "switchdev"] | None = Field(
        default=None, description="Mode of the NIC's embedded switch. Default: as it is."
    )
    switch: Name | None = Field(
        default=None,
        description="A network of driver bridge, vlan or ovs, of whose bridge the virtual functions become ports by their "
        "representors (eswitch: switchdev). Both may have the same subnet, with a range each.",
    )
    vlan: Annotated[int, Field(ge=0, le=4095)] = Field(default=0, description="VLAN id that the NIC adds; 0: none.")
    vlan_qos: Annotated[int, Field(ge=0, le=7)] = Field(default=0, description="Priority bits of that VLAN tag.")
    vlan_protocol: Literal["802.1Q", "802.1ad"] = Field(default="802.1Q", description="Protocol of that VLAN tag.")
    min_rate: Rate | None = Field(default=None, description="Guaranteed transmit rate in Mbit/s; 0: none.")
    max_rate: Rate | None = Field(default=None, description="Highest transmit rate in Mbit/s; 0: no limit.")
    spoof_check: bool | None = Field(default=None, description="The NIC drops frames from a MAC address not its own.")
    trust: bool | None = Field(
        default=None, description="The sandbox may change its MAC address and use promiscuous mode."
    )
    link_state: Literal["auto", "enable", "disable"] | None = Field(
        default=None, description="auto: as the port's; enable: up also when the port is down; disable: down."
    )

    def gateway(self, version: int) -> Gateway:
        return "written"  # it is a router of the wire outside, not of this host

    def joins(self) -> str | None:
        return self.switch

    def shares(self) -> frozenset[str]:
        return frozenset({self.pf} if self.pf is not None else ())


class SriovEndpointOptions(EndpointOptions):
    """Options of an endpoint on an sriov network."""

    vf: Number | None = Field(
        default=None,
        description="Number of its virtual function. Default: the one that it has, else the lowest that is free.",
    )
    trunk: list[VlanId] = Field(
        default=[],
        description="VLANs of the switch (options.switch, of driver vlan or ovs) that it gets as well, each with its tag.",
    )


class SriovDriver:
    """A virtual function an endpoint."""

    name: ClassVar[str] = "sriov"
    summary: ClassVar[str] = "a NIC's virtual functions, moved into sandboxes or left to DPDK"
    capabilities: ClassVar[frozenset[str]] = frozenset()
    Options: ClassVar[type[NetworkOptions]] = SriovOptions
    EndpointOptions: ClassVar[type[EndpointOptions]] = SriovEndpointOptions

    def requires(self, network: NetworkView) -> frozenset[str]:
        options: SriovOptions = network.options
        needs = frozenset({"vfio"} if options.mode == "dpdk" else ())
        if network.joined is not None and network.local:
            driver = drivers()[network.joined.driver]
            needs |= driver.capabilities | driver.requires(network.joined)
        return needs

    def host_interface(self, network: NetworkView) -> str | None:
        return None

    def place(self, network: NetworkView) -> Place:
        """What a DPDK application or a virtual machine sends passes no filter, neither here nor in a sandbox."""
        return Place.NOWHERE if network.options.mode in ("dpdk", "hostdev") else Place.SANDBOX

    def check(self, network: NetworkView, topology: Topology) -> Iterable[Problem]:
        options: SriovOptions = network.options
        if sum(way is not None for way in (options.pf, options.device, options.selector)) != 1:
            yield Problem(
                network.origin, f"network {network.name}: which NIC?", "write one of options.pf, device and selector"
            )
        if options.mode == "passthrough":
            if options.pf is None:
                yield Problem(
                    network.origin, f"network {network.name}: passthrough needs the NIC's name", "write options.pf"
                )
            if len(network.local) > 1:
                yield Problem(
                    network.origin,
                    f"network {network.name} passes one NIC through, and has {len(network.local)} endpoints on this node",
                    "leave one of them",
                )
        if options.vlan == 0 and (options.vlan_qos or options.vlan_protocol != "802.1Q"):
            yield Problem(
                network.origin,
                f"network {network.name}: vlanQos and vlanProtocol are of a VLAN tag, and there is none",
                "write options.vlan",
            )
        yield from _of_legacy(network, options)
        yield from _switched(network, options)
        if options.min_rate and options.max_rate and options.min_rate > options.max_rate:
            yield Problem(
                network.origin,
                f"network {network.name}: minRate {options.min_rate} is above maxRate {options.max_rate}",
                "lower it",
            )
        first, last = _span(options, 256)
        taken: dict[int, str] = {}
        for endpoint in network.local:
            number = endpoint.options.vf
            if number is None:
                continue
            if not first <= number <= last:
                yield Problem(
                    endpoint.origin,
                    f"endpoint {endpoint.name}: virtual function {number} is not one of network {network.name} ({options.vf_range})",
                    "choose another one",
                )
            other = taken.setdefault(number, endpoint.name)
            if other != endpoint.name:
                yield Problem(
                    endpoint.origin,
                    f"endpoints {other} and {endpoint.name} ask for the same virtual function, {number}",
                    "choose another one",
                )
        if options.mode != "passthrough" and network.local:
            function = _function(options, topology.facts)
            if function is None and options.pf is None and topology.facts.links:
                yield Problem(
                    network.origin, f"network {network.name}: this host has no NIC that fits", "write options.pf"
                )
            yield from _assigned(network, options, function)[1]
        for other_network in topology.networks:
            if other_network.driver == self.name and other_network.name < network.name:
                yield from _shared(network, other_network)

    def render(self, network: NetworkView, node: NodeFacts) -> Iterable[Resource]:
        options: SriovOptions = network.options
        if not network.local:
            return
        origin = replace(network.origin, driver=self.name)
        if options.mode == "passthrough":
            for endpoint in network.local:
                yield from self._plug(network, endpoint, f"pf:{options.pf}")
            return
        function = _function(options, node)
        pf = function.pf if function is not None else options.pf or "?"
        if options.vfs is not None or options.eswitch is not None:
            yield Sriov(key=sriov_key(pf), origin=origin, vfs=options.vfs, eswitch=options.eswitch)
        assigned, _problems = _assigned(network, options, function)
        for view in network.local:
            number = assigned[view.name]
            yield self._vf(network, view, pf, number)
            if options.mode == "netdev":
                yield from self._plug(network, view, f"vf:{pf}/{number}")
            if network.joined is not None:
                yield from self._represent(network, network.joined, view, f"rep:{pf}/{number}", node)

    def _vf(self, network: NetworkView, endpoint: EndpointView, pf: str, number: int) -> Vf:
        options: SriovOptions = network.options
        legacy = options.eswitch != "switchdev"
        return Vf(
            key=vf_key(pf, number),
            origin=replace(endpoint.origin, driver=self.name),
            pf=pf,
            index=number,
            mac=endpoint.mac,
            vlan=options.vlan if legacy else None,
            qos=options.vlan_qos if legacy else None,
            protocol=options.vlan_protocol if legacy else None,
            min_rate=options.min_rate,
            max_rate=options.max_rate,
            spoof_check=options.spoof_check,
            trust=options.trust,
            link_state=options.link_state,
            driver="vfio-pci" if options.mode == "dpdk" else None,
            user=f"{network.name}/{endpoint.name}",
        )

    def _plug(self, network: NetworkView, endpoint: EndpointView, device: str) -> Iterable[Resource]:
        origin: Origin = replace(endpoint.origin, driver=self.name)
        yield Link(
            key=link_key(endpoint.sandbox.netns, endpoint.interface),
            origin=origin,
            type=None,
            up=True,
            mtu=endpoint.mtu,
            mac=endpoint.mac,
            addr_gen="none",
            device=device,
        )
        yield from render_plug(endpoint, origin, ipv6=network.ipv6)

    def _represent(
        self, network: NetworkView, switch: NetworkView, endpoint: EndpointView, device: str, node: NodeFacts
    ) -> Iterable[Resource]:
        origin = replace(endpoint.origin, driver=self.name)
        name = short_name("vr-", "endpoint", network.name, endpoint.name)
        trunk = tuple(sorted(set(endpoint.options.trunk)))
        plugged = switch_port(drivers()[switch.driver], switch, name, node, origin, trunk)
        yield Link(
            key=link_key("", name),
            origin=origin,
            type=None,
            up=True,
            mtu=endpoint.mtu,
            master=plugged.master,
            addr_gen="none",
            port=plugged.port,
            device=device,
        )
        yield from plugged.beside


def _span(options: SriovOptions, count: int) -> tuple[int, int]:
    """First and last number of the network's virtual functions."""
    if options.vf_range is None:
        return 0, count - 1
    first, _, last = options.vf_range.partition("-")
    return int(first), int(last)


def _shared(network: NetworkView, other: NetworkView) -> Iterable[Problem]:
    """Networks of one NIC must not have virtual functions in common."""
    mine, theirs = network.options, other.options
    if (mine.pf, mine.device, mine.selector) != (theirs.pf, theirs.device, theirs.selector):
        return
    (first, last), (begin, end) = _span(mine, 256), _span(theirs, 256)
    if first <= end and begin <= last:
        yield Problem(
            network.origin,
            f"networks {other.name} and {network.name} share a NIC and virtual functions of it",
            "give each its part: options.vfRange: 0-3",
        )
    if mine.vfs != theirs.vfs or mine.eswitch != theirs.eswitch:
        yield Problem(
            network.origin,
            f"networks {other.name} and {network.name} want the same NIC in two ways",
            "write the same vfs and eswitch in both",
        )


def _of_legacy(network: NetworkView, options: SriovOptions) -> Iterable[Problem]:
    if options.eswitch != "switchdev":
        return
    for name in sorted(options.model_fields_set & _LEGACY.keys()):
        alias = SriovOptions.model_fields[name].alias or name
        yield Problem(
            network.at("spec", "options", alias),
            f"network {network.name}: in mode switchdev no NIC takes {alias} of a virtual function: {_LEGACY[name]}",
            f"leave options.{alias} out, or write eswitch: legacy",
        )


def _switched(network: NetworkView, options: SriovOptions) -> Iterable[Problem]:
    """What is wrong with the network whose switch takes the representors."""
    switch, at = network.joined, network.at("spec", "options", "switch")
    trunks = [endpoint for endpoint in network.endpoints if endpoint.options.trunk]
    if switch is None:
        for endpoint in trunks:
            yield Problem(
                endpoint.at("spec", "options", "trunk"),
                f"endpoint {endpoint.name}: a trunk is of a switch's port, and network {network.name} is on no switch",
                "write options.switch in the network",
            )
        return
    if not has_switch(drivers()[switch.driver]):
        names = sorted(name for name in drivers() if has_switch(drivers()[name]))
        yield Problem(
            at,
            f"network {network.name}: network {switch.name} is of driver {switch.driver}, which has no switch that could take "
            "representors",
            f"name a network of driver {' or '.join(names)}",
        )
        return
    if options.eswitch != "switchdev":
        yield Problem(
            at,
            f"network {network.name}: virtual functions have representors only while the NIC's switch is in mode switchdev",
            "write options.eswitch: switchdev",
        )
    if options.mode == "passthrough":
        yield Problem(at, f"network {network.name}: a whole NIC has no representor", "leave switch out")
    if network.mtu > switch.mtu:
        yield Problem(
            network.at("spec", "mtu"),
            f"network {network.name}: MTU {network.mtu} is above that of network {switch.name} ({switch.mtu}), whose switch "
            "its frames pass",
            f"write at most {switch.mtu}",
        )
    own = getattr(switch.options, "id", None) or getattr(switch.options, "vlan", None)
    for endpoint in trunks:
        where = endpoint.at("spec", "options", "trunk")
        if switch.driver == "bridge":
            text = f"endpoint {endpoint.name}: the bridge of network {switch.name} knows no VLANs"
            yield Problem(where, text, "leave trunk out, or let options.switch name a network of driver vlan or ovs")
        elif own in endpoint.options.trunk:
            text = f"endpoint {endpoint.name}: VLAN {own} is network {switch.name}'s own, and comes without a tag"
            yield Problem(where, text, "leave it out of trunk")
    yield from _twice(network, switch)


def _twice(network: NetworkView, switch: NetworkView) -> Iterable[Problem]:
    """Both are one link layer: no address may be in both."""
    taken = {address.ip: f"endpoint {other.name}'s" for other in switch.endpoints for address in other.addresses}
    taken |= {subnet.gateway: "the gateway" for subnet in switch.subnets if subnet.gateway is not None}
    for endpoint in network.endpoints:
        for address in endpoint.addresses:
            if address.ip in taken:
                yield Problem(
                    endpoint.origin,
                    f"endpoint {endpoint.name}: {address.ip} is {taken[address.ip]} on network {switch.name}, on whose "
                    "switch it is",
                    "give each network a range of its own: subnets[].range",
                )


def _function(options: SriovOptions, node: NodeFacts) -> PhysicalFunction | None:
    for function in node.functions:
        wanted = options.selector
        if options.pf is not None:
            fits = function.pf == options.pf
        elif options.device is not None:
            fits = function.device == options.device
        else:
            fits = wanted is not None and all(
                getattr(wanted, name) in (None, getattr(function, name)) for name in ("vendor", "product", "driver")
            )
        if fits:
            return function
    return None


def _assigned(
    network: NetworkView, options: SriovOptions, function: PhysicalFunction | None
) -> tuple[dict[str, int], list[Problem]]:
    """(endpoint -> virtual function, what is wrong): the one that it asks for, else the one that it has, else the
    lowest free one."""
    count = options.vfs if options.vfs is not None else function.vfs if function is not None else 256
    first, last = _span(options, count)
    used = dict(function.used) if function is not None else {}
    mine = {f"{network.name}/{view.name}" for view in network.local}
    chosen = {view.name: view.options.vf for view in network.local if view.options.vf is not None}
    problems = [
        Problem(
            view.origin,
            f"endpoint {view.name}: virtual function {number} is in use: {used[number]}",
            "choose another one",
        )
        for view in network.local
        if (number := chosen.get(view.name)) in used and used[number] not in mine
    ]
    for number, whose in used.items():
        name = whose.removeprefix(f"{network.name}/")
        if whose in mine and name not in chosen and number not in chosen.values() and first <= number <= last:
            chosen[name] = number
    free = (n for n in range(first, min(last, count - 1) + 1) if n not in used and n not in chosen.values())
    for view in network.local:
        if view.name in chosen:
            continue
        number = next(free, None)
        if number is not None:
            chosen[view.name] = number
            continue
        text = f"endpoint {view.name}: no virtual function of network {network.name} is left ({count} in all)"
        problems.append(Problem(view.origin, text, "raise options.vfs, or widen options.vfRange"))
    return chosen, problems


DRIVER = SriovDriver()
