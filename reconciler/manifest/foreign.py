"""What Kubernetes documents share. They are taken as they are: what cnm has no use for is carried and ignored."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from reconciler.manifest.model import Model
from reconciler.manifest.types import Name

DnsName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
IGNORED = "Carried and ignored."


class KubernetesMetadata(Model):
    """ObjectMeta, with all that ``kubectl get -o yaml`` writes into it."""

    name: DnsName = Field(description="The document's name.")
    namespace: Name = Field(default="default", description="The namespace that it is in.")
    labels: dict[str, str] = Field(default={}, description="Labels.")
    annotations: dict[str, Any] | None = Field(default=None, description=IGNORED)
    creation_timestamp: Any = Field(default=None, description=IGNORED)
    deletion_grace_period_seconds: Any = Field(default=None, description=IGNORED)
    deletion_timestamp: Any = Field(default=None, description=IGNORED)
    finalizers: Any = Field(default=None, description=IGNORED)
    generate_name: Any = Field(default=None, description=IGNORED)
    generation: Any = Field(default=None, description=IGNORED)
    managed_fields: Any = Field(default=None, description=IGNORED)
    owner_references: Any = Field(default=None, description=IGNORED)
    resource_version: Any = Field(default=None, description=IGNORED)
    self_link: Any = Field(default=None, description=IGNORED)
    uid: Any = Field(default=None, description=IGNORED)
