"""The base of all manifest models: strict, closed, frozen."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from reconciler.manifest.types import Labels, Name

API_VERSION = "cnm/v1alpha1"

_M = TypeVar("_M", bound="Model")


class Model(BaseModel):
    """Unknown keys are errors, types are not coerced, keys are written in camelCase."""

    model_config = ConfigDict(
        defer_build=True,
        extra="forbid",
        strict=True,
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=False,
        validate_by_alias=True,
    )


def once(model: type[_M]) -> Callable[[], _M]:
    """The default of a field that is a model: made when it is first needed, since making one builds all that checks it,
    and then the same one for all."""

    @cache
    def made() -> _M:
        return model()

    return made


class Metadata(Model):
    """Who this document is."""

    name: Name = Field(description="The document's name, unique among its kind (an endpoint's: in its network).")
    labels: Labels = Field(default={}, description="Free key: value pairs that selectors can match.")
    annotations: dict[str, str] = Field(default={}, description="Free key: value pairs that cnm carries and ignores.")


class DocumentModel(Model):
    """What all kinds share."""

    api_version: Literal["cnm/v1alpha1"] = Field(description="The version of this format: cnm/v1alpha1.")
    metadata: Metadata = Field(description="Name and labels.")
