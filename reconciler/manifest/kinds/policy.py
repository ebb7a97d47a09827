"""Policy: what the endpoints that it selects may send and receive."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from reconciler.manifest.model import DocumentModel, Model, once
from reconciler.manifest.types import Cidr, Name, Port, SelectorText

Protocol = Literal["tcp", "udp", "sctp", "icmp", "icmpv6"]
ProtocolNumber = Annotated[int, Field(ge=0, le=255)]
WITH_PORTS = ("tcp", "udp", "sctp")


class Icmp(Model):
    """ICMP or ICMPv6 type and code (RFC 792, RFC 4443), by number."""

    type: Annotated[int, Field(ge=0, le=255)] = Field(description="Type: 8 is an echo request, of ICMPv6 128.")
    code: Annotated[int, Field(ge=0, le=255)] | None = Field(default=None, description="Code. Default: any.")


class Peer(Model):
    """One side of a packet. All that is written must hold; what is not written holds for everybody."""

    selector: SelectorText | None = Field(default=None, description="Endpoints with these labels.")
    not_selector: SelectorText | None = Field(default=None, description="No endpoint with these labels.")
    namespaces: SelectorText | None = Field(default=None, description="Endpoints in Namespaces with these labels.")
    networks: SelectorText | None = Field(default=None, description="Endpoints on Networks with these labels.")
    not_networks: SelectorText | None = Field(default=None, description="No endpoint on Networks with these labels.")
    nodes: SelectorText | None = Field(
        default=None,
        description="Hosts: the addresses of Nodes with these labels; of this node also those that it has on networks.",
    )
    not_nodes: SelectorText | None = Field(default=None, description="None of the addresses of these hosts.")
    nets: list[Cidr] | None = Field(default=None, description="Addresses in one of these CIDRs.")
    not_nets: list[Cidr] = Field(default=[], description="Addresses in none of these CIDRs.")
    address_sets: list[Name] | None = Field(
        default=None, description="Addresses in one of these AddressSets (or in nets, where both are written)."
    )
    not_address_sets: list[Name] = Field(default=[], description="Addresses in none of these AddressSets.")
    ports: list[Port] | None = Field(
        default=None, description="Ports, ranges like 8000-8100, and names of the sandbox's ports."
    )
    not_ports: list[Port] = Field(default=[], description="None of these ports.")


class Rule(Model):
    """What it is about, and what becomes of it."""

    action: Literal["allow", "deny", "log", "pass"] = Field(
        description="allow and deny decide; pass goes on with the next tier; log writes to the kernel's log and goes on."
    )
    ip_version: Literal[4, 6] | None = Field(default=None, description="Only this IP version.")
    protocol: Protocol | ProtocolNumber | None = Field(
        default=None, description="Only this protocol, by name or number."
    )
    not_protocol: Protocol | ProtocolNumber | None = Field(default=None, description="Any protocol but this.")
    icmp: Icmp | None = Field(default=None, description="Only this type; needs protocol icmp or icmpv6.")
    not_icmp: Icmp | None = Field(default=None, description="Any type but this; needs protocol icmp or icmpv6.")
    source: Peer = Field(default_factory=once(Peer), description="Who sends.")
    destination: Peer = Field(default_factory=once(Peer), description="Who receives.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for side, peer in (("source", self.source), ("destination", self.destination)):
            if (peer.ports is not None or peer.not_ports) and self.protocol not in WITH_PORTS:
                raise ValueError(
                    f"{side} has ports, but the rule has no protocol with ports: write protocol: tcp, udp or sctp"
                )
        if (self.icmp or self.not_icmp) and self.protocol not in ("icmp", "icmpv6"):
            raise ValueError("an ICMP type needs its protocol: write protocol: icmp or icmpv6")
        family = {"icmp": 4, "icmpv6": 6}.get(str(self.protocol))
        if family and self.ip_version not in (None, family):
            raise ValueError(f"protocol {self.protocol} is of IPv{family}: write ipVersion: {family}, or leave it out")
        return self


class PolicySpec(Model):
    """Whom it is about, when it is asked, and its rules."""

    tier: Name = Field(default="default", description="The Tier that it belongs to.")
    order: int | None = Field(
        default=None, description="In its tier, lower is asked first. Default: last; those of one order by name."
    )
    selector: SelectorText = Field(
        default="all()", description="The endpoints that it is about, by their labels. Default: all."
    )
    namespaces: SelectorText | None = Field(
        default=None, description="Only endpoints in Namespaces with these labels. Default: in any."
    )
    types: list[Literal["ingress", "egress"]] | None = Field(
        default=None,
        description="Directions that it decides on, as the endpoint sees them. Default: those with rules; "
        "ingress when there are none.",
    )
    ingress: list[Rule] = Field(default=[], description="Rules for what comes to the endpoints, in order.")
    egress: list[Rule] = Field(default=[], description="Rules for what they send, in order.")
    staged: bool = Field(default=False, description="True: count what it would decide, enforce nothing.")
    do_not_track: bool = Field(
        default=False,
        description="True: only about hosts (sandboxes with stack host), asked before connections are tracked: what it allows "
        "is not tracked and passes, what it denies is dropped at once, all else is for the other policies. It needs rules for "
        "both directions, because answers are not known as such.",
    )
    pre_dnat: bool = Field(
        default=False,
        description="True: only about hosts, and only ingress, asked before published ports lead elsewhere: what it denies "
        "reaches no sandbox behind them either; what it allows goes on to the other policies.",
    )

    @model_validator(mode="after")
    def _typed(self) -> Self:
        for word, rules in (("ingress", self.ingress), ("egress", self.egress)):
            if rules and self.types is not None and word not in self.types:
                raise ValueError(
                    f"it has {word} rules that nobody asks for: write {word} in types, or remove the rules"
                )
        if self.do_not_track and self.pre_dnat:
            raise ValueError("a policy is asked at one place: write either doNotTrack or preDnat")
        if self.pre_dnat and (self.egress or "egress" in (self.types or ())):
            raise ValueError("before published ports there is only ingress: leave egress out")
        return self


class Policy(DocumentModel):
    """What endpoints may send and receive. Policies take away from what networks allow; they open no network."""

    kind: Literal["Policy"] = Field(description="Policy")
    spec: PolicySpec = Field(
        default_factory=once(PolicySpec), description="Whom it is about, when it is asked, and its rules."
    )


KIND = Policy
EXAMPLE = """\
apiVersion: cnm/v1alpha1
kind: Policy
metadata: {name: database}
spec:
  tier: default
  order: 10
  selector: role == "database" && !has(test)
  types: [ingress]
  ingress:
    - {action: log, source: {selector: role == "guest"}}
    - action: allow
      protocol: tcp
      source: {selector: 'role in {"web", "batch"}'}
      destination: {ports: [5432, 6000-6010]}
    - {action: allow, protocol: icmp, icmp: {type: 8}}
"""
