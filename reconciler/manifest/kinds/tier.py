"""Tier: a level of policies, asked before or after others."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reconciler.manifest.model import DocumentModel, Model, once


class TierSpec(Model):
    """When its policies are asked, and what holds when none of them decides."""

    order: int = Field(
        default=1_000_000,
        description="Tiers with a lower order are asked first; those of one order by name. Tier default has 1000000.",
    )
    default_action: Literal["deny", "pass"] = Field(
        default="deny",
        description="What becomes of a packet of an endpoint that policies of this tier select, when none of their "
        "rules decides: deny, or pass it to the next tier.",
    )


class Tier(DocumentModel):
    """A level of policies. Tier default exists by itself, and can be declared to change it."""

    kind: Literal["Tier"] = Field(description="Tier")
    spec: TierSpec = Field(
        default_factory=once(TierSpec), description="When its policies are asked, and what holds otherwise."
    )


KIND = Tier
EXAMPLE = """\
apiVersion: cnm/v1alpha1
kind: Tier
metadata: {name: security}
spec:
  order: 100
  defaultAction: pass
"""
