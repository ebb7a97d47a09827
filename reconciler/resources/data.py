"""Resources as JSON and back, strictly: plans and snapshots are read from files that strangers may have written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Any, get_args, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from reconciler.errors import Origin
from reconciler.resources.registry import kinds
from reconciler.resources.resource import Key, Resource

_NETNS = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[0-9a-f]{6})?\Z")
_NAME = re.compile(r"[^\x00-\x20\x7f]{1,512}\Z")
_SYSCTL = re.compile(r"net/[A-Za-z0-9_@:.\-/]+\Z")
_SOURCE = re.compile(r"named\Z|path:/[^\x00]*\Z|pid:[1-9][0-9]{0,9}\Z|docker:[A-Za-z0-9][A-Za-z0-9_.-]{0,254}\Z")
_DEV = re.compile(r"[^/:\s\x00-\x1f]{1,15}\Z")


def to_data(resource: Resource) -> dict[str, Any]:
    """{"key", "spec", "origin"?}."""
    data: dict[str, Any] = {"key": str(resource.key), "spec": resource.data()}
    origin = origin_to_data(resource.origin)
    if origin:
        data["origin"] = origin
    return data


def origin_to_data(origin: Origin) -> dict[str, Any]:
    fields = {
        "file": origin.file,
        "line": origin.line,
        "column": origin.column,
        "document": origin.document,
        "driver": origin.driver,
    }
    return {name: value for name, value in fields.items() if value}


def origin_from_data(data: Any) -> Origin:
    """Raises ValueError."""
    names = {"file": str, "line": int, "column": int, "document": str, "driver": str}
    if not isinstance(data, Mapping) or not set(data) <= set(names):
        raise ValueError("an origin has file, line, column, document and driver")
    for name, value in data.items():
        if type(value) is not names[name]:
            raise ValueError(f"origin: {name} is not a {names[name].__name__}")
    return Origin(**data)


def key_from_data(text: Any) -> Key:
    """A key of a known kind with harmless parts. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError("a key is a string")
    key = Key.parse(text)
    if key.kind not in kinds():
        raise ValueError(f"{text}: unknown kind {key.kind!r}")
    if key.netns and not _NETNS.match(key.netns):
        raise ValueError(f"{text}: not a sandbox name: {key.netns!r}")
    if not _NAME.match(key.name) or ".." in key.name.split("/"):
        raise ValueError(f"{text}: not a name: {key.name!r}")
    if key.kind == "sysctl" and not _SYSCTL.match(key.name):
        raise ValueError(f"{text}: only sysctls under net/ are ours to set")
    if key.kind == "netns" and not _NETNS.match(key.name):
        raise ValueError(f"{text}: not a sandbox name: {key.name!r}")
    if key.kind == "link" and not _DEV.match(key.name):
        raise ValueError(f"{text}: not an interface name: {key.name!r}")
    return key


def from_data(data: Any) -> Resource:
    """The inverse of :func:`to_data`. Raises ValueError that says where."""
    if not isinstance(data, Mapping) or not {"key", "spec"} <= set(data) <= {"key", "spec", "origin"}:
        raise ValueError("a resource has key, spec and perhaps origin")
    key = key_from_data(data["key"])
    spec = data["spec"]
    if not isinstance(spec, Mapping):
        raise ValueError(f"{key}: spec is no mapping")
    if "key" in spec or "origin" in spec:
        raise ValueError(f"{key}: spec has a field that is not its own")
    origin = origin_from_data(data.get("origin", {}))
    try:
        # As JSON: pydantic's strictness for Python values would want instances where JSON has mappings and lists.
        text = json.dumps({"key": list(key), "origin": origin_to_data(origin), **spec})
        resource: Resource = _adapter(key.kind).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{key}: {place}: {first['msg']}") from None
    source = getattr(resource, "source", None)
    if source is not None and not _SOURCE.match(source):
        raise ValueError(f"{key}: not a source of a namespace: {source!r}")
    for path, _value in getattr(resource, "sysctls", None) or ():
        if not _SYSCTL.match(path) or ".." in path.split("/"):
            raise ValueError(f"{key}: only sysctls under net/ are ours to set: {path!r}")
    return resource


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(_strict(kinds()[kind]))


def _strict(spec: type) -> type:
    """Specs are plain dataclasses; this is how pydantic is told to take nothing that is not exactly theirs."""
    spec.__pydantic_config__ = ConfigDict(strict=True, extra="forbid")  # type: ignore[attr-defined]  # pydantic's name
    for hint in get_type_hints(spec).values():
        for part in (hint, *get_args(hint)):
            if is_dataclass(part) and isinstance(part, type):
                _strict(part)
    return spec
