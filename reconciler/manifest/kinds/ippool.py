"""IPPool: addresses for networks whose endpoints are routed, given out to nodes in blocks."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from reconciler.manifest.model import DocumentModel, Model
from reconciler.manifest.types import Cidr, SelectorText


class IPPoolSpec(Model):
    """Which addresses, for whom, and how packets to them travel between nodes."""

    cidr: Cidr = Field(description="The pool, like 10.48.0.0/16 or 2001:db8:48::/64.")
    networks: SelectorText = Field(
        default="all()",
        description="Networks that draw from it, by their labels: those of driver calico that name no subnets. Default: all.",
    )
    nodes: SelectorText = Field(
        default="all()", description="Nodes that get blocks of it, by their labels. Default: all."
    )
    block_size: Annotated[int, Field(ge=0, le=128)] | None = Field(
        default=None, description="Prefix length of a block. Default: 26, of IPv6 122: 64 addresses."
    )
    max_blocks_per_node: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="A node with so many blocks gets no more. Default: no limit."
    )
    strict_affinity: bool = Field(
        default=False,
        description="True: a node gives out addresses of its own blocks only. False: when it can get no more blocks it "
        "borrows addresses of other nodes' blocks, which are then announced one by one.",
    )
    nat_outgoing: bool = Field(
        default=False,
        description="True: what leaves for an address in no IPPool does so under the node's own address.",
    )
    encapsulation: Literal["never", "always", "cross-subnet"] = Field(
        default="never",
        description="A tunnel between nodes: never, always, or only to nodes on another subnet. Where it is used, nodes know "
        "each other's blocks from the manifests, not by BGP.",
    )
    tunnel: Literal["vxlan", "ipip"] = Field(
        default="vxlan",
        description="What such packets are wrapped in: VXLAN (RFC 7348), or IPIP (RFC 2003), which takes 20 bytes instead of 50 "
        "and carries IPv4 between IPv4 addresses only.",
    )
    vni: Annotated[int, Field(ge=1, le=(1 << 24) - 1)] | None = Field(
        default=None, description="VXLAN network identifier. Default: derived from the pool's name."
    )
    port: Annotated[int, Field(ge=1, le=65535)] = Field(default=4789, description="UDP port of VXLAN.")
    disabled: bool = Field(
        default=False, description="True: nobody gets a new address of it; those that were given stay."
    )

    @model_validator(mode="after")
    def _blocks_fit(self) -> Self:
        if not self.cidr.prefixlen <= self.block_length <= self.cidr.max_prefixlen:
            raise ValueError(
                f"blocks of /{self.block_length} do not fit into {self.cidr}: write a blockSize from "
                f"{self.cidr.prefixlen} to {self.cidr.max_prefixlen}"
            )
        return self

    @model_validator(mode="after")
    def _tunnel_fits(self) -> Self:
        if self.tunnel == "ipip":
            if self.cidr.version != 4:
                raise ValueError(f"IPIP carries no IPv6, and so not {self.cidr}: write tunnel: vxlan")
            for name in ("vni", "port"):
                if name in self.model_fields_set:
                    raise ValueError(f"IPIP has no {name}: leave it out, or write tunnel: vxlan")
        return self

    @property
    def block_length(self) -> int:
        """The prefix length of its blocks."""
        return self.block_size if self.block_size is not None else {4: 26, 6: 122}[self.cidr.version]


class IPPool(DocumentModel):
    """Addresses for routed networks. Nodes get blocks of it, so that one route leads to many endpoints."""

    kind: Literal["IPPool"] = Field(description="IPPool")
    spec: IPPoolSpec = Field(description="Which addresses, for whom, and how packets to them travel.")


KIND = IPPool
EXAMPLE = """\
apiVersion: cnm/v1alpha1
kind: IPPool
metadata: {name: rack-a}
spec:
  cidr: 10.48.0.0/16
  networks: tier == 'web'
  nodes: rack == 'a'
  blockSize: 26
  natOutgoing: true
"""
