"""The options that several commands share, and the controller that they make."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from inspect import cleandoc
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from reconciler.engine.controller import NetworkController
    from reconciler.engine.result import PlanOptions

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MANIFESTS...",
        help="Files and folders, - for standard input. Default: $CNM_MANIFESTS, else ./manifests, else /etc/cnm.",
        show_default=False,
    ),
]
Node = Annotated[
    str,
    typer.Option(
        "--node",
        metavar="NAME",
        help="Which Node of the manifests this host is. Default: its hostname.",
        show_default=False,
    ),
]
Environment = Annotated[
    str | None, typer.Option("--env", metavar="NAME", help="Apply the Patch documents of this environment too.")
]
Owner = Annotated[
    str, typer.Option("--owner", metavar="NAME", help="Whose mark our objects carry. Others are not touched.")
]
StateDir = Annotated[
    Path | None,
    typer.Option(
        "--state-dir", metavar="FOLDER", help="Folder of inventory and lock. Default: /run/cnm.", show_default=False
    ),
]
LockFile = Annotated[
    Path | None,
    typer.Option(
        "--lock-file", metavar="FILE", help="Lock file. Default: cnm.lock beside the manifests.", show_default=False
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="GLOB",
        help="Only these keys (link/br-*) or documents (Endpoint/web/*), and what they need. Removes nothing.",
    ),
]
Excludes = Annotated[list[str] | None, typer.Option("--exclude", metavar="GLOB", help="Not these keys or documents.")]
Named = Annotated[
    list[str] | None,
    typer.Option(
        "--manifests",
        "-m",
        metavar="PATH",
        help="Files and folders, - for standard input. Default: as for plan.",
        show_default=False,
    ),
]
Adopt = Annotated[
    bool, typer.Option("--adopt", metavar="", help="Take over unmarked objects that stand where ours should be.")
]
AllowEmpty = Annotated[
    bool,
    typer.Option(
        "--allow-empty",
        metavar="",
        help="No documents at all, a missing folder, no Node that is this host: remove all that is ours.",
    ),
]
Locked = Annotated[
    bool, typer.Option("--locked", metavar="", help="Refuse to choose an address that the lock file does not hold.")
]
Snapshot = Annotated[
    Path | None,
    typer.Option(
        "--observed",
        metavar="SNAPSHOT",
        help="Use a snapshot instead of this host (cnm show --observed -o SNAPSHOT); needs no root.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", metavar="", help="JSON, versioned (docs/cli.md).")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", metavar="", help="Show everything.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="Only errors.")]


def family(app: typer.Typer, title: str, *verbs: Callable[..., int], names: Mapping[str, str] | None = None) -> None:
    """Make functions commands, under one heading of the help. ``names`` are those that cannot be a function's."""
    for verb in verbs:
        name = (names or {}).get(verb.__name__, verb.__name__)
        paragraphs = cleandoc(verb.__doc__ or "").split("\n\n")
        text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        settings = {"ignore_unknown_options": True} if name == "exec" else None
        app.command(name, help=text, rich_help_panel=title, context_settings=settings)(verb)


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
    *,
    read_only: bool = False,
) -> NetworkController:
    """A controller for these options. Raises UsageError for an owner that cannot be a mark."""
    import re

    from reconciler.engine.controller import NetworkController
    from reconciler.errors import UsageError

    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", owner):
        raise UsageError(f"--owner {owner!r}: write lower-case letters, digits and '-', at most 63")
    return NetworkController(
        owner=owner,
        node=node,
        environment=environment,
        state_dir=state_dir,
        lock_file=lock_file,
        read_only=read_only,
    )


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
