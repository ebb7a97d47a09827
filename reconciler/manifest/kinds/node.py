"""Node: a host that shares these manifests."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from reconciler.manifest.model import DocumentModel, Model
from reconciler.manifest.types import IPAddress


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
