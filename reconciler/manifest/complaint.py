"""pydantic's findings in plain words: where, what is wrong, what to write instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from reconciler.manifest.document import Path
from reconciler.manifest.suggest import meant

Complaint = tuple[Path, str, str]

_TYPES = {
    "string_type": "a string",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def complaints(error: ValidationError, model: type[BaseModel], data: Any) -> Iterator[Complaint]:
    """One complaint per place: of the alternatives of a union only the one that was meant is told."""
    found: dict[Path, list[dict[str, Any]]] = {}
    for item in error.errors(include_url=False):
        path = _written(tuple(item["loc"]), data)
        found.setdefault(path, []).append(dict(item))
    told: list[Path] = []
    for path in sorted(found, key=lambda path: (-len(path), str(path))):
        if any(other[: len(path)] == path and len(other) > len(path) for other in told) and len(found[path]) > 0:
            continue  # a deeper place inside says it better
        told.append(path)
        items = found[path]
        yield (path, *_words(items, path, model, data))


def _written(loc: tuple[Any, ...], data: Any) -> Path:
    """pydantic's location without the names of union members and validators: only what the user wrote."""
    path: list[str | int] = []
    here = data
    for number, part in enumerate(loc):
        if isinstance(here, dict) and isinstance(part, str):
            if part in here:
                here = here[part]
                path.append(part)
            elif number == len(loc) - 1 and not part[:1].isupper() and "[" not in part and part.isidentifier():
                path.append(part)  # a key that is missing
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            here = here[part]
            path.append(part)
    return tuple(path)


def _value(data: Any, path: Path) -> Any:
    here = data
    for part in path:
        try:
            here = here[part]
        except (KeyError, IndexError, TypeError):
            return None
    return here


def _words(items: list[dict[str, Any]], path: Path, model: type[BaseModel], data: Any) -> tuple[str, str]:
    kinds = [item["type"] for item in items]
    last = str(path[-1]) if path else "the document"
    if "extra_forbidden" in kinds and len(items) == 1:
        known = _known_keys(model, path[:-1])
        return f"unknown key {last!r}", meant(last, known)
    if kinds == ["missing"]:
        return f"{last!r} is missing", f"add {last}: ..."
    value = _value(data, path)
    own = [item for item in items if item["type"] in ("value_error", "assertion_error")]
    if own:
        return _own_words(str(own[0]["msg"]))
    expected = list(dict.fromkeys(text for item in items if (text := _expected(item))))
    said = f"expected {' or '.join(expected)}" if expected else str(items[0]["msg"])
    if isinstance(value, (str, int, float, bool)) or value is None:
        said += f", found {show(value)}"
    hint = ""
    if "a string" in expected and isinstance(value, (int, float, bool)) and not isinstance(value, str):
        shown = str(value).lower() if isinstance(value, bool) else value
        hint = f'put it in quotes: "{shown}"'
    return f"{last}: {said}", hint


def _own_words(text: str) -> tuple[str, str]:
    """The validators of manifest/types.py say what is wrong and what to write, separated by a colon."""
    text = text.removeprefix("Value error, ")
    before, colon, after = text.rpartition(": write ")
    return (before, f"write {after}") if colon else (text, "")


def _expected(item: dict[str, Any]) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind in _TYPES:
        return _TYPES[kind]
    if kind == "literal_error":
        return str(context["expected"])
    if kind == "greater_than_equal":
        return f"at least {context['ge']}"
    if kind == "less_than_equal":
        return f"at most {context['le']}"
    if kind in ("string_too_long", "too_long"):
        return f"at most {context['max_length']} {'characters' if kind == 'string_too_long' else 'entries'}"
    if kind in ("string_too_short", "too_short"):
        return f"at least {context['min_length']} {'characters' if kind == 'string_too_short' else 'entries'}"
    if kind == "string_pattern_mismatch":
        return f"something that matches {context['pattern']}"
    return ""


def show(value: Any) -> str:
    """A value for a message: short, as it is written."""
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _known_keys(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that may stand at a path, followed through the models."""
    models: list[type[BaseModel]] = [model]
    for part in path:
        if isinstance(part, int):
            continue
        following: list[type[BaseModel]] = []
        for here in models:
            for name, field in here.model_fields.items():
                if part in (name, field.alias):
                    following += list(_models_in(field.annotation))
        models = following or models
    return [field.alias or name for here in models for name, field in here.model_fields.items()]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)
