"""A folder of manifests that must be refused, each with the exact words that a person gets to read.

``bad/NAME.yaml`` is loaded, ``bad/NAME.txt`` is what comes out.
"""

from __future__ import annotations

from pathlib import Path
from time import process_time

import pytest

from reconciler.drivers import registry
from reconciler.errors import ManifestError
from reconciler.manifest import reader
from reconciler.manifest.load import load

CASES = sorted((Path(__file__).parent / "bad").glob("*.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_is_refused_in_these_words(case: Path) -> None:
    start = process_time()
    with pytest.raises(ManifestError) as caught:
        load([str(case)], options=registry.options(), node="here")
    assert process_time() - start < 1
    assert f"{caught.value}\n" == case.with_suffix(".txt").read_text()


def test_every_case_has_its_words() -> None:
    assert len(CASES) > 90
    texts = {case.with_suffix(".txt") for case in CASES}
    assert texts == set((Path(__file__).parent / "bad").glob("*.txt"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_parser_in_python_refuses_it_as_well(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words of syntax errors differ between the two parsers; that something is wrong does not."""
    monkeypatch.setattr(reader, "FAST", False)
    with pytest.raises(ManifestError):
        load([str(case)], options=registry.options(), node="here")
