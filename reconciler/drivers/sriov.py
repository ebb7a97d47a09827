"""Driver sriov: a virtual function of a NIC for each endpoint, moved into its sandbox, or left to DPDK."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from reconciler.drivers.plug import render_plug
from reconciler.errors import Origin, Problem
from reconciler.manifest.model import Model
from reconciler.manifest.types import InterfaceName
from reconciler.resources.link import Link, link_key
from reconciler.resources.resource import Resource
from reconciler.resources.sriov import Sriov, sriov_key
from reconciler.resources.vf import Vf, vf_key
from reconciler.topology.options import EndpointOptions, Gateway, NetworkOptions
from reconciler.topology.view import EndpointView, NetworkView, NodeFacts, PhysicalFunction, Topology

Number = Annotated[int, Field(ge=0, le=255)]
Rate = Annotated[int, Field(ge=0, le=4294967295)]


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
    mode: Literal["netdev", "dpdk", "passthrough"] = Field(
        default="netdev",
        description="netdev: the virtual function's interface is moved into the sandbox; dpdk: it is bound to vfio-pci "
        "and left to a DPDK application; passthrough: the whole NIC is moved into the sandbox of the only endpoint.",
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

    def shares(self) -> frozenset[str]:
        return frozenset({self.pf} if self.pf is not None else ())


class SriovEndpointOptions(EndpointOptions):
    """Options of an endpoint on an sriov network."""

    vf: Number | None = Field(
        default=None,
        description="Number of its virtual function. Default: the one that it has, else the lowest that is free.",
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
        return frozenset({"vfio"} if options.mode == "dpdk" else ())

    def host_interface(self, network: NetworkView) -> str | None:
        return None

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

    def _vf(self, network: NetworkView, endpoint: EndpointView, pf: str, number: int) -> Vf:
        options: SriovOptions = network.options
        return Vf(
            key=vf_key(pf, number),
            origin=replace(endpoint.origin, driver=self.name),
            pf=pf,
            index=number,
            mac=endpoint.mac,
            vlan=options.vlan,
            qos=options.vlan_qos,
            protocol=options.vlan_protocol,
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
