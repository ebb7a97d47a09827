"""Tenant: networks and groups of endpoints that belong together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from reconciler.manifest.model import DocumentModel, Model
from reconciler.manifest.types import Name

# The names that APIC takes (Cisco APIC Management Information Model, naming:Name): 64 bytes at most.
FabricName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]


class TenantSpec(Model):
    """What belongs to it, and what holds in it."""

    networks: list[Name] = Field(description="Names of its networks. A network has one tenant at most.")
    policy_default: Literal["allow", "deny"] | None = Field(
        default=None,
        description="policyDefault of those of its networks that say none themselves. Default: allow.",
    )
    fabric: Name | None = Field(
        default=None, description="The AciFabric that carries it. Default: none, the nodes carry it by themselves."
    )
    existing: bool = Field(
        default=False,
        description="True: the fabric has this tenant already. It is used as it is, and never changed or removed.",
    )
    fabric_name: FabricName | None = Field(
        default=None, description="What the fabric calls it. Default: the document's name."
    )
    vrf: FabricName | None = Field(
        default=None, description="The VRF of the fabric in which its networks are routed. Default: the tenant's name."
    )


class Tenant(DocumentModel):
    """Networks that belong together, and what holds in all of them."""

    kind: Literal["Tenant"] = Field(description="Tenant")
    spec: TenantSpec = Field(description="What belongs to it, and what holds in it.")


KIND = Tenant
EXAMPLE = """\
apiVersion: cnm/v1alpha1
kind: Tenant
metadata: {name: shop}
spec:
  networks: [front, back]
  policyDefault: deny
  fabric: dc1
  vrf: production
"""
