"""What a scalar means: YAML 1.2's core schema."""

from __future__ import annotations

import pytest

from reconciler.manifest import reader
from reconciler.manifest.reader import read_documents


@pytest.fixture(params=[True, False], ids=["libyaml", "python"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param and not reader.FAST:
        pytest.skip("ruamel.yaml is installed without libyaml")
    monkeypatch.setattr(reader, "FAST", request.param)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("nul", "nul"),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("-7", -7),
        ("+7", 7),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("22:22", "22:22"),
        ("2024-01-02", "2024-01-02"),
        ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.2.3", "1.2.3"),
        ("10.0.0.1", "10.0.0.1"),
        ("fe80::1", "fe80::1"),
        ("18446744073709551615", 18446744073709551615),
        ("-9223372036854775808", -9223372036854775808),
        ("'010'", "010"),
        ('"true"', "true"),
        ("=", "="),
        ("|\n  true\n", "true\n"),
        (">-\n  a\n  b\n", "a b"),
        ('"\\u00e9"', "é"),
        ("９", "９"),
    ],
)
def test_value(text: str, value: object) -> None:
    (document,) = read_documents(f"key: {text}\n".encode(), "f")
    found = document.data["key"]
    assert (found, type(found)) == (value, type(value))


def test_a_comment_for_an_editor_is_harmless() -> None:
    (document,) = read_documents(b"# yaml-language-server: $schema=../schemas/cnm.json\na: 1 # one\n", "f")
    assert (document.data, document.line) == ({"a": 1}, 2)


def test_empty_documents_are_left_out() -> None:
    assert [document.data for document in read_documents(b"---\n---\n# nothing\n---\na: 1\n---\n~\n...\n", "f")] == [
        {"a": 1}
    ]


def test_a_byte_order_mark_at_the_start_and_the_directive_of_yaml_12_are_accepted() -> None:
    (document,) = read_documents(b"\xef\xbb\xbf%YAML 1.2\n---\na: 1\n", "f")
    assert document.data == {"a": 1}


def test_a_line_that_begins_with_a_percent_sign_inside_a_text_is_text() -> None:
    (document,) = read_documents(b"a: |\n  x\n  %YAML 1.1\n", "f")
    assert document.data == {"a": "x\n%YAML 1.1\n"}


def test_json_is_read() -> None:
    (document,) = read_documents(b'{\n\t"a": [1, {"b": null}],\n\t"c": "\\u00e9"\n}', "f")
    assert document.data == {"a": [1, {"b": None}], "c": "é"}


def test_positions_count_characters_from_one() -> None:
    (document,) = read_documents("ä: 'ö'\nb:\n  - c\n  - d: [e, é, g]\n".encode(), "f")
    assert document.positions == {
        (): (1, 1),
        ("ä",): (1, 4),
        ("b",): (2, 1),
        ("b", 0): (3, 5),
        ("b", 1): (4, 5),
        ("b", 1, "d"): (4, 5),
        ("b", 1, "d", 0): (4, 9),
        ("b", 1, "d", 1): (4, 12),
        ("b", 1, "d", 2): (4, 15),
    }
    assert document.keys == {("ä",): (1, 1)}


def test_an_alias_is_a_copy_where_it_stands() -> None:
    (document,) = read_documents(b"a: &x {k: [1]}\nb: *x\n*y : 1\n".replace(b"*y : 1\n", b""), "f")
    assert document.data["a"] == document.data["b"]
    assert document.data["a"]["k"] is not document.data["b"]["k"]
    assert document.positions[("b",)] == (2, 1)


def test_an_alias_may_be_a_key() -> None:
    (document,) = read_documents(b"- &x name\n- {*x : 1}\n", "f")
    assert document.data == ["name", {"name": 1}]
