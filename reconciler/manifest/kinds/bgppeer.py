"""BGPPeer: a BGP speaker that nodes talk to beyond the mesh: a leaf switch, a route reflector."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from reconciler.manifest.kinds.bgpconfiguration import Asn, Bfd, Community
from reconciler.manifest.model import DocumentModel, Model
from reconciler.manifest.types import Cidr, FilePath, IPAddress, Name, PortNumber, SelectorText


class Prefixes(Model):
    """Prefixes inside a CIDR."""

    cidr: Cidr = Field(description="The CIDR.")
    min_length: Annotated[int, Field(ge=0, le=128)] | None = Field(
        default=None, description="The shortest prefix length meant. Default: the CIDR's own."
    )
    max_length: Annotated[int, Field(ge=0, le=128)] | None = Field(
        default=None,
        description="The longest prefix length meant. Default: the CIDR's own, or minLength where that is longer.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        least, most = self.lengths
        if not self.cidr.prefixlen <= least <= most <= self.cidr.max_prefixlen:
            raise ValueError(
                f"lengths {least} to {most} are none of prefixes in {self.cidr}: write them from {self.cidr.prefixlen} to "
                f"{self.cidr.max_prefixlen}, the shorter first"
            )
        return self

    @property
    def lengths(self) -> tuple[int, int]:
        """The shortest and the longest."""
        least = self.min_length if self.min_length is not None else self.cidr.prefixlen
        return least, self.max_length if self.max_length is not None else least


class FilterRule(Model):
    """One rule: all that is written must hold. The first that decides counts."""

    action: Literal["accept", "reject", "change"] = Field(
        description="accept and reject decide; change only does what else the rule says, and goes on."
    )
    prefixes: list[Prefixes] | None = Field(default=None, description="Routes to one of these. Default: to anything.")
    communities: list[Community] | None = Field(default=None, description="Routes that carry one of these communities.")
    add_communities: list[Community] = Field(default=[], description="Communities that the route gets.")
    prepend: Annotated[int, Field(ge=0, le=16)] = Field(
        default=0, description="How many times the own AS is put before the path, to be less preferred."
    )
    local_pref: Annotated[int, Field(ge=0, le=4294967295)] | None = Field(
        default=None, description="LOCAL_PREF of the route (RFC 4271, 5.1.5): higher is preferred inside the AS."
    )


class BGPPeerSpec(Model):
    """Who speaks to whom, and what they tell each other."""

    node: Name | None = Field(default=None, description="Only this node speaks to it. Default: see nodes.")
    nodes: SelectorText | None = Field(
        default=None, description="Nodes with these labels speak to it. Default: all that have spec.bgp."
    )
    address: IPAddress | None = Field(default=None, description="The peer's address; or write peers.")
    asn: Asn | None = Field(default=None, description="The peer's AS; needed with address.")
    port: PortNumber | None = Field(default=None, description="The peer's TCP port. Default: 179; of nodes listenPort.")
    peers: SelectorText | None = Field(
        default=None, description="The peers are the other nodes with these labels: route reflectors, for example."
    )
    password_file: FilePath | None = Field(
        default=None,
        description="A file of mode 0600 on the node with the password in its first line (TCP MD5, RFC 2385).",
    )
    ttl_security: bool = Field(
        default=False, description="True: packets must come from as near as the peer is (GTSM, RFC 5082)."
    )
    multihop: Annotated[int, Field(ge=1, le=255)] | None = Field(
        default=None, description="How many hops away a peer of another AS may be. Default: on one of the node's links."
    )
    source_address: IPAddress | None = Field(
        default=None, description="The node's address for this session. Default: its first one of the family."
    )
    next_hop: Literal["auto", "self", "keep"] = Field(
        default="auto",
        description="The next hop of what is announced: auto: the node itself towards other AS and for its own; self: always the "
        "node; keep: as it was learned.",
    )
    announce: Literal["own", "all"] = Field(
        default="own",
        description="own: what is on the node itself, and advertisements; all: what it has learned from others as well.",
    )
    graceful_restart: bool = Field(
        default=True, description="False: routes go at once when the peer's router ends (see BGPConfiguration)."
    )
    bfd: Bfd | None = Field(
        default=None,
        description="Watch the session by BFD, which the peer must be told as well. Default: with peers as the BGPConfiguration says, "
        "else not.",
    )
    imports: list[FilterRule] = Field(
        default=[], description="Rules for routes that the peer tells of. What no rule decides on is accepted."
    )
    exports: list[FilterRule] = Field(
        default=[], description="Rules for what announce lets through. What no rule decides on is accepted."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.address is None) == (self.peers is None):
            raise ValueError("a peer has either an address or a selector: write spec.address or spec.peers")
        if self.address is not None and self.asn is None:
            raise ValueError("the AS of an address is not known: write spec.asn")
        if self.peers is not None and self.asn is not None:
            raise ValueError("the AS of a node is in its Node document: leave asn out")
        if self.node is not None and self.nodes is not None:
            raise ValueError("write either node or nodes")
        return self


class BGPPeer(DocumentModel):
    """Somebody whom nodes speak BGP with."""

    kind: Literal["BGPPeer"] = Field(description="BGPPeer")
    spec: BGPPeerSpec = Field(description="Who speaks to whom, and what they tell each other.")


KIND = BGPPeer
EXAMPLE = """\
apiVersion: cnm/v1alpha1
kind: BGPPeer
metadata: {name: leaf-a}
spec:
  nodes: rack == 'a'
  address: 192.0.2.254
  asn: 65001
  passwordFile: /etc/cnm/leaf-a.password
  ttlSecurity: true
  exports:
    - {action: change, prefixes: [{cidr: 10.48.0.0/16, maxLength: 32}], addCommunities: ["64512:100"]}
"""
