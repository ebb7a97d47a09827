"""What all tests share: private hosts, and the rule about skips."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.lab import Host, missing

_EXPECTED = frozenset(filter(None, os.environ.get("CNM_EXPECTED_MISSING", "").split(",")))
_STRICT = os.environ.get("CI") == "true"


def _needs(item: pytest.Item) -> list[str]:
    needs = [capability for mark in item.iter_markers("requires") for capability in mark.args]
    if {"host", "hosts"}.intersection(getattr(item, "fixturenames", ())):
        needs.insert(0, "netns")
    return list(dict.fromkeys(needs))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for capability in _needs(item):
        reason = missing(capability)
        if reason:
            pytest.skip(f"{capability}: {reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """In continuous integration a skip is a failure unless the lane is known to lack the capability it names
    ($CNM_EXPECTED_MISSING, comma-separated)."""
    report = yield
    if _STRICT and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        named = reason.removeprefix("Skipped: ")
        if not any(named.startswith(f"{capability}: ") for capability in _EXPECTED):
            report.outcome = "failed"
            report.longrepr = (
                f"unexpected skip: {named}\n(add the capability to CNM_EXPECTED_MISSING if this lane lacks it)"
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
