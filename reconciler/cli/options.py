"""The options that several commands share, and the controller that they make."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from reconciler.engine.controller import NetworkController
    from reconciler.engine.result import PlanOptions

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MANIFESTS]...",
        help="Files and folders, - for standard input. Default: $CNM_MANIFESTS, else ./manifests, else /etc/cnm.",
        show_default=False,
    ),
]
Node = Annotated[
    str,
    typer.Option("--node", help="Which Node of the manifests this host is. Default: its hostname.", show_default=False),
]
Environment = Annotated[str | None, typer.Option("--env", help="Apply Patch documents of this environment.")]
Owner = Annotated[str, typer.Option("--owner", help="Whose mark our objects carry.")]
StateDir = Annotated[
    Path | None,
    typer.Option("--state-dir", help="Folder of inventory and lock. Default: /run/cnm.", show_default=False),
]
LockFile = Annotated[
    Path | None,
    typer.Option("--lock-file", help="Lock file. Default: cnm.lock beside the manifests.", show_default=False),
]
Targets = Annotated[
    list[str] | None, typer.Option("--target", help="Only this key or document, and what it needs (glob).")
]
Excludes = Annotated[list[str] | None, typer.Option("--exclude", help="Not this key or document (glob).")]
Adopt = Annotated[bool, typer.Option("--adopt", help="Take over objects that stand where ours should be.")]
AllowEmpty = Annotated[bool, typer.Option("--allow-empty", help="No documents at all mean: nothing shall be there.")]
Locked = Annotated[bool, typer.Option("--locked", help="Refuse to choose an address that the lock file does not hold.")]
Snapshot = Annotated[
    Path | None, typer.Option("--observed", help="Plan against a snapshot instead of this host.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="JSON, versioned (docs/cli.md).")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show everything.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")]


def sources(arguments: list[str] | None) -> list[str]:
    """What the command line names, else the defaults. Raises UsageError when there is nothing."""
    from reconciler.errors import UsageError

    if arguments:
        return arguments
    named = os.environ.get("CNM_MANIFESTS", "")
    if named:
        return named.split(":")
    for folder in ("manifests", "/etc/cnm"):
        if Path(folder).is_dir():
            return [folder]
    raise UsageError(
        "no manifests: name files or folders, or set CNM_MANIFESTS (there is neither ./manifests nor /etc/cnm)"
    )


def sources_if_any(arguments: list[str] | None) -> list[str]:
    """The same for commands that also work without manifests."""
    from reconciler.errors import UsageError

    try:
        return sources(arguments)
    except UsageError:
        return []


def stdin(arguments: list[str]) -> IO[bytes] | None:
    return sys.stdin.buffer if "-" in arguments else None


def controller(
    node: str = "",
    environment: str | None = None,
    owner: str = "cnm",
    state_dir: Path | None = None,
    lock_file: Path | None = None,
) -> NetworkController:
    """A controller for these options. Raises UsageError for an owner that cannot be a mark."""
    import re

    from reconciler.engine.controller import NetworkController
    from reconciler.errors import UsageError

    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", owner):
        raise UsageError(f"--owner {owner!r}: write lower-case letters, digits and '-', at most 63")
    return NetworkController(owner=owner, node=node, environment=environment, state_dir=state_dir, lock_file=lock_file)


def plan_options(
    targets: list[str] | None = None,
    excludes: list[str] | None = None,
    adopt: bool = False,
    allow_empty: bool = False,
    locked: bool = False,
    snapshot: Path | None = None,
) -> PlanOptions:
    from reconciler.engine.result import PlanOptions

    return PlanOptions(tuple(targets or ()), tuple(excludes or ()), adopt, allow_empty, locked, snapshot)
