"""Sandbox: a network stack that endpoints are plugged into."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from reconciler.manifest.model import DocumentModel, Model
from reconciler.manifest.types import Name, SysctlName, SysctlValue


class PathStack(Model):
    """An existing network namespace, by path."""

    path: Annotated[str, StringConstraints(pattern=r"^/[^\x00]+$", max_length=4096)] = Field(
        description="Absolute path of a network namespace, like /run/netns/web."
    )


class PidStack(Model):
    """The network namespace of a running process."""

    pid: Annotated[int, Field(ge=1, le=4194304)] = Field(description="The process id.")


class DockerStack(Model):
    """The network namespace of a Docker container."""

    docker: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$", max_length=255)] = Field(
        description="Name or id of a Docker container on this host."
    )


class ContainerStack(Model):
    """The stack of another sandbox, shared."""

    container: Name = Field(description="Name of the sandbox whose stack this one shares.")


class SandboxSpec(Model):
    """Which stack this is and where."""

    stack: Literal["netns", "none", "host"] | PathStack | PidStack | DockerStack | ContainerStack = Field(
        default="netns",
        description=(
            "netns: a named network namespace that cnm makes (/run/netns/NAME); none: the same with loopback only; "
            "host: the host's own stack; or one of {path: ...}, {pid: ...}, {docker: ...}, {container: ...}."
        ),
    )
    node: Name | None = Field(
        default=None, description="The Node this sandbox lives on. Needed when there is more than one Node document."
    )
    sysctls: dict[SysctlName, SysctlValue] = Field(
        default={}, description="Network sysctls of this stack, like net.ipv4.ip_unprivileged_port_start: 0."
    )


class Sandbox(DocumentModel):
    """A network stack: usually one per container."""

    kind: Literal["Sandbox"] = Field(description="Sandbox")
    spec: SandboxSpec = Field(default=SandboxSpec(), description="Which stack this is and where.")


KIND = Sandbox
EXAMPLE = """\
apiVersion: cnm/v1alpha1
kind: Sandbox
metadata: {name: shop}
spec:
  stack: netns
  sysctls: {net.ipv4.ip_unprivileged_port_start: 0}
---
apiVersion: cnm/v1alpha1
kind: Sandbox
metadata: {name: shop-metrics}
spec:
  stack: {container: shop}
"""
