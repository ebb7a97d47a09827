"""EndpointGroup: endpoints of a network that are treated alike."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reconciler.manifest.kinds.tenant import FabricName
from reconciler.manifest.model import DocumentModel, Model
from reconciler.manifest.types import Name, SelectorText

Vlan = Annotated[int, Field(ge=1, le=4094)]


class EndpointGroupSpec(Model):
    """Who is in it, and what holds for them."""

    network: Name = Field(description="The network whose endpoints are meant. It belongs to a Tenant.")
    selector: SelectorText = Field(
        default="all()",
        description="Those with these labels, of the sandbox or the endpoint. An endpoint is in one group at most; policies "
        "know it by the label cnm/group.",
    )
    profile: Name | None = Field(
        default=None, description="The Profile of its endpoints, where they say no rates themselves."
    )
    vlan: Vlan | None = Field(
        default=None, description="The VLAN in which the fabric takes its frames; needed where the tenant has a fabric."
    )
    application: FabricName | None = Field(
        default=None,
        description="The application profile of the fabric that it is put into. Default: the tenant's name.",
    )
    provides: list[Name] = Field(default=[], description="Contracts of the fabric that it provides.")
    consumes: list[Name] = Field(default=[], description="Contracts of the fabric that it consumes.")


class EndpointGroup(DocumentModel):
    """Endpoints of one network, chosen by their labels, to which the same policies and the same profile apply."""

    kind: Literal["EndpointGroup"] = Field(description="EndpointGroup")
    spec: EndpointGroupSpec = Field(description="Who is in it, and what holds for them.")


KIND = EndpointGroup
EXAMPLE = """\
apiVersion: cnm/v1alpha1
kind: EndpointGroup
metadata: {name: web}
spec:
  network: front
  selector: app == "web"
  profile: gold
  vlan: 101
  application: store
  provides: [public-web]
  consumes: [dns]
"""
