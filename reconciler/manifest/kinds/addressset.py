"""AddressSet: a named list of CIDRs for policies."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reconciler.manifest.model import DocumentModel, Model, once
from reconciler.manifest.types import Cidr


class AddressSetSpec(Model):
    """What is in it."""

    nets: list[Cidr] = Field(default=[], description="CIDRs of both families, any number; they may overlap.")


class AddressSet(DocumentModel):
    """A named list of CIDRs, for the rules of policies (``addressSets``)."""

    kind: Literal["AddressSet"] = Field(description="AddressSet")
    spec: AddressSetSpec = Field(default_factory=once(AddressSetSpec), description="What is in it.")


KIND = AddressSet
EXAMPLE = """\
apiVersion: cnm/v1alpha1
kind: AddressSet
metadata: {name: offices}
spec:
  nets: [198.51.100.0/24, 203.0.113.7/32, "2001:db8:f::/48"]
"""
