"""The runner itself: it reads what is written and notices what is not so."""

from __future__ import annotations

from textwrap import dedent

import pytest

from tests.stories.story import Step, agrees, needs, read, written

TEXT = dedent("""\
    Prose. Needs nothing.
    Needs: ping link:vxlan

      $ cat <<END
      > one
      > END
      one
      $ false
      [1]
      $ true
    """)


def test_a_story_is_read() -> None:
    assert read(TEXT) == (
        Step(3, 7, "cat <<END\none\nEND", ("one",), 0),
        Step(7, 9, "false", (), 1),
        Step(9, 10, "true", (), 0),
    )
    assert needs(TEXT) == ("ping", "link:vxlan")


def test_output_without_a_command_is_an_error() -> None:
    with pytest.raises(ValueError, match="line 2"):
        read("Prose\n  output\n")


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        (("took {seconds} s",), ("took 0.12 s",), True),
        (("took {seconds} s",), ("took long s",), False),
        (("a.c",), ("abc",), False),
        (("{other}",), ("{other}",), True),
        (("one",), ("one", "two"), False),
        (("one", "two"), ("one",), False),
        ((), (), True),
    ],
)
def test_output_agrees_or_not(expected: tuple[str, ...], found: tuple[str, ...], same: bool) -> None:
    assert agrees(expected, found) is same


def test_writing_keeps_what_agrees() -> None:
    cat, false, true = read(TEXT)
    assert written(TEXT, [(cat, ("one",), 0), (false, (), 1), (true, (), 0)]) == TEXT
    changed = written(TEXT, [(cat, ("one",), 0), (false, ("no",), 3), (true, (), 0)])
    assert changed == TEXT.replace("  [1]\n", "  no\n  [3]\n")
