"""Contract: one that a fabric has already, for groups to provide or consume."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reconciler.manifest.kinds.tenant import FabricName
from reconciler.manifest.model import DocumentModel, Model, once


class ContractSpec(Model):
    """Which contract is meant."""

    tenant: FabricName = Field(
        default="common", description="The fabric's tenant that has it: common, or the one of the groups that name it."
    )
    contract: FabricName | None = Field(default=None, description="Its name there. Default: the document's name.")


class Contract(DocumentModel):
    """A contract that others made in the fabric (to the outside, to shared services). It is never changed or removed."""

    kind: Literal["Contract"] = Field(description="Contract")
    spec: ContractSpec = Field(default_factory=once(ContractSpec), description="Which contract is meant.")


KIND = Contract
EXAMPLE = """\
apiVersion: cnm/v1alpha1
kind: Contract
metadata: {name: dns}
spec:
  tenant: common
  contract: shared-dns
"""
