"""Manifests whose documents are right one by one and wrong together: the exact words that a person gets to read.

``bad/NAME.yaml`` is resolved on node ``here``, ``bad/NAME.txt`` is what comes out.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.engine.controller import NetworkController
from reconciler.errors import ManifestError

CASES = sorted((Path(__file__).parent / "bad").glob("*.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_is_refused_in_these_words(case: Path) -> None:
    with pytest.raises(ManifestError) as caught, NetworkController(node="here") as controller:
        controller.validate([str(case)])
    assert f"{caught.value}\n" == case.with_suffix(".txt").read_text()
    for problem in caught.value.problems:
        assert problem.origin.line, "every problem has its place"
        assert problem.hint, "and what to write instead"


def test_every_case_has_its_words() -> None:
    assert {case.with_suffix(".txt") for case in CASES} == set((Path(__file__).parent / "bad").glob("*.txt"))
