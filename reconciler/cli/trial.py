"""The verbs of a change on trial: try, confirm."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli import change, guards
from reconciler.cli import options as o

if TYPE_CHECKING:
    from reconciler.engine.result import Report
    from reconciler.engine.trial import Trial

_KEEP, _REVERT = "yY\r\n", "nNqQ\x03\x04\x1b"


def register(app: typer.Typer) -> None:
    app.command("try", rich_help_panel="Plan and change")(try_)
    app.command(rich_help_panel="Plan and change")(confirm)


def try_(
    manifests: o.Sources = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=1, help="How long to wait for a confirmation.")
    ] = 120,
    probe: guards.Probes = None,
    probe_timeout: guards.ProbeTimeout = 10,
    yes: change.Yes = False,
    node: o.Node = "",
    env: o.Environment = None,
    owner: o.Owner = "cnm",
    target: o.Targets = None,
    exclude: o.Excludes = None,
    adopt: o.Adopt = False,
    locked: o.Locked = False,
    allow_mass_delete: guards.AllowMassDelete = False,
    json: o.Json = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
    state_dir: o.StateDir = None,
    lock_file: o.LockFile = None,
) -> int:
    """Apply, and go back unless somebody confirms.

    A process of its own holds the deadline: silence, a lost terminal or ssh session, a killed cnm or a failing probe
    put the host back as it was (exit status 3). Confirm with a key, or from anywhere on this host with `cnm confirm`.
    """
    from reconciler.cli.console import output
    from reconciler.engine.trial import begin_trial
    from reconciler.errors import ConflictError
    from reconciler.review.terminal import show_plan

    probes = guards.probes(probe)
    names = list(o.sources(manifests))
    how = change.How(
        guards.guards(force=True, allow_mass_delete=allow_mass_delete),
        yes=yes,
        json=json,
        verbose=verbose,
        quiet=quiet,
    )
    with o.controller(node, env, owner, state_dir, lock_file) as controller:
        change.recover_first(controller, how)
        options = o.plan_options(target, exclude, adopt, locked=locked)
        planned = controller.plan(names, stdin=o.stdin(names), options=options)
        if not (quiet or json):
            show_plan(output(), planned.plan, controller.shift(planned), verbose=verbose)
        if planned.plan.conflicts:
            raise ConflictError(planned.plan.conflicts)
        if planned.plan.empty:
            return 0
        controller.guard(planned, how.guards)
        if not yes and not change.confirmed():
            sys.stdout.write("nothing was changed\n")
            return change.CHANGES
        trial = begin_trial(
            lambda: o.controller(node, env, owner, state_dir, lock_file),
            planned,
            timeout=timeout,
            probes=probes,
            patience=probe_timeout,
        )
        report = _watch(trial)
    change.tell(report, how)
    return change.status_of(report)


def confirm(
    revert: Annotated[
        bool, typer.Option("--revert", metavar="", help="Do not keep it: put the host back now.")
    ] = False,
    owner: o.Owner = "cnm",
    state_dir: o.StateDir = None,
) -> int:
    """Keep a change that `cnm try` has on trial on this host."""
    with o.controller(owner=owner, state_dir=state_dir) as controller:
        done, words = controller.answer_trial(confirm=not revert)
    sys.stdout.write(f"{words}\n")
    return 0 if done else change.FAILED


def _watch(trial: Trial) -> Report:
    """Tell what happens, pass keys on, until the end. Raises the guardian's error when it never began."""
    import select
    import time

    from reconciler.engine.trial import Waiting

    with _keys() as keys:
        message = trial.receive()
        if isinstance(message, Waiting):
            deadline = time.monotonic() + message.seconds
            _prompt(message.seconds, keys)
            while True:
                ready = select.select([trial, *([sys.stdin] if keys else [])], [], [], 1.0)[0]
                if trial in ready:
                    break
                if sys.stdin in ready:
                    key = sys.stdin.read(1)
                    if key in _KEEP and key:
                        trial.confirm()
                    elif not key or key in _REVERT:
                        trial.revert()
                        keys = keys and bool(key)
                elif keys:
                    sys.stderr.write(f"\r{max(deadline - time.monotonic(), 0):4.0f} s left ")
                    sys.stderr.flush()
            if keys:
                sys.stderr.write("\r" + " " * 20 + "\r")
            message = trial.receive()
    trial.close()
    if isinstance(message, Waiting) or message.report is None:
        error = None if isinstance(message, Waiting) else message.error
        raise error or RuntimeError("the guardian waits twice")
    return message.report


def _prompt(seconds: float, keys: bool) -> None:
    how = "press y or Enter to keep it, n to go back; or " if keys else ""
    sys.stderr.write(
        f"Applied, on trial: {how}`cnm confirm` keeps it. In {seconds:.0f} s the host goes back by itself.\n"
    )


@contextmanager
def _keys() -> Iterator[bool]:
    """Single keys, when there is a terminal; True then. Ctrl-C is a key like others: it goes back."""
    if not sys.stdin.isatty():
        yield False
        return
    import termios
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSANOW)
        mode = termios.tcgetattr(fd)
        mode[1] = before[1]  # output as it was
        termios.tcsetattr(fd, termios.TCSANOW, mode)
        yield True
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
