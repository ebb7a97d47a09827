"""Node: a host that shares these manifests."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from reconciler.manifest.model import DocumentModel, Model
from reconciler.manifest.types import IPAddress

_OCTET = "(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
RouterId = Annotated[str, StringConstraints(pattern=rf"^{_OCTET}(\.{_OCTET}){{3}}$")]
_Path = Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$", max_length=255)]


class Bgp(Model):
    """How this node speaks BGP, for overlays whose control plane is EVPN. FRR does it; the file is cnm's alone."""

    asn: Annotated[int, Field(ge=1, le=4294967294)] = Field(
        default=64512, description="Autonomous system number, the same on all nodes."
    )
    router_id: RouterId | None = Field(
        default=None, description="BGP identifier, written as an IPv4 address. Default: the node's first IPv4 address."
    )
    route_reflector: bool = Field(
        default=False,
        description="True: passes on what others tell it (RFC 4456). Where there is one, the others speak to it alone.",
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
    spec: NodeSpec = Field(default=NodeSpec(), description="How the other nodes reach this one.")


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
