"""Driver ovs-dpdk: endpoints that are vhost-user ports of Open vSwitch, for programs with a network stack of their own.

No interface is in the sandbox. Its program opens the endpoint's socket (as the vhost-user server: so it survives a restart of the
switch, which connects again), and takes the addresses that the manifests give it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar

from msgspec.structs import replace
from pydantic import Field

from reconciler.drivers.driver import Place
from reconciler.drivers.ovsbridge import Switch
from reconciler.drivers.ovscheck import Checks, check_endpoint
from reconciler.drivers.ovsoptions import SwitchEndpointOptions, SwitchOptions, Tagged
from reconciler.drivers.ovsrates import check_rates, hold_rates, queue_name
from reconciler.errors import Origin, Problem
from reconciler.manifest.model import Model
from reconciler.manifest.types import InterfaceName
from reconciler.resources.folder import Folder, folder_key
from reconciler.resources.ovs import OvsInterface, OvsQos, OvsSetting, ovs_qos_key, ovs_setting_key
from reconciler.resources.resource import Entries, Resource
from reconciler.topology.derive import short_name
from reconciler.topology.options import EndpointOptions, NetworkOptions
from reconciler.topology.view import EndpointView, NetworkView, NodeFacts, Topology

Mask = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{1,32}$")]
Megabytes = Annotated[int, Field(ge=0, le=1048576)]
_FOLDER = "/run/cnm-vhost"
_LONGEST = 107  # sockaddr_un(7): bytes of a path


class DpdkPort(Tagged):
    """A physical port, or one of DPDK's virtual devices."""

    name: InterfaceName = Field(description="The port's name.")
    device: Annotated[str, Field(pattern=r"^[A-Za-z0-9:._,=/-]{1,200}$")] = Field(
        description="PCI address (0000:01:00.0), bound to a driver that DPDK uses; or devargs, like net_af_packet0,iface=eth0."
    )
    queues: Annotated[int, Field(ge=1, le=256)] | None = Field(
        default=None, description="Receive queues: each is polled by one core. Default: 1."
    )
    descriptors: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        default=None, description="Descriptors of a receive queue. Default: 2048."
    )


class Engine(Model):
    """How ovs-vswitchd itself works: one for all its bridges. What stood before is put back with the last network."""

    pmd_cpu_mask: Mask | None = Field(
        default=None, description="Cores that poll, a bit each: 0x6 are cores 1 and 2. Default: one a NUMA node."
    )
    lcore_mask: Mask | None = Field(default=None, description="Cores of DPDK's other threads. Read at its start.")
    socket_memory: list[Megabytes] = Field(
        default=[], description="MB of large pages a NUMA node, in their order. Read at its start."
    )
    per_port_memory: bool | None = Field(
        default=None,
        description="True: each port has buffers of its own, as many as its queues need. Default: false, ports of one MTU share a "
        "pool of 262,144, which is 600 MB.",
    )
    pmd_max_sleep: Annotated[int, Field(ge=0, le=10000)] | None = Field(
        default=None, description="Microseconds that a core that finds nothing may sleep. Default: 0, never."
    )
    extra: Annotated[str, Field(pattern=r"^[ -~]{1,500}$")] | None = Field(
        default=None, description="More arguments of DPDK (EAL), like --no-huge. Read at its start."
    )


class SocketFolder(Model):
    """Where the sockets are, and who may open them."""

    path: Annotated[str, Field(pattern=r"^/[A-Za-z0-9._/-]{1,60}$")] | None = Field(
        default=None, description=f"The folder. Default: {_FOLDER}/NETWORK."
    )
    uid: Annotated[int, Field(ge=0, le=4294967294)] = Field(default=0, description="Number of the user who owns it.")
    gid: Annotated[int, Field(ge=0, le=4294967294)] = Field(default=0, description="Number of its group.")
    mode: Annotated[str, Field(pattern=r"^0[0-7]{3}$")] = Field(
        default="0770",
        description="Its permissions, in octal digits: the programs in sandboxes make their sockets in it.",
    )


