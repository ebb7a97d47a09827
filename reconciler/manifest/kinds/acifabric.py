"""AciFabric: a Cisco ACI fabric that carries tenants, and how its controllers are reached."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema, model_validator

from reconciler.manifest.kinds.tenant import FabricName
from reconciler.manifest.model import DocumentModel, Model
from reconciler.manifest.types import Name


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        fine = parts.scheme == "https" and parts.hostname and parts.port != 0
    except ValueError:
        fine = False
        parts = urlsplit("")
    if not fine or parts.path not in ("", "/") or parts.query or parts.fragment or not value.isascii():
        raise ValueError(f"{value!r} is not an APIC's address: write one like 'https://apic1.example.com'")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address holds no credentials: write user and passwordFile")
    return value.rstrip("/")


Url = Annotated[str, AfterValidator(_url), WithJsonSchema({"type": "string", "pattern": "^https://[^/@?#]+/?$"})]
_File = Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$", max_length=255)]
# topology/pod-1/paths-101/pathep-[eth1/14], of a vPC topology/pod-1/protpaths-101-102/pathep-[NAME] (APIC Management
# Information Model, fabric:PathEp).
_PORT = (
    r"topology/pod-[0-9]{1,3}/(prot)?paths-[0-9]{1,4}(-[0-9]{1,4})?/(extpaths-[0-9]{1,4}/)?"
    r"pathep-\[[A-Za-z0-9_.:/-]{1,64}\]"
)


def _path(value: str) -> str:
    if not re.fullmatch(_PORT, value):
        raise ValueError(
            f"{value!r} is not a leaf's port: write its DN, like 'topology/pod-1/paths-101/pathep-[eth1/14]', of a vPC "
            "'topology/pod-1/protpaths-101-102/pathep-[NAME]'"
        )
    return value


PathDn = Annotated[str, AfterValidator(_path), WithJsonSchema({"type": "string", "pattern": f"^{_PORT}$"})]
VmmDomain = Annotated[
    str, StringConstraints(pattern=r"^(VMware|Microsoft|OpenStack|Kubernetes|Redhat)/[A-Za-z0-9_.:-]{1,64}$")
]


class AciFabricSpec(Model):
    """How its controllers are reached, and where the nodes are plugged in."""

    apics: Annotated[list[Url], Field(min_length=1)] = Field(
        description="Its APICs, like https://apic1.example.com. The first that answers is spoken to."
    )
    user: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.\\:@-]{1,128}$")] = Field(
        description="The user's name there; apic:DOMAIN\\NAME for one of a login domain."
    )
    password_file: _File = Field(
        description="File with the password, of root's, mode 0600, on the node that speaks to the APICs. Only this path is "
        "ever in manifests, plans, snapshots and logs."
    )
    ca_file: _File | None = Field(
        default=None,
        description="File with the certificates (PEM) by which the APICs' own are checked. Default: those that the system "
        "trusts. They are always checked.",
    )
    node: Name | None = Field(
        default=None,
        description="The node that speaks to the APICs, for all. Default: the first by name; without Node documents, this host.",
    )
    timeout: Annotated[int, Field(ge=1, le=300)] = Field(
        default=30, description="Seconds after which an APIC that does not answer counts as unreachable."
    )
    physical_domain: FabricName | None = Field(
        default=None, description="The physical domain of the nodes' ports; its VLAN pool holds the groups' VLANs."
    )
    vmm_domain: VmmDomain | None = Field(
        default=None, description="Instead of it the domain of a virtual machine manager, like VMware/dvs1."
    )
    paths: dict[Name, list[PathDn]] = Field(
        default={},
        description="By node, the leaf ports that it is plugged into, like topology/pod-1/paths-101/pathep-[eth1/14]. Each "
        "group is bound to the ports of the nodes that have endpoints of it.",
    )

    @model_validator(mode="after")
    def _one_domain(self) -> Self:
        if self.physical_domain is not None and self.vmm_domain is not None:
            raise ValueError("it has two domains: write physicalDomain or vmmDomain")
        if self.paths and self.physical_domain is None:
            raise ValueError("ports without their domain carry nothing: write physicalDomain")
        return self


class AciFabric(DocumentModel):
    """A Cisco ACI fabric. Tenants that name it are rendered to managed objects of its APICs."""

    kind: Literal["AciFabric"] = Field(description="AciFabric")
    spec: AciFabricSpec = Field(description="How its controllers are reached, and where the nodes are plugged in.")


KIND = AciFabric
EXAMPLE = """\
apiVersion: cnm/v1alpha1
kind: AciFabric
metadata: {name: dc1}
spec:
  apics: ["https://apic1.example.com", "https://apic2.example.com"]
  user: cnm
  passwordFile: /etc/cnm/apic.password
  caFile: /etc/cnm/apic-ca.pem
  physicalDomain: servers
  paths:
    rack1: ["topology/pod-1/paths-101/pathep-[eth1/14]"]
"""
