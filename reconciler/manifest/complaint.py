"""pydantic's findings in plain words: where, what is wrong, what to write instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from reconciler.manifest.document import Path
from reconciler.manifest.suggest import meant

MAX_COMPLAINTS = 100  # in one document; nobody reads more


class Complaint(NamedTuple):
    """``of_key``: the key at ``path`` is wrong, not its value."""

    path: Path
    message: str
    hint: str
    of_key: bool = False


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
    for item in error.errors(include_url=False, include_input=False):
        path = _written(tuple(item["loc"]), data)
        found.setdefault(path, []).append(dict(item))
    deeper: set[Path] = set()  # places of which one inside was told, which says it better
    left = MAX_COMPLAINTS
    for path in sorted(found, key=lambda path: (-len(path), str(path))):
        if path in deeper:
            continue
        deeper.update(path[:end] for end in range(len(path)))
        if left == 0:
            yield Complaint((), f"more than {MAX_COMPLAINTS} problems in this document; the others are not shown", "")
            return
        left -= 1
        yield _complaint(found[path], path, model, data)


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


def _complaint(items: list[dict[str, Any]], path: Path, model: type[BaseModel], data: Any) -> Complaint:
    kinds = [item["type"] for item in items]
    last = _called(path)
    if "extra_forbidden" in kinds and len(items) == 1:
        return Complaint(path, f"unknown key {last!r}", meant(last, _known_keys(model, path[:-1])), of_key=True)
    if kinds == ["missing"]:
        return Complaint(path, f"{last!r} is missing", f"add {last}: ...")
    of_key = any(item["loc"][-1] == "[key]" for item in items)
    own = [item for item in items if item["type"] in ("value_error", "assertion_error")]
    if own:
        return Complaint(path, *_own_words(str(own[0]["msg"])), of_key)
    expected = list(dict.fromkeys(text for item in items if (text := _expected(item))))
    said = f"expected {' or '.join(expected)}" if expected else str(items[0]["msg"])
    value = _value(data, path)
    if not of_key:
        said += f", found {show(value)}"
    return Complaint(path, f"{last}: {said}", _advice(expected, value), of_key)


def _called(path: Path) -> str:
    if not path:
        return "the document"
    last = path[-1]
    if isinstance(last, int):
        return f"{_called(path[:-1])}[{last}]" if len(path) > 1 else f"[{last}]"
    return last if len(last) <= 80 else last[:77] + "..."


def _advice(expected: list[str], value: Any) -> str:
    if "a string" in expected and isinstance(value, (bool, int, float)):
        return f'put it in quotes: "{show(value)}"'
    if "a whole number" in expected and isinstance(value, str) and value.isdecimal():
        return f"write it without quotes: {show(value)[1:-1]}"
    if "true or false" in expected and str(value).lower() in ("yes", "on", "no", "off"):
        return f"write {'true' if str(value).lower() in ('yes', 'on') else 'false'}"
    return ""


def _own_words(text: str) -> tuple[str, str]:
    """The validators of manifest/types.py say what is wrong and what to write, separated by a colon."""
    text = text.removeprefix("Value error, ")
    before, colon, after = text.rpartition(": write ")
    message, hint = (before, f"write {after}") if colon else (text, "")
    return message if len(message) <= 200 else message[:197] + "...", hint


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
        least = context["min_length"]
        word = "character" if kind == "string_too_short" else "entry"
        return f"at least {least} {word if least == 1 else {'entry': 'entries'}.get(word, word + 's')}"
    if kind == "string_pattern_mismatch":
        return f"something that matches {context['pattern']}"
    return ""


def show(value: Any) -> str:
    """A value for a message: short, as it is written."""
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, dict):
        keys = ", ".join(str(key)[:20] for key in list(value)[:4])
        return f"a mapping with {keys}" if keys else "an empty mapping"
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
