"""Plays all stories. ``CNM_WRITE_STORIES=1`` writes what was printed into them instead, to be read before it is kept."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import pytest

from tests.lab import Host
from tests.lab.warm import Warm
from tests.stories.story import Step, agrees, needs, play, read, verbs, written

FOLDER = Path(__file__).parent
STORIES = sorted(FOLDER.glob("*.story"))
ALWAYS = ("netns", "nft", "link:bridge", "link:veth", "command:hostname")


def _installed() -> set[tuple[str, Step]]:
    """(story, step) where a verb is used first: those are played by the command as it is installed, which imports
    what it needs itself; all others by one that has (tests.lab.warm)."""
    known: set[str] = set()
    first = set()
    for path in STORIES:
        for step in read(path.read_text()):
            if not verbs(step.command) <= known:
                first.add((path.stem, step))
                known |= verbs(step.command)
    return first


INSTALLED = _installed()


def _params() -> list[object]:
    return [
        pytest.param(path, id=path.stem, marks=pytest.mark.requires(*ALWAYS, *needs(path.read_text())))
        for path in STORIES
    ]


@pytest.mark.parametrize("path", _params())
def test_story(path: Path, tmp_path: Path, warm: Warm) -> None:
    text = path.read_text()
    results = []
    with Host() as host:
        for step in read(text):
            environment = {} if (path.stem, step) in INSTALLED else warm.environment
            output, status = play(host, tmp_path, step, environment)
            results.append((step, output, status))
            if os.environ.get("CNM_WRITE_STORIES"):
                continue
            assert agrees(step.output, output), f"{path.name}:{step.first + 1}: $ {step.command}\n" + "\n".join(
                difflib.unified_diff(step.output, output, "the story", "what happened", lineterm="")
            )
            assert status == step.status, f"{path.name}:{step.first + 1}: $ {step.command}\nexit status {status}"
        assert host.namespaces() == [], "a story cleans up after itself"
    if os.environ.get("CNM_WRITE_STORIES"):
        path.write_text(written(text, results))


def test_there_are_stories() -> None:
    assert STORIES