class OvsDpdkOptions(SwitchOptions):
    """Options of driver ovs-dpdk."""

    sockets: SocketFolder = Field(default=SocketFolder(), description="Where endpoints' sockets are.")
    dpdk_ports: list[DpdkPort] = Field(default=[], description="Physical ports that DPDK drives.")
    engine: Engine = Field(default=Engine(), description="How ovs-vswitchd itself works: one for all its bridges.")


class OvsDpdkEndpointOptions(SwitchEndpointOptions):
    """Options of an endpoint on a network of driver ovs-dpdk."""

    socket: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,63}$")] | None = Field(
        default=None, description="Name of its socket in the folder. Default: ENDPOINT.sock."
    )


class OvsDpdkDriver:
    """vhost-user ports on a bridge in userspace."""

    name: ClassVar[str] = "ovs-dpdk"
    summary: ClassVar[str] = (
        "a vhost-user port of Open vSwitch an endpoint, for DPDK programs: no packet passes a kernel"
    )
    capabilities: ClassVar[frozenset[str]] = frozenset({"ovs", "ovs-dpdk"})
    Options: ClassVar[type[NetworkOptions]] = OvsDpdkOptions
    EndpointOptions: ClassVar[type[EndpointOptions]] = OvsDpdkEndpointOptions
    holds_rates: ClassVar[bool] = True
    place: ClassVar[Place] = Place.NOWHERE

    def requires(self, network: NetworkView) -> frozenset[str]:
        return self.capabilities

    def host_interface(self, network: NetworkView) -> str | None:
        return None

    def facts(self, network: NetworkView, endpoint: EndpointView) -> Mapping[str, str]:
        """For `cnm status`: what a program needs to know to plug itself in."""
        folder = network.options.sockets
        return {
            "socket": socket_of(network, endpoint),
            "socket owner": f"{folder.uid}:{folder.gid} {folder.mode}",
            "mac": endpoint.mac,
        }

    def check(self, network: NetworkView, topology: Topology) -> Iterable[Problem]:
        options: OvsDpdkOptions = network.options
        yield from Checks(network, self.name).problems(topology)
        sockets: dict[str, str] = {}
        for endpoint in network.endpoints:
            yield from check_endpoint(endpoint)
        for endpoint in network.local:
            yield from check_rates(network, endpoint, userspace=True)
            yield from _endpoint(network, endpoint)
            other = sockets.setdefault(socket_of(network, endpoint), endpoint.name)
            if other != endpoint.name:
                yield Problem(
                    endpoint.at("spec", "options", "socket"),
                    f"endpoints {other} and {endpoint.name} have one socket, {socket_of(network, endpoint)}",
                    "write another name",
                )
        names = [port.name for port in options.dpdk_ports]
        for number, port in enumerate(options.dpdk_ports):
            if names.count(port.name) > 1:
                yield Problem(
                    network.at("spec", "options", "dpdkPorts", number, "name"),
                    f"network {network.name}: two DPDK ports have the name {port.name}",
                    "rename one of them",
                )

    def render(self, network: NetworkView, node: NodeFacts) -> Iterable[Resource]:
        options: OvsDpdkOptions = network.options
        switch = Switch(network, self.name, "netdev")
        if not (switch.used or options.dpdk_ports):
            return
        yield from _engine(options.engine, replace(network.at("spec", "options", "engine"), driver=self.name))
        yield from switch.render(node, {endpoint.name: port_name(network, endpoint) for endpoint in network.local})
        for number, port in enumerate(options.dpdk_ports):
            origin = replace(network.at("spec", "options", "dpdkPorts", number), driver=self.name)
            pairs = {"dpdk-devargs": port.device, "n_rxq": port.queues, "n_rxq_desc": port.descriptors}
            given = tuple(sorted((name, str(value)) for name, value in pairs.items() if value is not None))
            yield switch.port(
                port.name, origin, [OvsInterface(name=port.name, type="dpdk", options=given, fault="")], port
            )
        if network.local:
            folder = options.sockets
            yield Folder(
                key=folder_key(_folder(network)),
                origin=replace(network.at("spec", "options", "sockets"), driver=self.name),
                uid=folder.uid,
                gid=folder.gid,
                mode=int(folder.mode, 8),
            )
        for endpoint in network.local:
            yield from self._endpoint(switch, endpoint)

    def _endpoint(self, switch: Switch, endpoint: EndpointView) -> Iterable[Resource]:
        network = switch.network
        origin = replace(endpoint.origin, driver=self.name)
        name = port_name(network, endpoint)
        interface = OvsInterface(
            name=name,
            type="dpdkvhostuserclient",
            options=(("vhost-server-path", socket_of(network, endpoint)),),
            mtu=endpoint.mtu,
            fault="",
        )
        labels = {
            "cnm-endpoint": f"{network.name}/{endpoint.name}",
            "cnm-addresses": " ".join(map(str, endpoint.addresses)),
            "cnm-mac": endpoint.mac,
        }
        yield switch.port(
            name,
            origin,
            [interface],
            endpoint.options,
            protected=not network.options.inter_container,
            qos=queue_name(endpoint) if endpoint.receive is not None else "",
            external_ids=Entries(tuple(sorted(labels.items()))),
        )
        if endpoint.receive is not None:
            rate = endpoint.receive
            config = {"cir": str(rate.rate // 8), "cbs": str(rate.burst * 1024 or max(rate.rate // 80, 16384))}
            own = queue_name(endpoint)
            yield OvsQos(
                key=ovs_qos_key(own),
                origin=origin,
                type="egress-policer",
                queues=(),
                other_config=tuple(sorted(config.items())),
            )
        yield from hold_rates(switch.bridge, name, endpoint, origin, userspace=True)


def port_name(network: NetworkView, endpoint: EndpointView) -> str:
    return short_name("vu-", "endpoint", network.name, endpoint.name)


def socket_of(network: NetworkView, endpoint: EndpointView) -> str:
    """The path of an endpoint's vhost-user socket."""
    own: OvsDpdkEndpointOptions = endpoint.options
    return f"{_folder(network)}/{own.socket or f'{endpoint.name}.sock'}"


def _folder(network: NetworkView) -> str:
    options: OvsDpdkOptions = network.options
    return (options.sockets.path or f"{_FOLDER}/{network.name}").rstrip("/")


def _engine(engine: Engine, origin: Origin) -> Iterable[OvsSetting]:
    values = {
        "dpdk-init": "true",
        "pmd-cpu-mask": engine.pmd_cpu_mask,
        "dpdk-lcore-mask": engine.lcore_mask,
        "dpdk-socket-mem": ",".join(map(str, engine.socket_memory)) or None,
        "per-port-memory": str(engine.per_port_memory).lower() if engine.per_port_memory is not None else None,
        "pmd-maxsleep": str(engine.pmd_max_sleep) if engine.pmd_max_sleep is not None else None,
        "dpdk-extra": engine.extra,
    }
    for name, value in values.items():
        if value is not None:
            yield OvsSetting(key=ovs_setting_key("other_config", name), origin=origin, value=value)


def _endpoint(network: NetworkView, endpoint: EndpointView) -> Iterable[Problem]:
    path = socket_of(network, endpoint)
    if len(path) > _LONGEST:
        yield Problem(
            endpoint.origin,
            f"endpoint {endpoint.name}: {path} has {len(path)} bytes, a socket's path at most {_LONGEST}",
            "write options.socket, or a shorter options.sockets.path on the network",
        )
    for name in ("interface", "sysctls", "routes"):
        if endpoint.says(name):
            yield Problem(
                endpoint.at("spec", name),
                f"endpoint {endpoint.name}: driver ovs-dpdk puts no interface into the sandbox, {name} would do nothing",
                f"leave {name} out: the program that opens {path} has a stack of its own",
            )


DRIVER = OvsDpdkDriver()
