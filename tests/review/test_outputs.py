"""What people get to see: plans on a terminal and in a review comment, networks as pictures."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console
from syrupy.assertion import SnapshotAssertion

from reconciler.planner.plan import Plan
from reconciler.review.graph import FORMATS
from reconciler.review.markdown import plan_markdown
from reconciler.review.terminal import show_diff, show_plan
from tests.golden.case import FOLDER, Case
from tests.text import TextFile

CASES = [
    "no-change",
    "change-in-place",
    "recreation",
    "drift",
    "prune",
    "foreign-conflict",
    "adoption",
    "stack-path-missing",
]
every_case = pytest.mark.parametrize("name", CASES)


def planned(name: str) -> Plan:
    return Case(FOLDER / "bridge" / name).plan().plan


def terminal(*, color: bool = False) -> Console:
    return Console(
        file=StringIO(), width=110, force_terminal=color, color_system="standard" if color else None, soft_wrap=True
    )


def text(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@every_case
def test_on_a_terminal(name: str, snapshot: SnapshotAssertion) -> None:
    console = terminal()
    show_plan(console, planned(name))
    assert text(console) == snapshot.use_extension(TextFile)


def test_in_full_and_in_colour(snapshot: SnapshotAssertion) -> None:
    console = terminal(color=True)
    show_plan(console, planned("recreation"), verbose=True)
    assert text(console).replace("\x1b", "<ESC>") == snapshot.use_extension(TextFile)


def test_the_difference_alone(snapshot: SnapshotAssertion) -> None:
    console = terminal()
    show_diff(console, planned("drift"))
    assert text(console) == snapshot.use_extension(TextFile)


@every_case
def test_as_a_review_comment(name: str, snapshot: SnapshotAssertion) -> None:
    assert plan_markdown(planned(name)) == snapshot.use_extension(TextFile)


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_as_a_picture(form: str, snapshot: SnapshotAssertion) -> None:
    validated = Case(FOLDER / "bridge" / "side-by-side").plan().validated
    assert validated is not None
    assert FORMATS[form](validated.topology) == snapshot.use_extension(TextFile)
