"""The verbs that need no host: validate, lock, schema."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli import options as o


def register(app: typer.Typer) -> None:
    o.family(app, "Manifests", validate, lock, schema)


def validate(
    manifests: o.Sources = None,
    node: o.Node = "",
    env: o.Environment = None,
    allow_empty: o.AllowEmpty = False,
    locked: o.Locked = False,
    all_nodes: Annotated[
        bool, typer.Option("--all-nodes", metavar="", help="For each Node of the manifests, wherever this runs.")
    ] = False,
    quiet: o.Quiet = False,
    lock_file: o.LockFile = None,
) -> int:
    """Check the manifests, without a look at any host.

    Every error is shown, with file, line, column and what to write instead.
    """
    names = o.sources(manifests)
    options = o.plan_options(allow_empty=allow_empty, locked=locked)
    with o.controller(node, env, lock_file=lock_file) as controller:
        if all_nodes:
            results = controller.validate_nodes(names, stdin=o.stdin(names), options=options)
        else:
            results = (controller.validate(names, stdin=o.stdin(names), options=options),)
    from reconciler.review.outline import counted

    for found in () if quiet else results:
        networks = [network for network in found.topology.networks if network.name not in ("host", "none")]
        endpoints = sum(len(network.endpoints) for network in networks)
        sys.stdout.write(
            f"valid: {counted(len(networks), 'network')}, {counted(len(found.topology.sandboxes), 'sandbox')}"
            f" on {found.topology.node}, {counted(endpoints, 'endpoint')}\n"
        )
    if not quiet and any(found.lock_changed for found in results):
        sys.stdout.write(
            "note: automatic addresses are not in the lock file yet; `cnm lock` or `cnm apply` stores them\n"
        )
    return 0


def lock(
    manifests: o.Sources = None,
    check: Annotated[
        bool, typer.Option("--check", metavar="", help="Write nothing; exit status 2 when the lock file is stale.")
    ] = False,
    node: o.Node = "",
    env: o.Environment = None,
    lock_file: o.LockFile = None,
) -> int:
    """Store automatic addresses in the lock file.

    Subnets and addresses that the manifests leave open are chosen once and kept, for all nodes.
    """
    names = o.sources(manifests)
    with o.controller(node, env, lock_file=lock_file) as controller:
        found = controller.lock(names, stdin=o.stdin(names), write=not check)
    if check and found.lock_changed:
        sys.stdout.write(f"{found.lock_path} is stale\n")
        return 2
    sys.stdout.write(f"{found.lock_path}: {'written' if found.lock_changed else 'up to date'}\n")
    return 0


def schema(
    kind: Annotated[
        str | None, typer.Argument(metavar="KIND", help="One kind, like Network. Default: all in one.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", metavar="FOLDER", help="Write all schemas into this folder.", show_default=False),
    ] = None,
) -> int:
    """JSON Schemas of the manifests, for editors.

    Name the file in a manifest's first line: `# yaml-language-server: $schema=schemas/cnm.json`.
    """
    from reconciler.drivers.registry import options
    from reconciler.errors import UsageError
    from reconciler.manifest.schema import render_schema, schemas

    found = schemas(options())
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in found.items():
            (folder / name).write_text(render_schema(content))
        return 0
    name = f"{kind.lower()}.json" if kind else "cnm.json"
    if name not in found:
        raise UsageError(
            f"there is no kind {kind}; there are: {', '.join(sorted(n.removesuffix('.json') for n in found))}"
        )
    sys.stdout.write(render_schema(found[name]))
    return 0
