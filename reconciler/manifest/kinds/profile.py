"""Profile: rates that groups of endpoints have in common."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reconciler.manifest.kinds.endpoint import Rates
from reconciler.manifest.model import DocumentModel


class Profile(DocumentModel):
    """How fast each endpoint of a group may be, and its DSCP. What an endpoint says itself goes before it."""

    kind: Literal["Profile"] = Field(description="Profile")
    spec: Rates = Field(description="The same as spec.rates of an Endpoint.")


KIND = Profile
EXAMPLE = """\
apiVersion: cnm/v1alpha1
kind: Profile
metadata: {name: gold}
spec:
  send: {rate: 100mbit, burst: 256}
  receive: {rate: 200mbit}
  dscp: 34
"""
