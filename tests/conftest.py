"""What all tests share: private hosts, the rule about skips, and which tests belong in which lane."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lab import Host, missing
from tests.lab.warm import Warm
from tests.lane.kernel import NoKernel, kernel
from tests.lane.selection import Choice, chosen, lane_could_run, needs
from tests.order import dealt

_EXPECTED = frozenset(filter(None, os.environ.get("CNM_EXPECTED_MISSING", "").split(",")))
_STRICT = os.environ.get("CI") == "true"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lanes")
    group.addoption("--choose", type=Choice, metavar="WHICH", help=f"run nothing; choose tests: {', '.join(Choice)}")
    group.addoption("--choose-to", type=Path, metavar="FILE", help="write their ids to FILE, and what named them")


@pytest.hookimpl(trylast=True)  # after -k, -m and --deselect
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    choice = config.getoption("choose")
    if choice:
        tests = [item.nodeid for item in items if chosen(item, choice)]
        named = config.getoption("file_or_dir")  # as they were given, unlike config.args
        config.getoption("choose_to").write_text(json.dumps({"tests": tests, "named": named}))
        items.clear()
    elif workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
        items[:] = dealt(items, workers)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for capability in needs(item):
        reason = missing(capability)
        if reason:
            pytest.skip(f"{capability}: {reason}")


def _left_to_the_lane(capability: str) -> bool:
    """Whether the lane runs, later, what is skipped here."""
    try:
        return not os.environ.get("CNM_LANE") and bool(kernel()) and lane_could_run([capability])
    except (NoKernel, ValueError):
        return False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """In continuous integration a skip is a failure, unless the lane will run the test (tests/lane), or no lane here
    can: $CNM_EXPECTED_MISSING names such capabilities, comma-separated."""
    report = yield
    if _STRICT and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        named = reason.removeprefix("Skipped: ")
        capability = named.partition(": ")[0]
        if capability not in _EXPECTED and not _left_to_the_lane(capability):
            report.outcome = "failed"
            report.longrepr = (
                f"unexpected skip: {named}\n(the lane of tests/lane may have it: `make lane`; what no lane here can "
                "have is named in CNM_EXPECTED_MISSING)"
            )
    return report


@pytest.fixture
def hosts() -> Iterator[Callable[[str], Host]]:
    """``hosts("a")`` makes a private host; all are gone after the test."""
    with ExitStack() as stack:
        yield lambda name="host": stack.enter_context(Host(name))


@pytest.fixture
def host(hosts: Callable[[str], Host]) -> Host:
    """One private host."""
    return hosts("host")


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """A `cnm` that starts in a tenth of the time; for tests that start it often."""
    with Warm() as warm:
        yield warm
