"""JSON Schemas (draft 2020-12) of the manifests, generated from the models; editors check and complete with them.

They accept what the loader accepts in shape. References, address arithmetic and limits are the loader's alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from reconciler.manifest.kinds import kinds
from reconciler.manifest.kinds.endpoint import EndpointSpec
from reconciler.manifest.kinds.network import NetworkSpec
from reconciler.manifest.options import Options

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ALL_KINDS = "cnm.json"
_REF = "#/$defs/"

Schema = dict[str, Any]


class _Generate(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # a title made of the key says nothing


class Definitions(Struct, frozen=True):
    """``models`` are the schemas of all models by name. ``kinds`` and ``drivers`` say which name is whose:
    kind -> its document, driver -> its options of networks, and of endpoints."""

    models: Mapping[str, Schema]
    kinds: Mapping[str, str]
    drivers: Mapping[str, tuple[str, str]]


def definitions(options: Options) -> Definitions:
    """All models of the manifests."""
    documents = kinds()
    roots: set[type[BaseModel]] = {*documents.values(), NetworkSpec, EndpointSpec}
    roots.update(model for models in options.values() for model in models)
    # sorted, because the order decides which of two models of one name gets the longer one
    ordered = sorted(roots, key=lambda model: (model.__module__, model.__qualname__))
    refs, schema = models_json_schema([(model, "validation") for model in ordered], schema_generator=_Generate)
    names = {model: str(ref["$ref"]).removeprefix(_REF) for (model, _), ref in refs.items()}
    models: dict[str, Schema] = schema["$defs"]
    for model in models.values():
        _tidy(model)
    drivers = {driver: (names[options[driver].network], names[options[driver].endpoint]) for driver in sorted(options)}
    _bind_options(models[names[NetworkSpec]], {driver: network for driver, (network, _) in drivers.items()})
    _offer_options(models[names[EndpointSpec]], sorted({endpoint for _, endpoint in drivers.values()}))
    return Definitions(models, {kind: names[model] for kind, model in documents.items()}, drivers)


def _tidy(model: Schema) -> None:
    for field in model.get("properties", {}).values():
        if "$ref" in field:
            field.pop("default", None)  # the model's own defaults say it
        if "patternProperties" in field:
            field["additionalProperties"] = False


def _bind_options(spec: Schema, drivers: Mapping[str, str]) -> None:
    """``spec.driver`` decides what ``spec.options`` may hold."""
    if not drivers:
        return
    driver = spec["properties"]["driver"]
    driver["enum"] = list(drivers)
    spec["allOf"] = [
        {
            # "properties" holds for an absent key too, which is right for the default driver only
            "if": {"properties": {"driver": {"const": name}}}
            | ({} if name == driver.get("default") else {"required": ["driver"]}),
            "then": {"properties": {"options": {"$ref": _REF + model}}},
        }
        for name, model in drivers.items()
    ]


def _offer_options(spec: Schema, endpoints: Sequence[str]) -> None:
    """Which driver's options an endpoint has is said in another document: those of any driver will do here."""
    if endpoints:
        field = spec["properties"]["options"]
        spec["properties"]["options"] = {
            "anyOf": [{"$ref": _REF + model} for model in endpoints],
            **{name: field[name] for name in ("description", "default")},
        }


def schemas(options: Options) -> dict[str, Schema]:
    """File name to schema: one a kind (``network.json``), and ``cnm.json`` for documents of any kind."""
    known = definitions(options)
    found = {}
    for kind, model in known.kinds.items():
        name = f"{kind.lower()}.json"
        found[name] = _file(name, f"cnm {kind}", {"$ref": _REF + model}, [model], known)
    alternatives = {"oneOf": [{"$ref": _REF + model} for model in known.kinds.values()]}
    found[ALL_KINDS] = _file(ALL_KINDS, "cnm document", alternatives, known.kinds.values(), known)
    return found


def _file(name: str, title: str, body: Schema, roots: Iterable[str], known: Definitions) -> Schema:
    used: set[str] = set()
    waiting = list(roots)
    while waiting:
        model = waiting.pop()
        if model not in used:
            used.add(model)
            waiting += _references(known.models[model])
    defs = {model: known.models[model] for model in sorted(used)}
    return {"$schema": DIALECT, "$id": name, "title": title, **body, "$defs": defs}


def _references(node: Any) -> Iterable[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].removeprefix(_REF)
        for child in node.values():
            yield from _references(child)
    elif isinstance(node, list):
        for child in node:
            yield from _references(child)


def render_schema(schema: Schema) -> str:
    """The file's text: the same models give the same bytes."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
