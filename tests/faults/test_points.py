"""Every step of every kind of resource may fail, and the process may end at every one: the host is as before, or as
wanted, never half-way. The points come from the kinds' own samples and from the steps that the code announces."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from reconciler.engine.controller import NetworkController
from reconciler.errors import StateError
from reconciler.resources.registry import kinds
from tests.contract.sample import Sample
from tests.contract.samples import samples
from tests.faults.scene import (
    EVERY,
    Stand,
    Steps,
    chosen,
    differences,
    one_request_a_datagram,
    transitions,
)
from tests.kernel.private import isolated

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")

every_sample = pytest.mark.parametrize(
    "sample", [pytest.param(s, marks=pytest.mark.requires(*s.requires), id=str(s.spec.key)) for s in samples()]
)


def test_every_kind_adds_points() -> None:
    assert {sample.spec.kind for sample in samples()} == set(kinds())


def _told(record: Callable[[str, object], None], path: str) -> None:
    """Hand the numbers that the private host wrote down to the report (conftest prints their sum)."""
    with Path(path).open() as file:
        for line in file:
            name, _, number = line.partition(" ")
            record(name, int(number))


def _tell(path: str, name: str, number: int) -> None:
    with Path(path).open("a") as file:
        file.write(f"{name} {number}\n")


@every_sample
def test_any_step_may_fail(sample: Sample, tmp_path: object, record_property: Callable[[str, object], None]) -> None:
    notes = f"{tmp_path}/notes"
    _fail_everywhere(sample, notes)
    _told(record_property, notes)


@isolated
def _fail_everywhere(sample: Sample, notes: str) -> None:
    stand = Stand(sample)
    tried = found = 0
    for name, start, end in transitions(sample):
        stand.reach(start)
        moved = True
        counting = Steps()
        assert stand.go(end, counting).ok
        total = len(counting.seen)
        assert total or sample.spec.awaited() or end == [], f"{name}: no step is announced"
        found += total
        for at in chosen(total):
            steps = Steps(at)
            if moved:  # from nothing: what the wanted specs do not manage would stay otherwise
                stand.reach([])
                stand.reach(start)
            moved = False
            before = stand.picture()
            report = None
            with suppress(StateError):  # refused: nothing was touched
                report = stand.go(end, steps)
            where = f"{name}: step {at} of {total}, {steps.seen[at - 1]}"
            assert steps.reached, where
            now = stand.picture()
            if report is None:
                assert differences(before, now) == [], where
            elif report.ok:
                assert stand.rest(end) == [], where
                moved = True
            elif report.rollback is None:  # it had come past the point of no return: what is left to do is done next
                recovery = _recover()
                assert recovery is not None, (where, report.failed)
                assert recovery.finished, where
                assert stand.rest(end) == [], where
                moved = True
            else:
                assert report.rollback.complete, (where, report.failed, report.rollback)
                assert differences(before, now) == [], where
                assert stand.rest(start) == [], where
            tried += 1
    _tell(notes, "steps", found)
    _tell(notes, "failed", tried)


@every_sample
def test_the_process_may_be_killed_at_any_step(
    sample: Sample, tmp_path: object, record_property: Callable[[str, object], None]
) -> None:
    notes = f"{tmp_path}/notes"
    _kill_everywhere(sample, notes)
    _told(record_property, notes)


@isolated
def _kill_everywhere(sample: Sample, notes: str) -> None:
    one_request_a_datagram()
    stand = Stand(sample)
    tried = found = 0
    for name, start, end in transitions(sample):
        stand.reach(start)
        moved = True
        counting = Steps(within=False)
        assert stand.go(end, counting).ok
        total = len(counting.seen)
        found += total
        for at in chosen(total):
            if moved:  # from nothing: what the wanted specs do not manage would stay otherwise
                stand.reach([])
                stand.reach(start)
            moved = False
            before = stand.picture()
            where = f"{name}: killed at {at} of {total}, {counting.seen[at - 1]}"
            assert _killed(partial(stand.go, end, Steps(at, kill=True, within=False))), where
            if EVERY:  # and recovery may be killed as well
                _killed(partial(_recover, Steps(at, kill=True, within=False)))
            recovery = _recover()
            assert recovery is None or recovery.rollback.complete, (where, recovery)
            now = stand.picture()
            if differences(before, now):
                assert stand.rest(end) == [], (where, differences(before, now))
                assert recovery is None or recovery.finished, where
                moved = True
            tried += 1
    _tell(notes, "steps", found)
    _tell(notes, "killed", tried)


def _recover(steps: Steps | None = None):  # type: ignore[no-untyped-def]  # the engine's own type
    with NetworkController(step=steps or Steps()) as controller:
        return controller.recover()


def _killed(body: Callable[[], object]) -> bool:
    """Run in a child; whether it was killed."""
    pid = os.fork()
    if not pid:
        try:
            body()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
