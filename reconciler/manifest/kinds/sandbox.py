"""Sandbox: a network stack that endpoints are plugged into."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag

from reconciler.manifest.model import DocumentModel, Model, once
from reconciler.manifest.types import DomainName, IPAddress, Name, PortName, PortNumber, SysctlName, SysctlValue


def _absolute(value: str) -> str:
    if not value.startswith("/") or "\0" in value:
        raise ValueError(f"{value!r} is not an absolute path: write one like '/run/netns/web'")
    return value


class PathStack(Model):
    """An existing network namespace, by path."""

    path: Annotated[str, AfterValidator(_absolute), StringConstraints(max_length=4096)] = Field(
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


_Word = Literal["netns", "none", "host"]
_SHAPES: dict[str, type[Model]] = {
    "path": PathStack,
    "pid": PidStack,
    "docker": DockerStack,
    "container": ContainerStack,
}


def _shape(value: Any) -> str | None:
    """Which alternative was meant, so that an error speaks of that one only."""
    if isinstance(value, str):
        return "word" if value in get_args(_Word) else None
    if isinstance(value, Model):
        return next((f"with {key}" for key, model in _SHAPES.items() if isinstance(value, model)), None)
    keys = [key for key in _SHAPES if isinstance(value, dict) and key in value]
    return f"with {keys[0]}" if len(keys) == 1 else None


Stack = Annotated[
    Annotated[_Word, Tag("word")]
    | Annotated[PathStack, Tag("with path")]
    | Annotated[PidStack, Tag("with pid")]
    | Annotated[DockerStack, Tag("with docker")]
    | Annotated[ContainerStack, Tag("with container")],
    Discriminator(
        _shape,
        custom_error_type="stack",
        custom_error_message=(
            "expected netns, none, host or one of {path: ...}, {pid: ...}, {docker: ...}, {container: ...}"
        ),
    ),
]


class NamedPort(Model):
    """A port under a name, by which policies can ask for it."""

    name: PortName = Field(description="Its name, like http.")
    port: PortNumber = Field(description="Its number.")
    protocol: Literal["tcp", "udp", "sctp"] = Field(default="tcp", description="Its protocol.")


class Dns(Model):
    """Whom a sandbox asks for names that none of its networks knows."""

    servers: list[IPAddress] | None = Field(
        default=None,
        description="Name servers, asked by the host in this order. Default: the host's own; an empty list: nobody.",
    )
    search: list[DomainName] = Field(default=[], description="Domains that are tried after names without a dot.")

    def __hash__(self) -> int:  # a default that has none is copied for every sandbox
        return hash((None if self.servers is None else tuple(self.servers), tuple(self.search)))


class SandboxSpec(Model):
    """Which stack this is and where."""

    stack: Stack = Field(
        default="netns",
        description=(
            "netns: a named network namespace that cnm makes (/run/netns/NAME); none: the same with loopback only; "
            "host: the host's own stack; or one of {path: ...}, {pid: ...}, {docker: ...}, {container: ...}."
        ),
    )
    node: Name | None = Field(
        default=None, description="The Node this sandbox lives on. Needed when there is more than one Node document."
    )
    namespace: Name = Field(
        default="default",
        description="The Kubernetes namespace it counts to, for NetworkPolicy documents and selectors of namespaces.",
    )
    ports: list[NamedPort] = Field(default=[], description="Names of ports that it serves, for policies.")
    dns: Dns = Field(default_factory=once(Dns), description="Whom it asks for names that none of its networks knows.")
    sysctls: dict[SysctlName, SysctlValue] = Field(
        default={}, description="Network sysctls of this stack, like net.ipv4.ip_unprivileged_port_start: 0."
    )


class Sandbox(DocumentModel):
    """A network stack: usually one per container."""

    kind: Literal["Sandbox"] = Field(description="Sandbox")
    spec: SandboxSpec = Field(default_factory=once(SandboxSpec), description="Which stack this is and where.")


KIND = Sandbox
EXAMPLE = """\
apiVersion: cnm/v1alpha1
kind: Sandbox
metadata: {name: shop}
spec:
  stack: netns
  dns: {servers: [192.0.2.53], search: [example.com]}
  sysctls: {net.ipv4.ip_unprivileged_port_start: 0}
---
apiVersion: cnm/v1alpha1
kind: Sandbox
metadata: {name: shop-metrics}
spec:
  stack: {container: shop}
"""
