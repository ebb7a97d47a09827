"""Patch documents: RFC 6902 operations on other documents, before those are validated."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reconciler.errors import Origin
from reconciler.manifest.kinds.patch import Operation, Patch

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
    from jsonpointer import JsonPointerException

    changed = copy.deepcopy(data)
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
        protected = ("/apiVersion", "/kind", "/metadata/name", "/metadata", "")
        if operation.op != "test" and operation.path in protected:
            report(
                at(number),
                f"a patch cannot change {operation.path or 'the whole document'}",
                "write another document instead",
            )
            return None
        try:
            changed = JsonPatch([body]).apply(changed)
        except JsonPatchTestFailed:
            report(at(number), f"test failed: {operation.path} is not {operation.value!r}", "")
            return None
        except (JsonPatchException, JsonPointerException, TypeError, KeyError, IndexError, ValueError) as error:
            report(
                at(number),
                f"{operation.op} {operation.path} cannot be done: {error}",
                "check the path against the document",
            )
            return None
    return changed
