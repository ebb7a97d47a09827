"""The JSON Schemas and the reference: complete, up to date, and saying what the loader says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from pydantic import BaseModel

from reconciler.drivers import registry
from reconciler.manifest.generate import generated, main
from reconciler.manifest.kinds import kind_modules, kinds
from reconciler.manifest.options import OptionModels
from reconciler.manifest.schema import ALL_KINDS, schemas
from tests.manifest.conftest import Load

REPOSITORY = Path(__file__).parents[2]


def models(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    if model in seen:
        return
    seen.add(model)
    yield model
    for field in model.model_fields.values():
        for inner in _models_in(field.annotation):
            yield from models(inner, seen)


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)


def all_models() -> list[type[BaseModel]]:
    seen: set[type[BaseModel]] = set()
    options = [model for pair in registry.options().values() for model in pair]
    return [found for root in (*kinds().values(), *options) for found in models(root, seen)]


@cache
def wanted() -> dict[str, str]:
    return generated(registry.options())


COMMITTED = [*(f"schemas/{path.name}" for path in sorted((REPOSITORY / "schemas").iterdir())), "docs/manifest.md"]


@pytest.mark.parametrize("path", COMMITTED)
def test_committed_file_is_up_to_date(path: str) -> None:
    assert (REPOSITORY / path).read_text() == wanted()[path], "stale: run make schemas docs"


def test_every_file_is_committed() -> None:
    assert set(COMMITTED) == set(wanted())


def test_the_command_writes_all_files(tmp_path: Path) -> None:
    main(tmp_path)
    written = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.*")}
    assert written == wanted()


def test_no_file_too_many() -> None:
    assert {path.name for path in (REPOSITORY / "schemas").iterdir()} == set(schemas(registry.options()))


@pytest.mark.parametrize("model", all_models(), ids=lambda model: model.__name__)
def test_every_model_and_field_has_a_description(model: type[BaseModel]) -> None:
    assert model.__doc__
    missing = [name for name, field in model.model_fields.items() if not field.description]
    assert missing == []


@pytest.mark.parametrize("model", all_models(), ids=lambda model: model.__name__)
def test_every_model_is_strict_and_closed(model: type[BaseModel]) -> None:
    config = model.model_config
    assert (config.get("extra"), config.get("strict"), config.get("frozen")) == ("forbid", True, True)


def test_the_kinds_of_the_specification_are_there() -> None:
    assert set(kinds()) >= {"Node", "Network", "Sandbox", "Endpoint", "Patch"}
    alternatives = schemas({})[ALL_KINDS]["oneOf"]
    assert {choice["$ref"] for choice in alternatives} == {f"#/$defs/{kind}" for kind in kinds()}


def test_every_reference_inside_a_schema_leads_somewhere() -> None:
    for name, schema in schemas(registry.options()).items():
        text = str(schema)
        used = set(re.findall(r"#/\$defs/(\w+)", text))
        assert used == set(schema["$defs"]), name


def test_options_are_those_of_the_driver() -> None:
    class Options(BaseModel):
        """Options of a driver of this test."""

    both = OptionModels(Options, Options)
    spec = schemas({"bridge": both, "other": both})["network.json"]["$defs"]["NetworkSpec"]
    assert spec["properties"]["driver"]["enum"] == ["bridge", "other"]
    conditions = {choice["if"]["properties"]["driver"]["const"]: choice for choice in spec["allOf"]}
    assert "required" not in conditions["bridge"]["if"]  # it is the default
    assert conditions["other"]["if"]["required"] == ["driver"]
    assert conditions["other"]["then"] == {"properties": {"options": {"$ref": "#/$defs/Options"}}}


@pytest.mark.parametrize("kind", kinds())
def test_the_example_of_the_reference_is_valid(kind: str, read: Load) -> None:
    targets = "---\n".join(module.EXAMPLE for module in kind_modules().values())
    assert f"kind: {kind}\n" in kind_modules()[kind].EXAMPLE
    read(targets, node="rack1", environment="staging")


def test_every_link_of_the_reference_leads_to_a_heading() -> None:
    text = (REPOSITORY / "docs/manifest.md").read_text()
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert len(anchors) == len(set(anchors))
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= set(anchors)
