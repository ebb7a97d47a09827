"""Node: a host that shares these manifests."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from reconciler.manifest.model import DocumentModel, Model, once
from reconciler.manifest.types import IPAddress

_OCTET = "(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
RouterId = Annotated[str, StringConstraints(pattern=rf"^{_OCTET}(\.{_OCTET}){{3}}$")]
_Path = Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$", max_length=255)]


class ExistingBird(Model):
    """A BIRD that somebody else runs. cnm writes one file, which the BIRD's own configuration includes."""

    include_file: _Path = Field(
        description="The file that cnm writes; bird.conf must have a line 'include \"FILE\";' with it."
    )
    config_file: _Path = Field(
        default="/etc/bird/bird.conf", description="The BIRD's own configuration, which is only read, to check it."
    )
    socket: _Path = Field(default="/run/bird/bird.ctl", description="The BIRD's control socket.")


class Bgp(Model):
    """How this node speaks BGP: by a BIRD of cnm's own for routed networks, by FRR (whose file is cnm's alone) for
    overlays whose control plane is EVPN."""

    asn: Annotated[int, Field(ge=1, le=4294967294)] | None = Field(
        default=None,
        description="Autonomous system number; for EVPN the same on all nodes. Default: that of the BGPConfiguration, 64512.",
    )
    router_id: RouterId | None = Field(
        default=None, description="BGP identifier, written as an IPv4 address. Default: the node's first IPv4 address."
    )
    route_reflector: bool = Field(
        default=False,
        description="True: passes on what others tell it (RFC 4456). Where there is one, the others speak to it alone.",
    )
    cluster_id: RouterId | None = Field(
        default=None,
        description="The cluster of a route reflector (RFC 4456, 7), written as an IPv4 address; the same on reflectors that "
        "serve the same nodes. Default: its BGP identifier.",
    )
    bird: ExistingBird | None = Field(
        default=None, description="Use a BIRD that runs on the node already. Default: cnm runs one of its own."
    )
    config_file: _Path = Field(
        default="/etc/frr/frr.conf", description="The file that FRR on this node reads; it is written whole."
    )
    sockets: _Path = Field(default="/run/frr", description="The folder of FRR's vty sockets on this node.")


class NodeSpec(Model):
    """How the other nodes reach this one."""

    addresses: list[IPAddress] = Field(
        default=[],
        description="The host's underlay addresses, by which other nodes reach it; the first of a family counts.",
    )
    failsafe_ports: list[Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,4}/(tcp|udp)$")]] = Field(
        default=["22/tcp"],
        description="Ports of the host itself that no policy can close, so that nobody locks himself out.",
    )
    bgp: Bgp | None = Field(default=None, description="Speak BGP with the other nodes. Default: not at all.")


class Node(DocumentModel):
    """A host. Without any Node document the manifests describe one host: this one."""

    kind: Literal["Node"] = Field(description="Node")
    spec: NodeSpec = Field(default_factory=once(NodeSpec), description="How the other nodes reach this one.")


KIND = Node
EXAMPLE = """\
apiVersion: cnm/v1alpha1
kind: Node
metadata:
  name: rack1
  labels: {site: north}
spec:
  addresses: [192.0.2.11, "2001:db8::11"]
"""
