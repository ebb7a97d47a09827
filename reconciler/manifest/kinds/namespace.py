"""Namespace: Kubernetes' document, for the labels of a namespace."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from reconciler.manifest.foreign import IGNORED, KubernetesMetadata
from reconciler.manifest.model import DocumentModel

API_VERSION = "v1"


class Namespace(DocumentModel):
    """A Kubernetes Namespace, as it is: its labels are what ``namespaceSelector`` asks for.

    A sandbox is in the one that its ``spec.namespace`` names; a namespace without a document has one label,
    ``kubernetes.io/metadata.name``, which all have."""

    api_version: Literal["v1"] = Field(description="v1")  # type: ignore[assignment]  # not ours
    kind: Literal["Namespace"] = Field(description="Namespace")
    metadata: KubernetesMetadata = Field(description="Name and labels.")  # type: ignore[assignment]  # not ours
    spec: dict[str, Any] = Field(default={}, description=IGNORED)
    status: dict[str, Any] = Field(default={}, description=IGNORED)


KIND = Namespace
EXAMPLE = """\
apiVersion: v1
kind: Namespace
metadata:
  name: shop
  labels: {team: sales}
"""
