"""The selector language: what it means, and that an error points at the character."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.policy.selector import MAX_DEPTH, SelectorError, parse

LABELS = {"app": "web", "stage": "blue", "cnm/network": "front", "empty": ""}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", True),
        ("all()", True),
        ("!all()", False),
        ('app == "web"', True),
        ("app=='web'", True),
        ('app != "web"', False),
        ('none == ""', False),
        ('none != "x"', True),
        ('empty == ""', True),
        ('app in {"api", "web"}', True),
        ("app in {}", False),
        ('app not in {"api"}', True),
        ('none not in {"api"}', True),
        ("has(app)", True),
        ("has(none)", False),
        ("!has(none)", True),
        ("!!has(app)", True),
        ('cnm/network == "front"', True),
        ('app contains "e"', True),
        ('none contains ""', False),
        ('app starts with "we"', True),
        ('app ends with "we"', False),
        ('app == "api" || stage == "blue" && has(app)', True),
        ('(app == "api" || stage == "blue") && has(none)', False),
        ('app == "api" || !(stage == "green")', True),
        ('! has ( none ) && app\n==\t"web"', True),
    ],
)
def test_meaning(text: str, holds: bool) -> None:
    assert parse(text).matches(LABELS) is holds


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ('app = "web"', 5, "write '==' to compare"),
        ("app == web", 8, "expected a value in quotes, found 'web'"),
        ('app == "web', 8, "this quote is not closed"),
        ("app", 4, "expected '==', '!=', 'in' or 'not in', found the end"),
        ('app == "a" & has(b)', 12, "write '&&' for 'and'"),
        ('app == "a" has(b)', 12, "expected '&&', '||' or the end, found 'has'"),
        ("(has(a)", 8, "expected ')', found the end"),
        ("has()", 5, "expected a label's name, found ')'"),
        ("any()", 1, "there is no any(): there are has(LABEL) and all()"),
        ('app in "a"', 8, "expected '{', found '\"a\"'"),
        ('app in {"a" "b"}', 13, "expected ',', found '\"b\"'"),
        ('app not {"a"}', 9, "expected 'in', found '{'"),
        ("&& has(a)", 1, "expected a label, has(LABEL), all(), '!' or '(', found '&&'"),
        ("has(a) && ", 11, "expected a label, has(LABEL), all(), '!' or '(', found the end"),
        ("app == 'x' ; true", 12, "';' has no meaning here"),
        ("!" * (MAX_DEPTH + 1) + "has(a)", MAX_DEPTH + 1, f"more than {MAX_DEPTH} levels"),
    ],
)
def test_errors_point_at_the_character(text: str, column: int, said: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse(text)
    assert (caught.value.offset + 1, said in caught.value.said) == (column, True), str(caught.value)
    assert f"character {column} of " in str(caught.value)


WORD = st.sampled_from(["app", "stage", "none"])
VALUE = st.sampled_from(["web", "blue", "x"])
LEAF = st.one_of(
    st.tuples(WORD, st.sampled_from(["==", "!="]), VALUE).map(lambda t: (f'{t[0]} {t[1]} "{t[2]}"', t)),
    WORD.map(lambda w: (f"has({w})", (w, "has", ""))),
)
TREE = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        inner.map(lambda a: (f"!({a[0]})", ("not", a[1]))),
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(
            lambda t: (f"({t[0][0]}) {t[1]} ({t[2][0]})", (t[1], t[0][1], t[2][1]))
        ),
    ),
    max_leaves=12,
)


def value_of(tree: tuple, labels: dict[str, str]) -> bool:  # type: ignore[type-arg]
    if tree[0] == "not":
        return not value_of(tree[1], labels)
    if tree[0] == "&&":
        return value_of(tree[1], labels) and value_of(tree[2], labels)
    if tree[0] == "||":
        return value_of(tree[1], labels) or value_of(tree[2], labels)
    key, operator, value = tree
    if operator == "has":
        return key in labels
    return (labels.get(key) == value) is (operator == "==")


PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure


@PATIENT
@given(TREE, st.dictionaries(WORD, VALUE))
def test_any_tree_means_what_it_says(tree: tuple, labels: dict[str, str]) -> None:  # type: ignore[type-arg]
    text, meaning = tree
    parsed = parse(text)
    assert parsed.matches(labels) is value_of(meaning, labels)
    assert parse(parsed.text) == parsed, "the canonical text is a selector, and canonical"
    assert parse(parsed.text).matches(labels) is parsed.matches(labels)


@PATIENT
@given(st.text(max_size=40))
def test_any_text_is_a_selector_or_an_error_with_a_place(text: str) -> None:
    offset = 0
    try:
        parse(text)
    except SelectorError as error:
        offset = error.offset
    assert 0 <= offset <= len(text)
