"""docs/manifest.md, the manifest reference, generated from the models."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.manifest.kinds import kind_modules
from reconciler.manifest.options import Options
from reconciler.manifest.reader import MAX_DEPTH, MAX_NODES
from reconciler.manifest.schema import Definitions, Schema, definitions
from reconciler.manifest.source import MAX_DEPTH as MAX_FOLDERS
from reconciler.manifest.source import MAX_FILE, MAX_FILES, MAX_TOTAL
from reconciler.manifest.types import WORDS

_INTRODUCTION = """\
# Manifest reference

<!-- Generated from the models in reconciler/manifest and reconciler/drivers by `make docs`; edit those instead. -->

A manifest is YAML 1.2: any number of documents a file, separated by `---`, in any number of files (`*.yaml`, `*.yml`,
`*.json`) and folders, or on standard input (`-`). Order does not matter. What every document has:

```yaml
apiVersion: cnm/v1alpha1
kind: Network        # or one of the others below
metadata:
  name: web
spec: {}
```

Reading is strict. Unknown keys, keys written twice, wrong types, tags, merge keys (`<<`) and `%YAML 1.1` are errors, each
with file, line and column. `yes`, `no`, `on` and `off` are strings, and so are dates; `010` is ten. A value that looks
like a number where a string is wanted has to be quoted. Editors check and complete with the schemas in `schemas/`:

```yaml
# yaml-language-server: $schema=../schemas/cnm.json
```

"""
_LIMITS = f"""\
Manifests may come from strangers, so there are limits: {MAX_FILE >> 20} MiB a file and {MAX_TOTAL >> 20} MiB in all,
{MAX_FILES:,} files, folders {MAX_FOLDERS} and values {MAX_DEPTH} levels deep, {MAX_NODES:,} keys and values a file. Aliases count as
often as they are used. Hidden files and folders are skipped. Symbolic links are followed where they stay inside the
folder that was named; links that leave it, FIFOs, sockets and devices are errors.
"""
_NO_DEFAULT = "–"


def reference(options: Options) -> str:
    """The text of docs/manifest.md."""
    known = definitions(options)
    documents = [known.models[name] for name in known.kinds.values()]
    parts = [_INTRODUCTION + _LIMITS, _contents(known)]
    shared = {key: field for key, field in documents[0]["properties"].items() if key in ("apiVersion", "metadata")}
    parts += ["## All kinds\n", *_section("All kinds", "", {**documents[0], "properties": shared}, known)]
    for (kind, module), document in zip(kind_modules().items(), documents, strict=True):
        own = {
            key: field for key, field in document["properties"].items() if key != "kind" and shared.get(key) != field
        }
        parts += [f"## {kind}\n", f"{document['description']}\n", f"```yaml\n{module.EXAMPLE}```\n"]
        parts += _section(kind, "", {**document, "properties": own}, known)
    for driver, (network, endpoint) in known.drivers.items():
        title = f"Driver {driver}"
        parts += [f"## {title}\n", f"{known.models[network]['description']}\n"]
        parts += _section(title, "spec.options", known.models[network], known)
        if known.models[endpoint].get("properties"):
            parts += [f"### {title}: its endpoints\n", f"{known.models[endpoint]['description']}\n"]
            parts += _section(title, "Endpoint spec.options", known.models[endpoint], known)
    return "\n".join(parts)


def _contents(known: Definitions) -> str:
    titles = ["All kinds", *known.kinds, *(f"Driver {driver}" for driver in known.drivers)]
    return "".join(f"- [{title}](#{_anchor(title)})\n" for title in titles)


def _section(owner: str, path: str, model: Schema, known: Definitions) -> Iterable[str]:
    """The table of one model, then a section for each model that its fields hold, depth first."""
    fields = model.get("properties", {})
    if not fields:
        return
    required = model.get("required", [])
    rows = ["| Key | Type | Default | Description |", "|---|---|---|---|"]
    nested: list[tuple[str, str]] = []
    for key, field in fields.items():
        inner = [(_heading(owner, path, key, step, name, field, known), name) for step, name in _models_of(field)]
        nested += inner
        links = {name: _link(heading) for heading, name in inner}
        cells = (
            f"`{key}`",
            _type(field, links),
            "required" if key in required else _default(field),
            field.get("description") or " ".join(known.models[name]["description"] for _, name in inner),
        )
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    yield "\n".join(rows) + "\n"
    for heading, name in nested:
        yield f"### {heading}\n"
        yield f"{known.models[name]['description']}\n"
        yield from _section(owner, heading.split("`")[1], known.models[name], known)


def _heading(owner: str, path: str, key: str, step: str, name: str, field: Schema, known: Definitions) -> str:
    where = f"{path}.{key}{step}" if path else f"{key}{step}"
    alternatives = sum(1 for _ in _models_of(field))
    keys = ", ".join(known.models[name]["properties"]) if alternatives > 1 else ""
    return f"{owner}: `{where}`" + (f" with {keys}" if keys else "")


def _models_of(field: Schema, step: str = "") -> Iterable[tuple[str, str]]:
    """(how to get from the field to it, name) of every model in a field's type."""
    if "$ref" in field:
        yield step, field["$ref"].rpartition("/")[2]
    for choice in _choices(field):
        yield from _models_of(choice, step)
    if isinstance(field.get("items"), dict):
        yield from _models_of(field["items"], step + "[]")
    for values in (field.get("additionalProperties"), *field.get("patternProperties", {}).values()):
        if isinstance(values, dict):
            yield from _models_of(values, step + ".*")


def _choices(field: Schema) -> list[Schema]:
    return [*field.get("anyOf", ()), *field.get("oneOf", ())]


def _type(field: Schema, links: Mapping[str, str]) -> str:
    if "$ref" in field:
        return links[field["$ref"].rpartition("/")[2]]
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if choices := _choices(field):
        words = [_type(choice, links) for choice in choices if choice.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    if field.get("pattern") in WORDS:
        return WORDS[field["pattern"]]
    match field.get("type"):
        case "array":
            return f"list of {_type(field['items'], links)}"
        case "object":
            return _mapping(field, links)
        case "integer":
            low, high = field.get("minimum"), field.get("maximum")
            return "integer" if low is None or high is None else f"integer, {low} to {high}"
        case None:
            return "anything"
        case word:
            return str(word)


def _mapping(field: Schema, links: Mapping[str, str]) -> str:
    for pattern, value in field.get("patternProperties", {}).items():
        return f"map of {WORDS.get(pattern, 'string')} to {_type(value, links)}"
    inner = field.get("additionalProperties")
    return f"map of string to {_type(inner, links)}" if isinstance(inner, dict) else "map"


def _default(field: Schema) -> str:
    value: Any = field.get("default")
    return _NO_DEFAULT if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def _link(heading: str) -> str:
    keys = heading.partition(" with ")[2]  # one of several alternatives
    return f"[`{{{keys}: ...}}`](#{_anchor(heading)})" if keys else f"[object](#{_anchor(heading)})"


def _anchor(heading: str) -> str:
    """The fragment that Git forges give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
