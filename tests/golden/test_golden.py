"""Every case of every driver: what is rendered and what is planned, without root and without a host."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.data import SnapshotCollections
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from syrupy.location import PyTestLocation
from syrupy.types import SnapshotIndex

from reconciler.drivers.registry import drivers
from reconciler.engine.result import Planned
from reconciler.features.registry import features
from reconciler.planner.file import plan_to_data
from reconciler.resources.data import to_data
from tests.golden.case import FOLDER, Case, cases, registered, render

ROOT = Path(__file__).parents[2]
every_case = pytest.mark.parametrize("case", cases(), ids=str)
every_driver = pytest.mark.parametrize("driver", registered())


class Expected(SingleFileSnapshotExtension):
    """``expected.txt`` in the case's own folder."""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"

    @classmethod
    def dirname(cls, *, test_location: PyTestLocation) -> str:
        call = getattr(test_location.item, "callspec", None)  # syrupy asks about tests of other modules as well
        case = call.params.get("case") if call is not None else None
        return str(case.folder) if isinstance(case, Case) else super().dirname(test_location=test_location)

    @classmethod
    def get_snapshot_name(cls, *, test_location: PyTestLocation, index: SnapshotIndex = 0) -> str:
        return "expected"

    def discover_snapshots(self, **_: object) -> SnapshotCollections:
        """None but those that are asked for: --snapshot-update removes what it thinks is a stale snapshot, and
        a case's manifest lies in the same folder."""
        return SnapshotCollections()


@every_case
def test_resources_and_plan(case: Case, snapshot: SnapshotAssertion) -> None:
    assert render(case.plan()) == snapshot.use_extension(Expected)


@every_case
def test_the_order_of_documents_and_files_does_not_matter(case: Case, tmp_path: Path) -> None:
    """Each document in a file of its own, the last one first."""
    documents = [text for path in case.manifests for text in path.read_text().split("\n---\n")]
    for number, text in enumerate(reversed(documents)):
        (tmp_path / f"{number:03}.yaml").write_text(text)
    assert unplaced(case.plan([tmp_path])) == unplaced(case.plan())


def unplaced(planned: Planned) -> str:
    """The bytes of resources and plan, without the places that they name."""
    data = {"desired": [to_data(resource) for resource in planned.desired], "plan": plan_to_data(planned.plan)}
    return json.dumps(_without_origins(data))


def _without_origins(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: _without_origins(value) for name, value in data.items() if name != "origin"}
    return [_without_origins(item) for item in data] if isinstance(data, list) else data


@every_driver
def test_every_driver_has_cases(driver: str) -> None:
    assert cases(driver), f"add tests/golden/{driver}/CASE/manifest.yaml (docs/add-a-driver.md)"


@every_driver
def test_every_driver_has_an_example(driver: str) -> None:
    folder = ROOT / "manifests" / "examples" / driver
    assert list(folder.glob("*.yaml")), f"add a folder that works: manifests/examples/{driver}/"


@every_driver
def test_every_driver_has_a_test_with_packets(driver: str) -> None:
    """``tests/kernel/test_NAME.py``, or a module there whose ``DRIVERS`` names it."""
    found = set()
    for path in (ROOT / "tests" / "kernel").glob("test_*.py"):
        module = importlib.import_module(f"tests.kernel.{path.stem}")
        found |= {path.stem.removeprefix("test_").replace("_", "-"), *getattr(module, "DRIVERS", ())}
    assert driver in found, f"add tests/kernel/test_{driver}.py: who reaches whom, with packets"


def test_no_folder_is_for_a_driver_or_feature_that_is_not_there() -> None:
    assert {case.folder.parent.name for case in cases()} <= drivers().keys() | features().keys()


def test_no_folder_is_passed_over_in_silence() -> None:
    """A case whose manifest has another name would never run."""
    folders = {path.parent for path in FOLDER.glob("*/*/*") if "__pycache__" not in path.parts}
    assert folders == {case.folder for case in cases()}
