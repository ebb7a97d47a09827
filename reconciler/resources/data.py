"""Resources as JSON and back, strictly: plans and snapshots are read from files that strangers may have written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from ipaddress import ip_interface
from typing import Any

from msgspec import Struct, ValidationError, convert
from msgspec.structs import replace

from reconciler.errors import Origin
from reconciler.host.programs import PROGRAMS
from reconciler.resources.link import Peer
from reconciler.resources.registry import kinds
from reconciler.resources.resource import Key, Resource, spec_fields

_NETNS = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[0-9a-f]{6})?\Z")
# What the kernel takes for a name, a sandbox's root may give: control characters too (dev_valid_name in
# net/core/dev.c). They are made visible where they are shown (review/escape.py).
_NAME = re.compile(r"[^\x00\n]{1,512}\Z")
_SYSCTL = re.compile(r"net/[A-Za-z0-9_@:.\-/]+\Z")
_SOURCE = re.compile(r"named\Z|path:/[^\x00]*\Z|pid:[1-9][0-9]{0,9}\Z|docker:[A-Za-z0-9][A-Za-z0-9_.-]{0,254}\Z")
_DEV = re.compile(r"(?!\.{1,2}\Z)[^/: \t\n\v\f\r\x00]{1,15}\Z")
_MAC = re.compile(r"([0-9a-f]{2}(:[0-9a-f]{2}){0,31})?\Z")  # not only Ethernet: what tunnels have is seen as well
_FIELD = re.compile(r" field `(\w+)`\Z")  # msgspec names one that is missing or unknown in its words, not in its place
_UNSEEN = Peer(netns="?", name="?")  # the other end is in a namespace that was not looked at


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
    if key.kind == "link" and not _is_dev(key.name):
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
    kind = kinds()[key.kind]
    shapes = kind.shapes(spec)
    plain = kind.from_data({name: value for name, value in spec.items() if name not in shapes})
    resource: Resource = _validated(kind, {"key": list(key), "origin": origin_to_data(origin), **plain}, f"{key}: ")
    shaped = {name: _validated(shape, spec[name], f"{key}: {name}.") for name, shape in shapes.items() if name in spec}
    resource = replace(resource, **shaped)
    _examine(resource, str(key))
    try:
        spelled = resource.identity()
        for rule in (resource.needs, resource.hangs_on, resource.claims):
            tuple(rule())  # a name with too few parts shows here
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
    if spelled != key:
        raise ValueError(f"{key}: its spec is about {spelled}")
    return resource


def _validated(kind: type, data: Any, where: str) -> Any:
    try:
        return convert(data, kind)
    except ValidationError as error:
        wrong, _at, place = str(error).partition(" - at `$")
        names = [place.removesuffix("`").removeprefix("."), *_FIELD.findall(wrong)]
        raise ValueError(f"{where}{'.'.join(filter(None, names))}: {wrong}") from None


def _examine(spec: Any, where: str) -> None:
    """Hold the strings that a type cannot hold to what they must be."""
    for name in spec_fields(type(spec)):
        value = getattr(spec, name)
        if value is None:
            continue
        check = _CHECKS.get(name)
        if check is not None:
            if not check(value):
                raise ValueError(f"{where}: {name} cannot be {value!r}")
        elif isinstance(value, Key):
            key_from_data(str(value))
        elif isinstance(value, Peer):
            if value != _UNSEEN:
                key_from_data(str(Key("link", value.netns, value.name)))
        elif isinstance(value, tuple):
            for item in value:
                if isinstance(item, Key):
                    key_from_data(str(item))
                elif isinstance(item, Struct):
                    _examine(item, where)
        elif isinstance(value, Struct):
            _examine(value, where)


def _is_dev(text: str) -> bool:
    return bool(_DEV.match(text)) and len(text.encode(errors="replace")) <= 15


def _is_address(text: str) -> bool:
    try:
        ip_interface(text)
    except ValueError:
        return False
    return True


def _is_expression(text: str) -> bool:
    """A list of statements, each an object of one key (libnftables-json(5))."""
    try:
        statements = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(statements, list) and all(isinstance(item, dict) and len(item) == 1 for item in statements)


def _are_sysctls(pairs: tuple[tuple[str, str], ...]) -> bool:
    return all(_SYSCTL.match(path) and ".." not in path.split("/") for path, _value in pairs)


# Fields of these names mean the same in every kind.
_CHECKS: Mapping[str, Callable[[Any], object]] = {
    "dev": _is_dev,
    "master": lambda text: text == "" or _is_dev(text),
    "mac": _MAC.match,
    "address": _is_address,
    "to": _is_address,
    "via": lambda text: text == "" or _is_address(text),
    "src": lambda text: text == "" or _is_address(text),
    "dst": _is_address,
    "expr": _is_expression,
    "source": _SOURCE.match,
    "sysctls": _are_sysctls,
    "program": PROGRAMS.__contains__,
}
