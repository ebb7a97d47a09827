"""The verbs about this host and this program: doctor, version."""

from __future__ import annotations

import sys

import typer

from reconciler import __version__
from reconciler.cli import options as o


def register(app: typer.Typer) -> None:
    o.family(app, "This host, this program", doctor, version)


def doctor(owner: o.Owner = "cnm", json: o.Json = False, state_dir: o.StateDir = None) -> int:
    """What this host can do, and what is missing.

    Each driver, which capability is missing, and how to get it. Exit status 1: something is missing.
    """
    with o.controller(owner=owner, state_dir=state_dir, read_only=True) as controller:
        checks = controller.doctor()
    if json:
        import json as codec

        from reconciler.review.data import checks_to_data

        sys.stdout.write(codec.dumps(checks_to_data(checks), indent=2) + "\n")
    else:
        from reconciler.cli.console import output
        from reconciler.review.terminal import show_checks

        show_checks(output(), checks)
    return 1 if any(check.level == "error" for check in checks) else 0


def version() -> int:
    """The version of cnm."""
    sys.stdout.write(f"cnm {__version__}\n")
    return 0
