"""Whatever is thrown at the loader, nothing but ManifestError comes out of it."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reconciler.drivers import registry
from reconciler.errors import ManifestError
from reconciler.manifest import reader
from reconciler.manifest.kinds import kind_modules
from reconciler.manifest.load import load

VALID = "---\n".join(module.EXAMPLE for module in kind_modules().values())
SYNTAX = [*"{}[]&*!|>'\"%@`#,:?-=<~^\\ \n\t", "\n  ", "\n---\n", "<<", "!!", "&a ", "*a", "%YAML 1.1\n", "...\n"]
WORDS = [
    *("apiVersion", "cnm/v1alpha1", "kind", "metadata", "name", "spec", "Network", "Endpoint", "Patch", "Sandbox", "Node"),
    *("subnets", "cidr", "10.0.0.0/24", "stack", "path", "operations", "op", "from", "value", "target", "/spec/mtu", "-"),
    *("null", "true", ".nan", "0x", "1e999", "\ufeff", "\u2028", "\x00", "\ud7ff", "é", "\U0001f600"),
]  # fmt: skip

keys = st.sampled_from(WORDS) | st.text(max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | keys,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
pointers = st.lists(st.sampled_from(["spec", "mtu", "subnets", "0", "-", "cidr", "metadata", "", "~0", "~2", "labels"]), max_size=4).map(
    lambda parts: "".join(f"/{part}" for part in parts)
)  # fmt: skip
operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), "path": pointers},
    optional={"from": pointers, "value": values},
)


@pytest.fixture(params=[True, False], ids=["libyaml", "python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param and not reader.FAST:
        pytest.skip("ruamel.yaml is installed without libyaml")
    monkeypatch.setattr(reader, "FAST", request.param)


def feed(raw: bytes) -> None:
    """Load, and look at every problem; any other exception fails the test."""
    try:
        load(["-"], options=registry.options(), stdin=io.BytesIO(raw), node="rack1", environment="staging")
    except ManifestError as error:
        refused = error
    else:
        return
    assert refused.problems
    assert all(problem.origin.file == "<stdin>" and problem.message for problem in refused.problems)
    assert all(problem.origin.line <= raw.count(b"\n") + raw.count(b"\r") + 2 for problem in refused.problems)


both = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)


@pytest.mark.usefixtures("parser")
@both
@given(st.binary(max_size=300))
@example(b"\xff\xfe")
@example(b"\xed\xa0\x80")
def test_bytes(raw: bytes) -> None:
    feed(raw)


@pytest.mark.usefixtures("parser")
@both
@given(st.lists(st.sampled_from(SYNTAX + WORDS) | st.text(max_size=3), max_size=40).map("".join))
@example("? [a]\n: b")
@example("%FOO\n---\na")
@example("%YAML 1.9\n---\na")
@example("a: &x\nb: *x")
@example("- !<x> a")
@example("- !<> a")
@example('"\\ud800"')
@example("!!null ''")
@example("*x")
def test_text_that_looks_like_yaml(text: str) -> None:
    feed(text.encode("utf-8", "surrogatepass"))


@pytest.mark.usefixtures("parser")
@both
@given(st.data())
def test_valid_manifests_with_a_few_changes(data: st.DataObject) -> None:
    text = VALID
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 30)))
        text = text[:start] + data.draw(st.sampled_from(["", *SYNTAX, *WORDS])) + text[end:]
    feed(text.encode("utf-8", "surrogatepass"))


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(kind_modules())), values, values)
def test_any_data_in_any_kind(kind: str, metadata: object, spec: object) -> None:
    feed(json.dumps({"apiVersion": "cnm/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}).encode())


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(keys, values, max_size=5), values)
def test_any_options_of_any_driver(options: dict[str, object], driver: object) -> None:
    spec = {"driver": driver if isinstance(driver, str) else "bridge", "options": options}
    feed(
        json.dumps({"apiVersion": "cnm/v1alpha1", "kind": "Network", "metadata": {"name": "a"}, "spec": spec}).encode()
    )


@settings(deadline=None, max_examples=500)
@given(st.lists(operations, min_size=1, max_size=6))
def test_any_operations_of_a_patch(steps: list[dict[str, object]]) -> None:
    spec = {"target": {"kind": "Network", "name": "web"}, "operations": steps}
    change = {"apiVersion": "cnm/v1alpha1", "kind": "Patch", "metadata": {"name": "fuzz"}, "spec": spec}
    feed(f"{VALID}---\n{json.dumps(change)}".encode())
