"""``make test-lane``: pytest on the lane's kernel, in several guests side by side.

``python -m tests.lane`` runs the tests that need what this machine's kernel lacks; where pytest's arguments name tests, those;
with ``--all``, all that need a kernel; with ``--hardware``, those that need a device. pytest-xdist deals the tests
out, so that all of pytest's options and reports work as they do outside, and a test that brings its kernel down is
named.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.lab.host import ROOT
from tests.lane.kernel import NoKernel, kernel, qemu
from tests.lane.machine import Machine
from tests.lane.selection import Choice

GUESTS = 3  # of one processor each; half of the time their tests wait
_FAILURES = 1  # pytest's exit status for "tests failed"
_NOTHING = 5  # pytest's exit status for "no tests were collected"
_FAILED = ROOT / ".pytest_cache/v/cache/lastfailed"  # written by the pytest that deals the tests out


def choose(choice: Choice, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """(ids of the tests of that choice among those that pytest's arguments select, the arguments without the places that
    they name). Raises CalledProcessError (its words are on standard error already)."""
    with tempfile.NamedTemporaryFile("r", prefix="cnm-lane.") as file:
        options = ["--collect-only", "-q", "-p", "no:xdist", f"--choose={choice}", f"--choose-to={file.name}"]
        done = subprocess.run([ROOT / ".ci/test", *options, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)  # fmt: skip
        if done.returncode not in (0, _NOTHING):
            print(done.stdout, done.stderr, sep="", end="", file=sys.stderr)
            done.check_returncode()
        found = json.load(file)
        rest = list(arguments)
        for named in found["named"]:
            rest.remove(named)
        return found["tests"], rest


def pytest_command(machine: Machine, guests: int, arguments: Sequence[str]) -> list[str]:
    """The command that runs pytest with these arguments in so many guests; in one guest as a whole."""
    guest = [sys.executable, "-m", "tests.lane.guest", "--machine", machine]
    if guests == 1:
        return [*guest, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    spec = f"{guests}*popen//python={' '.join([*guest, '--stdin', sys.executable])}"
    return [sys.executable, "-m", "pytest", "--dist", "worksteal", "--tx", spec, *arguments]


def failed_of(tests: Sequence[str]) -> list[str]:
    """Which of these failed when they last ran, in their order."""
    known = json.loads(_FAILED.read_text()) if _FAILED.exists() else {}
    return [test for test in tests if test in known]


def _names_tests(arguments: Sequence[str]) -> bool:
    """Whether pytest's arguments select tests, by place or by word."""
    return any(not argument.startswith("-") or argument.startswith(("-k", "--lf", "--ff")) for argument in arguments)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.lane", description=__doc__.partition("\n")[0], allow_abbrev=False)  # fmt: skip
    parser.add_argument("--all", action="store_true", help="all tests that need a kernel")
    parser.add_argument("--waiting", action="store_true", help="only tests that need what this machine's kernel lacks")
    parser.add_argument("--hardware", action="store_true", help="only tests that need a device, like a NIC with VFs")
    parser.add_argument("--machine", type=Machine, default=Machine.UML, help=f"{' or '.join(Machine)} (default uml)")
    parser.add_argument("--optional", action="store_true", help="without a lane kernel: name the tests, and succeed")
    parser.add_argument(
        "--guests", type=int, default=min(GUESTS, 2 * (os.cpu_count() or 1)), help="how many side by side"
    )
    given, arguments = parser.parse_known_args(argv)
    choices = {
        Choice.KERNEL: given.all,
        Choice.HARDWARE: given.hardware,
        Choice.WAITING: given.waiting or not _names_tests(arguments),
    }
    choice = next((choice for choice, wanted in choices.items() if wanted), None)
    try:
        tests, options = choose(choice, arguments) if choice else ([], [])
        if choice and not tests:
            print(f"lane: no test is {choice}")
            return 0
        name = kernel() if given.machine is Machine.UML else qemu()
    except NoKernel as error:
        if not given.optional:
            print(f"lane: {error}", file=sys.stderr)
            return 1
        print(f"lane: {len(tests)} tests wait for a lane kernel ({error}):", *tests, sep="\n  ")
        return 0
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    guests = min(given.guests, len(tests)) if tests else given.guests
    print(f"lane: {len(tests) or 'the chosen'} tests in {guests} guest(s) of {name}", flush=True)
    with tempfile.TemporaryDirectory(prefix="cnm-lane.") as folder:
        listing = Path(folder, "tests")
        if tests:
            listing.write_text("".join(f"{test}\n" for test in tests))
            arguments = [f"@{listing}", *options]
        status = subprocess.run(pytest_command(given.machine, guests, arguments), cwd=ROOT, check=False).returncode
        failed = failed_of(tests) if status == _FAILURES and os.environ.get("CI") == "true" else []
        if failed:
            print("lane: what failed is tried once more, one by one", flush=True)  # for the reason in .ci/test
            listing.write_text("".join(f"{test}\n" for test in failed))
            status = subprocess.run(pytest_command(given.machine, 1, arguments), cwd=ROOT, check=False).returncode
        return status


if __name__ == "__main__":
    sys.exit(main())
