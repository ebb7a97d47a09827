"""Texts that are made to exhaust whoever reads them: each ends in an error, soon."""

from __future__ import annotations

from time import process_time

import pytest

from reconciler.manifest import load as loading
from reconciler.manifest import reader
from reconciler.manifest.reader import MAX_DEPTH, MAX_NODES, read_documents
from tests.manifest.conftest import Load, Refused

HEAD = "apiVersion: cnm/v1alpha1\nkind: {kind}\nmetadata: {{name: a}}\nspec:\n"


def billion_laughs(width: int, levels: int) -> str:
    lines = ["a0: &a0 [" + ", ".join(["x"] * width) + "]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * width) + "]" for n in range(1, levels)]
    return "\n".join(lines)


def twofold(levels: int) -> str:
    lines = ["a0: &a0 {x: 1, y: 2}"]
    return "\n".join(lines + [f"a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}}}" for n in range(1, levels)])


TEXTS = {
    "laughs": (billion_laughs(10, 12), "aliases multiply"),
    "laughs-in-mappings": (twofold(40), "aliases multiply"),
    "one-alias-many-times": ("a: &a [" + "1, " * 1000 + "]\nb: [" + "*a, " * 1000 + "]", "aliases multiply"),
    "lists-in-flow": ("[" * 5_000_000, "levels deep"),
    "mappings-in-flow": ("{a: " * 1_000_000, "levels deep"),
    "keys-in-flow": ("{" * 1_000_000, "cannot be a key"),
    "lists-in-block": ("- " * 1_000_000, "levels deep"),
    "keys-in-block": ("? " * 1_000_000, "cannot be a key"),
    "quote-that-never-ends": ('"' + "a" * 8_000_000, "not valid YAML"),
    "key-that-never-ends": ("a" * 8_000_000, ""),
    "anchors-that-never-end": ("&a " * 1_000_000, "not valid YAML"),
    "tags": ("".join(f"- !t{n} x\n" for n in range(100_000)), "100 problems in this file"),
    "duplicates": ("a: 1\n" * 100_000, "100 problems in this file"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_ends_within_a_second(name: str, refused: Refused) -> None:
    text, expected = TEXTS[name]
    start = process_time()
    problems = refused(text)
    assert process_time() - start < 1
    assert any(expected in problem.message for problem in problems)
    assert len(problems) <= 102
    assert all(len(str(problem)) < 1000 for problem in problems)


def test_too_many_values_end_while_they_are_read(refused: Refused) -> None:
    (problem,) = refused("- 1\n" * (MAX_NODES + 100_000))
    assert (problem.message, problem.origin.line) == ("more than 500,000 keys and values in one file", MAX_NODES)


def test_too_many_values_in_all_files(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "MAX_NODES", 20)
    text = HEAD.format(kind="Node") + "  addresses: [192.0.2.1, 192.0.2.2]\n"
    assert "more than 20 keys and values" in refused(f"{text}---\n{text}".replace("name: a", "name: b", 1))[0].message


def test_the_depth_that_is_allowed_is_allowed() -> None:
    (document,) = read_documents(("[" * MAX_DEPTH + "]" * MAX_DEPTH).encode(), "f")
    deepest = document.data
    for _ in range(MAX_DEPTH - 1):
        (deepest,) = deepest
    assert deepest == []


@pytest.mark.parametrize(
    "spec",
    [
        "".join(f"  key{n}: 1\n" for n in range(50_000)),
        "  allowFrom: [" + "1, " * 50_000 + "]\n",
        "  subnets: [" + "{a: 1, cidr: 1}, " * 20_000 + "]\n",
        "  options: {" + ", ".join(f"k{n}: 1" for n in range(50_000)) + "}\n",
    ],
    ids=["keys", "entries", "subnets", "options"],
)
def test_thousands_of_mistakes_are_cut_short(spec: str, refused: Refused) -> None:
    start = process_time()
    problems = refused(HEAD.format(kind="Network") + spec)
    assert process_time() - start < 3
    assert len(problems) == 101
    assert any("others are not shown" in problem.message for problem in problems)


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: " + "v" * 1_000_000,
        "apiVersion: cnm/v1alpha1\nkind: " + "K" * 1_000_000,
        "apiVersion: cnm/v1alpha1\nkind: Network\nmetadata: {name: " + "n" * 1_000_000 + "}",
        HEAD.format(kind="Network") + "  " + "k" * 1_000_000 + ": 1",
        HEAD.format(kind="Network") + "  " + "'" + "k" * 1_000_000 + "': 1",
        HEAD.format(kind="Network") + "  driver: " + "d" * 1_000_000,
        HEAD.format(kind="Network") + "  mtu: " + "d" * 1_000_000,
        HEAD.format(kind="Network") + "  subnets: [{cidr: " + "d" * 1_000_000 + "}]",
        HEAD.format(kind="Sandbox") + "  stack: " + "d" * 1_000_000,
        "a: &" + "x" * 1_000_000 + " 1\n",
        "a: *" + "x" * 1_000_000 + "\n",
        "a: !" + "x" * 1_000_000 + " 1\n",
        "'" + "a" * 100_000 + "': 1\n'" + "a" * 100_000 + "': 1\n",
    ],
)
def test_long_texts_are_not_repeated_in_words(text: str, refused: Refused) -> None:
    assert all(len(str(problem)) < 1500 for problem in refused(text))


def test_ten_thousand_documents_take_little_time(read: Load) -> None:
    text = "---\n".join(
        f"apiVersion: cnm/v1alpha1\nkind: Endpoint\nmetadata: {{name: e{n}}}\n"
        f"spec:\n  network: web\n  sandbox: s{n}\n  addresses: [10.1.{n >> 8}.{n & 255}]\n"
        for n in range(10_000)
    )
    start = process_time()
    manifests = read(text)
    assert len(manifests.documents) == 10_000
    assert process_time() - start < (4 if reader.FAST else 15)
