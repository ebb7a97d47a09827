"""Driver macvlan: endpoints with MAC addresses of their own on an interface of the host."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from reconciler.drivers.rider import Rider, RiderOptions
from reconciler.errors import Problem
from reconciler.manifest.types import Mac
from reconciler.resources.linkinfo.info import LinkInfo
from reconciler.resources.linkinfo.macvlan import Macvlan
from reconciler.topology.options import EndpointOptions, NetworkOptions
from reconciler.topology.view import EndpointView, NetworkView, Topology

Mode = Literal["bridge", "vepa", "private", "passthru", "source"]


class MacvlanOptions(RiderOptions):
    """Options of driver macvlan."""

    family: ClassVar[str] = "macvlan"

    mode: Mode = Field(
        default="bridge",
        description="bridge: endpoints on one parent reach each other; vepa: only by way of a switch that sends frames "
        "back (802.1Qbg hairpin); private: not at all; passthru: the parent has one endpoint, which has its "
        "MAC address; source: an endpoint gets the frames of the senders that it names.",
    )
    nopromisc: bool = Field(default=False, description="Mode passthru: the parent is not put into promiscuous mode.")
    nodst: bool = Field(
        default=False,
        description="Mode source: frames of the senders that are named go to whoever names them, and not to their destination as well.",
    )
    broadcast_queue_length: Annotated[int, Field(ge=0, le=4294967295)] | None = Field(
        default=None,
        description="Broadcast and multicast frames that may wait on the parent; the largest of all endpoints' holds. "
        "Default: the kernel's (1000).",
    )
    broadcast_cutoff: Annotated[int, Field(ge=-1, le=2147483647)] | None = Field(
        default=None,
        description="A multicast group with more members than this is queued as broadcast is; -1: nothing is queued. "
        "One value for all on a parent. Default: the kernel's (1). Linux 6.4.",
    )

    def shared(self) -> dict[str, Any]:
        return {"broadcastCutoff": self.broadcast_cutoff}

    def apart(self) -> str:
        return f"mode {self.mode}" if self.mode not in ("bridge", "vepa") else ""

    def exclusive(self) -> str:
        return "mode passthru" if self.mode == "passthru" else ""


class MacvlanEndpointOptions(EndpointOptions):
    """Options of an endpoint on a network of driver macvlan."""

    sources: list[Mac] = Field(default=[], description="Mode source: MAC addresses of the senders that it listens to.")


class MacvlanDriver(Rider):
    """A macvlan an endpoint."""

    name: ClassVar[str] = "macvlan"
    summary: ClassVar[str] = "endpoints with MAC addresses of their own on an interface of the host"
    capabilities: ClassVar[frozenset[str]] = frozenset({"link:macvlan"})
    Options: ClassVar[type[NetworkOptions]] = MacvlanOptions
    EndpointOptions: ClassVar[type[EndpointOptions]] = MacvlanEndpointOptions
    info: ClassVar[type[Macvlan]] = Macvlan

    def link_info(self, network: NetworkView, endpoint: EndpointView | None) -> LinkInfo:
        options: MacvlanOptions = network.options
        flags = [name for name in ("nodst", "nopromisc") if getattr(options, name)]
        sources = None
        if options.mode == "source" and endpoint is not None:
            sources = tuple(sorted(set(endpoint.options.sources)))
        kind = self.info if endpoint is not None else Macvlan  # the host itself needs no character device
        return kind(
            mode=options.mode,
            flags=tuple(flags),
            sources=sources,
            bc_queue_len=options.broadcast_queue_length,
            bc_cutoff=options.broadcast_cutoff,
        )

    def mac(self, network: NetworkView, endpoint: EndpointView) -> str | None:
        return None if network.options.mode == "passthru" else endpoint.mac

    def check(self, network: NetworkView, topology: Topology) -> Iterable[Problem]:
        yield from super().check(network, topology)
        options: MacvlanOptions = network.options
        for name, mode in (("nopromisc", "passthru"), ("nodst", "source")):
            if getattr(options, name) and options.mode != mode:
                yield Problem(
                    network.at("spec", "options", name),
                    f"network {network.name}: {name} means something in mode {mode} only",
                    f"leave it out, or write mode: {mode}",
                )
        for endpoint in network.endpoints:
            yield from _endpoint(endpoint, options.mode)


def _endpoint(endpoint: EndpointView, mode: Mode) -> Iterable[Problem]:
    sources = endpoint.options.sources
    if mode == "source" and not sources:
        yield Problem(
            endpoint.at("spec", "options"),
            f"endpoint {endpoint.name} would receive nothing: mode source, and it names no senders",
            "write options.sources: [MAC, ...]",
        )
    if mode != "source" and sources:
        yield Problem(
            endpoint.at("spec", "options", "sources"),
            f"endpoint {endpoint.name}: its network is in mode {mode}, sources mean something in mode source only",
            "leave them out",
        )
    if mode == "passthru" and endpoint.says("mac"):
        yield Problem(
            endpoint.at("spec", "mac"),
            f"endpoint {endpoint.name}: in mode passthru it has its parent's MAC address",
            "leave mac out",
        )


DRIVER = MacvlanDriver()
