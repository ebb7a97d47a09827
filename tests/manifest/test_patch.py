"""Patch documents: when they hold, in which order, and where their mistakes are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from reconciler.drivers import registry
from reconciler.manifest.load import Manifests, load
from tests.manifest.conftest import Load, Refused

NETWORK = """\
apiVersion: cnm/v1alpha1
kind: Network
metadata: {name: web, labels: {a/b: x}}
spec:
  subnets: [{cidr: 10.0.0.0/24}]
  mtu: 1400
"""


def patch(*operations: str, name: str = "change", limits: str = "") -> str:
    lines = "".join(f"    - {operation}\n" for operation in operations)
    return (
        f"---\napiVersion: cnm/v1alpha1\nkind: Patch\nmetadata: {{name: {name}}}\nspec:\n"
        f"  target: {{kind: Network, name: web}}\n{limits}  operations:\n{lines}"
    )


def spec(manifests: Manifests) -> Any:
    (document,) = manifests.documents
    return document.model.spec  # type: ignore[attr-defined]  # every kind here has one


@pytest.mark.parametrize(
    ("operations", "field", "value"),
    [
        (["{op: replace, path: /spec/mtu, value: 1300}"], "mtu", 1300),
        (["{op: remove, path: /spec/mtu}"], "mtu", None),
        (["{op: add, path: /spec/internal, value: true}"], "internal", True),
        (["{op: test, path: /spec/mtu, value: 1400}", "{op: remove, path: /spec/mtu}"], "mtu", None),
        (["{op: test, path: /spec/internal, value: null}"], None, None),
        (["{op: add, path: /spec/mtu, value: null}"], "mtu", None),
        (["{op: copy, from: /metadata/name, path: /spec/driver}", "{op: replace, path: /spec/driver, value: bridge}"], "driver", "bridge"),
        (["{op: test, path: /metadata/labels/a~1b, value: x}"], "mtu", 1400),
        (["{op: add, path: /spec/allowFrom, value: [b]}", "{op: add, path: /spec/allowFrom/0, value: a}"], "allow_from", ["a", "b"]),
        (["{op: add, path: /spec/allowFrom, value: [b]}", "{op: add, path: /spec/allowFrom/-, value: c}"], "allow_from", ["b", "c"]),
        (
            ["{op: add, path: /spec/allowFrom, value: [a, b]}", "{op: move, from: /spec/allowFrom/1, path: /spec/allowFrom/0}"],
            "allow_from",
            ["b", "a"],
        ),
    ],
)  # fmt: skip
def test_operations(operations: list[str], field: str | None, value: object, read: Load, refused: Refused) -> None:
    if field is None:
        assert refused(NETWORK + patch(*operations))
    else:
        assert getattr(spec(read(NETWORK + patch(*operations))), field) == value


@pytest.mark.parametrize(
    ("limits", "node", "environment", "holds"),
    [
        ("", "", None, True),
        ("  nodes: [a, b]\n", "b", None, True),
        ("  nodes: [a, b]\n", "c", None, False),
        ("  nodes: [a, b]\n", "", None, False),
        ("  environments: [staging]\n", "a", "staging", True),
        ("  environments: [staging]\n", "a", "production", False),
        ("  environments: [staging]\n", "a", None, False),
        ("  nodes: [a]\n  environments: [staging]\n", "a", "staging", True),
        ("  nodes: [a]\n  environments: [staging]\n", "b", "staging", False),
        ("  nodes: [a]\n  environments: [staging]\n", "a", None, False),
    ],
)
def test_when_a_patch_holds(limits: str, node: str, environment: str | None, holds: bool, read: Load) -> None:
    text = NETWORK + patch("{op: replace, path: /spec/mtu, value: 1300}", limits=limits)
    assert spec(read(text, node=node, environment=environment)).mtu == (1300 if holds else 1400)


def test_a_patch_that_does_not_hold_here_is_checked_all_the_same(refused: Refused) -> None:
    text = NETWORK + patch("{op: replase, path: /spec/mtu}", limits="  nodes: [elsewhere]\n")
    (problem,) = refused(text, node="here")
    assert problem.message.startswith("op: expected 'add'")


def test_patches_are_no_documents_of_the_result(read: Load) -> None:
    manifests = read(NETWORK + patch("{op: remove, path: /spec/mtu}"))
    assert [document.kind for document in manifests.documents] == ["Network"]


def test_order_is_that_of_files_and_lines(tmp_path: Path) -> None:
    (tmp_path / "z.yaml").write_text(NETWORK)
    (tmp_path / "b.yaml").write_text(
        patch("{op: replace, path: /spec/mtu, value: 1302}", name="second")
        + patch("{op: replace, path: /spec/mtu, value: 1303}", name="third")
    )
    (tmp_path / "a.yaml").write_text(patch("{op: replace, path: /spec/mtu, value: 1301}", name="first"))
    for sources in (["z.yaml", "b.yaml", "a.yaml"], ["a.yaml", "b.yaml", "z.yaml"]):
        manifests = load([str(tmp_path / name) for name in sources], options=registry.options())
        assert spec(manifests).mtu == 1303


@pytest.fixture
def two_files(tmp_path: Path) -> Path:
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets/web.yaml").write_text(NETWORK)
    return tmp_path


def test_parts_of_a_patched_document_know_the_patch(two_files: Path) -> None:
    added = "{op: add, path: /spec/subnets/-, value: {cidr: 10.1.0.0/24, gateway: 10.1.0.9}}"
    (two_files / "change.yaml").write_text(patch(added, "{op: remove, path: /spec/mtu}"))
    (document,) = load([str(two_files)], options=registry.options()).documents
    places = [
        document.at("spec", "subnets", 0, "cidr"),
        document.at("spec", "subnets", 1, "gateway"),
        document.at("spec", "mtu"),
        document.at("spec", "internal"),
    ]
    assert [str(place) for place in places] == [
        "nets/web.yaml:5:20",
        "change.yaml:8:7",
        "change.yaml:9:7",
        "nets/web.yaml:4:1",
    ]
    assert {place.document for place in places} == {"Network/web"}
    assert str(document.origin) == "nets/web.yaml:1:1"


def test_mistakes_in_a_patched_value_are_told_at_the_patch(two_files: Path, refused: Refused) -> None:
    (two_files / "change.yaml").write_text(
        patch(
            "{op: replace, path: /spec/mtu, value: 7}",
            "{op: add, path: /spec/subnets/-, value: {cidr: 10.1.0.0/24, gatway: 10.1.0.9}}",
            "{op: add, path: /spec/options, value: {bridge: a/b}}",
        )
    )
    assert [f"{problem.origin}: {problem.message}" for problem in refused(paths=[str(two_files)])] == [
        "change.yaml:8:7: mtu: expected at least 68, found 7",
        "change.yaml:9:7: unknown key 'gatway'",
    ]


def test_one_use_of_an_alias_can_be_patched_alone(read: Load) -> None:
    subnets = "[{cidr: 10.0.0.0/24, auxiliary: &x {a: 10.0.0.9}}, {cidr: 10.1.0.0/24, auxiliary: *x}]"
    text = NETWORK.replace("[{cidr: 10.0.0.0/24}]", subnets)
    changed = spec(read(text + patch("{op: replace, path: /spec/subnets/1/auxiliary/a, value: 10.1.0.9}")))
    assert [str(subnet.auxiliary["a"]) for subnet in changed.subnets] == ["10.0.0.9", "10.1.0.9"]


def test_a_value_added_twice_is_two_values(read: Load) -> None:
    operations = (
        "{op: add, path: /spec/subnets/-, value: {cidr: 10.1.0.0/24}}",
        "{op: copy, from: /spec/subnets/1, path: /spec/subnets/-}",
        "{op: replace, path: /spec/subnets/2/cidr, value: 10.2.0.0/24}",
    )
    cidrs = [str(subnet.cidr) for subnet in spec(read(NETWORK + patch(*operations))).subnets]
    assert cidrs == ["10.0.0.0/24", "10.1.0.0/24", "10.2.0.0/24"]


@pytest.mark.parametrize("path", ["", "/kind", "/apiVersion", "/metadata", "/metadata/name"])
@pytest.mark.parametrize("operation", ["add", "replace", "remove", "move", "move from", "copy"])
def test_who_a_document_is_cannot_be_patched(operation: str, path: str, refused: Refused) -> None:
    body = {
        "add": f"{{op: add, path: '{path}', value: x}}",
        "replace": f"{{op: replace, path: '{path}', value: x}}",
        "remove": f"{{op: remove, path: '{path}'}}",
        "move": f"{{op: move, from: /spec/mtu, path: '{path}'}}",
        "move from": f"{{op: move, from: '{path}', path: /spec/x}}",
        "copy": f"{{op: copy, from: /spec/mtu, path: '{path}'}}",
    }[operation]
    (problem,) = refused(NETWORK + patch(body))
    assert problem.message == f"a patch cannot change {path or 'the whole document'}"
    assert (problem.origin.line, problem.origin.document) == (14, "Patch/change")


@pytest.mark.parametrize(
    "operation",
    [
        "{op: replace, path: /spec/nothing, value: 1}",
        "{op: remove, path: /spec/nothing}",
        "{op: add, path: /spec/nothing/more, value: 1}",
        "{op: add, path: /spec/mtu/more, value: 1}",
        "{op: add, path: /spec/subnets/7, value: 1}",
        "{op: add, path: /spec/subnets/first, value: 1}",
        "{op: add, path: /spec/subnets/01, value: 1}",
        "{op: replace, path: /spec/subnets/-, value: 1}",
        "{op: remove, path: /spec/subnets/-}",
        "{op: remove, path: /spec/subnets/-1}",
        "{op: test, path: /spec/subnets/-, value: 1}",
        "{op: copy, from: /nothing, path: /spec/mtu}",
        "{op: move, from: /spec/subnets/3, path: /spec/mtu}",
        "{op: move, from: /spec/subnets, path: /spec/subnets/0}",
        "{op: add, path: /, value: 1}",
    ],
)
def test_places_that_are_not_there(operation: str, refused: Refused) -> None:
    (problem,) = refused(NETWORK + patch(operation))
    assert problem.origin.line == 14 or problem.message == "unknown key ''"


@pytest.mark.parametrize("operation", ["copy", "move"])
def test_operations_that_nest_without_end(operation: str, refused: Refused) -> None:
    grow = [f"{{op: add, path: /spec/options{'/k' * depth}, value: {{}}}}" for depth in range(40)]
    into = f"/spec/{'k' if operation == 'move' else 'options'}{'/k' * 39}"
    again = [f"{{op: copy, from: /spec/options, path: {into}}}"] * 20
    if operation == "move":
        grow += ["{op: copy, from: /spec/options, path: /spec/k}"]
        again = [f"{{op: move, from: /spec/options, path: {into}}}"]
    (problem,) = refused(NETWORK + patch(*grow, *again))
    assert problem.message == "nested more than 64 levels deep"


def test_a_path_of_too_many_parts(refused: Refused) -> None:
    (problem,) = refused(NETWORK + patch(f"{{op: add, path: {'/a' * 65}, value: 1}}"))
    assert problem.message == "nested more than 64 levels deep"


def test_a_thousand_operations_take_little_time(read: Load) -> None:
    operations = [f"{{op: add, path: /metadata/labels/k{number}, value: x}}" for number in range(1000)]
    (document,) = read(NETWORK + patch(*operations)).documents
    assert isinstance(document.model, BaseModel)
    assert len(document.model.metadata.labels) == 1001
