"""Driver ipvlan: endpoints with IP addresses of their own under the MAC address of an interface of the host."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from pydantic import Field

from reconciler.drivers.rider import Rider, RiderOptions
from reconciler.errors import Problem
from reconciler.resources.linkinfo.info import LinkInfo
from reconciler.resources.linkinfo.ipvlan import Ipvlan
from reconciler.topology.options import Gateway, NetworkOptions
from reconciler.topology.view import EndpointView, NetworkView, Topology

Mode = Literal["l2", "l3", "l3s"]
Flag = Literal["bridge", "private", "vepa"]


class IpvlanOptions(RiderOptions):
    """Options of driver ipvlan."""

    family: ClassVar[str] = "ipvlan"

    mode: Mode = Field(
        default="l2",
        description="l2: endpoints are on the parent's segment; l3: the parent routes between them and the outside, which "
        "needs routes back to them: no ARP, no multicast, the default route goes out of the interface; l3s: the same, "
        "and packets pass the host's netfilter. One mode for all on a parent.",
    )
    flag: Flag = Field(
        default="bridge",
        description="bridge: endpoints on one parent reach each other; private: they do not; vepa: only by way of what is "
        "beyond the parent. One for all on a parent.",
    )

    def shared(self) -> dict[str, Any]:
        return {"mode": self.mode, "flag": self.flag}

    def apart(self) -> str:
        return "flag private" if self.flag == "private" else ""

    def leases(self) -> bool:
        return super().leases() and self.mode == "l2"

    def gateway(self, version: int) -> Gateway:
        return "written" if self.mode == "l2" else "device"


class IpvlanDriver(Rider):
    """An ipvlan an endpoint."""

    name: ClassVar[str] = "ipvlan"
    summary: ClassVar[str] = (
        "endpoints with IP addresses of their own under the MAC address of an interface of the host"
    )
    capabilities: ClassVar[frozenset[str]] = frozenset({"link:ipvlan"})
    Options: ClassVar[type[NetworkOptions]] = IpvlanOptions
    info: ClassVar[type[Ipvlan]] = Ipvlan

    def link_info(self, network: NetworkView, endpoint: EndpointView | None) -> LinkInfo:
        kind = self.info if endpoint is not None else Ipvlan  # the host itself needs no character device
        return kind(mode=network.options.mode, flag=network.options.flag)

    def mac(self, network: NetworkView, endpoint: EndpointView) -> str | None:
        return None

    def check(self, network: NetworkView, topology: Topology) -> Iterable[Problem]:
        yield from super().check(network, topology)
        options: IpvlanOptions = network.options
        for endpoint in network.endpoints:
            if endpoint.says("mac"):
                yield Problem(
                    endpoint.at("spec", "mac"),
                    f"endpoint {endpoint.name}: driver {self.name} gives all endpoints their parent's MAC address",
                    "leave mac out, or use driver macvlan",
                )
        if options.mode == "l2":
            return
        for number, subnet in enumerate(network.subnets):
            if network.says("subnets") and network.says("subnets", number, "gateway"):
                yield Problem(
                    network.at("spec", "subnets", number, "gateway"),
                    f"network {network.name}: in mode {options.mode} there is no gateway on {subnet.cidr}: packets leave by the "
                    "interface as it is, and the parent routes them",
                    "leave gateway out",
                )


DRIVER = IpvlanDriver()
