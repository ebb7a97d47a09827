"""NetworkPolicy: Kubernetes' document (networking.k8s.io/v1), accepted as it is."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from reconciler.manifest.foreign import IGNORED, KubernetesMetadata
from reconciler.manifest.model import DocumentModel, Model, once
from reconciler.manifest.types import Cidr, PortName, PortNumber

API_VERSION = "networking.k8s.io/v1"


class Requirement(Model):
    """One of ``matchExpressions``."""

    key: str = Field(description="The label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="How it is compared.")
    values: list[str] = Field(default=[], description="For In and NotIn.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.operator in ("In", "NotIn") and not self.values:
            raise ValueError(f"operator {self.operator} compares with something: write values")
        if self.operator in ("Exists", "DoesNotExist") and self.values:
            raise ValueError(f"operator {self.operator} takes no values: write In or NotIn, or remove them")
        return self


class LabelSelector(Model):
    """All of it must hold; empty selects everything."""

    match_labels: dict[str, str] = Field(default={}, description="Labels with these very values.")
    match_expressions: list[Requirement] = Field(default=[], description="Further requirements.")


class IPBlock(Model):
    """A CIDR with holes."""

    cidr: Cidr = Field(description="Addresses in here.")
    except_: list[Cidr] = Field(default=[], alias="except", description="But not in here.")

    @model_validator(mode="after")
    def _inside(self) -> Self:
        for hole in self.except_:
            if hole.version != self.cidr.version or not hole.subnet_of(self.cidr):  # type: ignore[arg-type]  # one version
                raise ValueError(f"except {hole} is not inside {self.cidr}: write a part of it")
        return self


class NetworkPolicyPeer(Model):
    """Pods, by their labels and their namespaces' (without a namespace selector: of the policy's own), or a block."""

    pod_selector: LabelSelector | None = Field(default=None, description="Pods with these labels.")
    namespace_selector: LabelSelector | None = Field(default=None, description="In namespaces with these labels.")
    ip_block: IPBlock | None = Field(default=None, description="Or addresses.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        pods = self.pod_selector is not None or self.namespace_selector is not None
        if self.ip_block is not None and pods:
            raise ValueError("ipBlock stands alone: write it as a peer of its own")
        if self.ip_block is None and not pods:
            raise ValueError("a peer is empty: write podSelector, namespaceSelector or ipBlock")
        return self


class NetworkPolicyPort(Model):
    """A port, a range of ports, or all ports of a protocol."""

    protocol: Literal["TCP", "UDP", "SCTP"] = Field(default="TCP", description="The protocol.")
    port: PortNumber | PortName | None = Field(default=None, description="Number or name. Default: all.")
    end_port: PortNumber | None = Field(default=None, description="Last port of a range that begins with port.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end_port is not None and (not isinstance(self.port, int) or self.end_port < self.port):
            raise ValueError(f"endPort {self.end_port} ends no range: write a number in port that is not above it")
        return self


class IngressRule(Model):
    """What is let in: from one of the peers, to one of the ports; what is left out is any."""

    from_: list[NetworkPolicyPeer] = Field(default=[], alias="from", description="Senders. Default: anybody.")
    ports: list[NetworkPolicyPort] = Field(default=[], description="Ports. Default: all.")


class EgressRule(Model):
    """What is let out."""

    to: list[NetworkPolicyPeer] = Field(default=[], description="Receivers. Default: anybody.")
    ports: list[NetworkPolicyPort] = Field(default=[], description="Ports. Default: all.")


class NetworkPolicySpec(Model):
    """As in Kubernetes' reference."""

    pod_selector: LabelSelector = Field(
        default_factory=once(LabelSelector), description="The pods (sandboxes of the namespace) that it is about."
    )
    policy_types: Annotated[list[Literal["Ingress", "Egress"]], Field(max_length=2)] | None = Field(
        default=None, description="Default: Ingress, and Egress where there are egress rules."
    )
    ingress: list[IngressRule] = Field(default=[], description="What is let in.")
    egress: list[EgressRule] = Field(default=[], description="What is let out.")


class NetworkPolicy(DocumentModel):
    """A Kubernetes NetworkPolicy, as it is, with the meaning that it has there: a sandbox is a pod.

    It stands in tier default with order 1000."""

    api_version: Literal["networking.k8s.io/v1"] = Field(description=API_VERSION)  # type: ignore[assignment]  # not ours
    kind: Literal["NetworkPolicy"] = Field(description="NetworkPolicy")
    metadata: KubernetesMetadata = Field(description="Name, namespace and labels.")  # type: ignore[assignment]  # not ours
    spec: NetworkPolicySpec = Field(default_factory=once(NetworkPolicySpec), description="As in Kubernetes' reference.")
    status: dict[str, Any] = Field(default={}, description=IGNORED)


KIND = NetworkPolicy
SCOPE = ("metadata", "namespace", "default")
EXAMPLE = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: api-allow
  namespace: shop
spec:
  podSelector: {matchLabels: {app: api}}
  policyTypes: [Ingress]
  ingress:
    - from:
        - podSelector: {matchExpressions: [{key: app, operator: In, values: [web, batch]}]}
        - namespaceSelector: {matchLabels: {team: ops}}
        - ipBlock: {cidr: 10.8.0.0/16, except: [10.8.1.0/24]}
      ports:
        - {port: http}
        - {protocol: UDP, port: 5000, endPort: 5010}
"""
