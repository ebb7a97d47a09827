"""Patch: RFC 6902 operations on another document, for some nodes or one environment."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from reconciler.manifest.model import DocumentModel, Model
from reconciler.manifest.types import Name

_POINTER = re.compile(r"(/([^~/]|~[01])*)*")


def _pointer(value: str) -> str:
    if not _POINTER.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a JSON Pointer: write one like '/spec/mtu', with ~0 for ~ and ~1 for / in a key"
        )
    return value


Pointer = Annotated[
    str, AfterValidator(_pointer), WithJsonSchema({"type": "string", "pattern": "^(/([^~/]|~[01])*)*$"})
]


class Target(Model):
    """The document to change."""

    kind: Literal["Node", "Network", "Sandbox", "Endpoint"] = Field(description="Its kind.")
    name: Name = Field(description="Its name.")
    network: Name | None = Field(
        default=None, description="Of an Endpoint: its network, when the name alone is not unique."
    )


class Operation(Model):
    """One operation of RFC 6902 (JSON Patch)."""

    op: Literal["add", "remove", "replace", "move", "copy", "test"] = Field(description="The operation.")
    path: Pointer = Field(description="Where, as a JSON Pointer: /spec/mtu.")
    from_: Pointer | None = Field(default=None, alias="from", description="Source of move and copy.")
    value: Any = Field(default=None, description="Value of add, replace and test.")


class PatchSpec(Model):
    """What to change, where and when."""

    target: Target = Field(description="The document to change.")
    nodes: list[Name] = Field(default=[], description="Only on these nodes. Default: on all.")
    environments: list[Name] = Field(default=[], description="Only with --env one of these. Default: always.")
    operations: Annotated[list[Operation], Field(min_length=1)] = Field(description="RFC 6902 operations, in order.")


class Patch(DocumentModel):
    """A change to another document that holds only on some nodes or in some environments.

    Patches are applied in order of file name and line, and what they make is checked like everything else. They
    cannot change apiVersion, kind and metadata.name."""

    kind: Literal["Patch"] = Field(description="Patch")
    spec: PatchSpec = Field(description="What to change, where and when.")


KIND = Patch
EXAMPLE = """\
apiVersion: cnm/v1alpha1
kind: Patch
metadata: {name: smaller-frames}
spec:
  target: {kind: Network, name: web}
  nodes: [rack1]
  environments: [staging]
  operations:
    - {op: test, path: /spec/mtu, value: 1450}
    - {op: replace, path: /spec/mtu, value: 1400}
"""
