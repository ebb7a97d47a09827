"""Patch documents: RFC 6902 operations on other documents, before those are validated."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reconciler.errors import Origin
from reconciler.manifest.complaint import show
from reconciler.manifest.document import Path
from reconciler.manifest.kinds.patch import Operation, Patch
from reconciler.manifest.reader import MAX_DEPTH

MAX_COPIED = 100_000  # keys and values that the copies of one Patch may make
PROTECTED = ("/apiVersion", "/kind", "/metadata/name", "/metadata", "")
Report = Callable[[Origin, str, str], None]
Identity = tuple[str, str, str]  # kind, name, network of an endpoint


def applies(patch: Patch, node: str, environment: str | None) -> bool:
    """Whether a patch is meant for this node and environment."""
    spec = patch.spec
    if spec.nodes and node not in spec.nodes:
        return False
    return not spec.environments or environment in spec.environments


def targets(patch: Patch, known: Mapping[Identity, Any]) -> list[Identity]:
    """The documents that a patch names: one, unless an endpoint's name exists on several networks."""
    target = patch.spec.target
    return [
        identity
        for identity in known
        if identity[0] == target.kind and identity[1] == target.name and target.network in (None, identity[2])
    ]


def apply(data: Any, operations: Sequence[Operation], at: Callable[[int], Origin], report: Report) -> Any | None:
    """``data`` changed by all operations, in order; None when one of them fails, which is reported."""
    from jsonpatch import JsonPatch, JsonPatchException, JsonPatchTestFailed
    from jsonpointer import JsonPointerException, resolve_pointer

    changed = copy.deepcopy(data)
    left = MAX_COPIED
    for number, operation in enumerate(operations):
        body: dict[str, Any] = {"op": operation.op, "path": operation.path}
        if operation.op in ("move", "copy"):
            if operation.from_ is None:
                report(at(number), f"{operation.op} needs 'from'", "write from: /path/of/the/source")
                return None
            body["from"] = operation.from_
        elif operation.op != "remove":
            if "value" not in operation.model_fields_set:
                report(at(number), f"{operation.op} needs a value", "write value: ...")
                return None
            body["value"] = copy.deepcopy(operation.value)
        written = [operation.path] if operation.op != "test" else []
        written += [operation.from_] if operation.op == "move" and operation.from_ is not None else []
        for path in written:
            if path in PROTECTED:
                hint = "write another document instead"
                report(at(number), f"a patch cannot change {path or 'the whole document'}", hint)
                return None
        try:
            if operation.op in ("copy", "move"):
                nodes, height = _measure(resolve_pointer(changed, operation.from_ or ""))
                left -= nodes if operation.op == "copy" else 0
            else:
                height = _measure(operation.value)[1]
            if left < 0:
                report(at(number), "copies multiply into too many values", "write the values out")
                return None
            if operation.path.count("/") + height > MAX_DEPTH:
                report(at(number), f"nested more than {MAX_DEPTH} levels deep", "write it flatter")
                return None
            changed = JsonPatch([body]).apply(changed, in_place=True)
        except JsonPatchTestFailed:
            report(at(number), f"test failed: {operation.path} is not {show(operation.value)}", "")
            return None
        except (JsonPatchException, JsonPointerException, TypeError, LookupError, ValueError, AttributeError):
            place = f"from {operation.from_} to {operation.path}" if operation.from_ else operation.path
            hint = "a path names what is there already; only add, copy and move make the last part of one"
            report(at(number), f"{operation.op} {place}: the document has no such place", hint)
            return None
    return changed


def _measure(value: Any) -> tuple[int, int]:
    """How many keys and values are in ``value``, and how many lists and mappings contain each other in it."""
    nodes, height = 0, 0
    waiting = [(value, 0)]
    while waiting:
        here, level = waiting.pop()
        nodes += 1
        if isinstance(here, (dict, list)):
            height = max(height, level + 1)
            nodes += len(here) if isinstance(here, dict) else 0
            waiting += [(child, level + 1) for child in (here.values() if isinstance(here, dict) else here)]
    return nodes, height


def written_path(pointer: str, data: Any) -> Path:
    """A JSON pointer as a path into the patched document ``data``; ``-`` is the list's last entry by now."""
    path: list[str | int] = []
    here = data
    for escaped in pointer.split("/")[1:]:
        part: str | int = escaped.replace("~1", "/").replace("~0", "~")
        if isinstance(here, list):
            part = len(here) - 1 if escaped == "-" else int(escaped)
            here = here[part] if part < len(here) else None
        else:
            here = here.get(part) if isinstance(here, dict) else None
        path.append(part)
    return tuple(path)
