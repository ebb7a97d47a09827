"""The verb that stays: watch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli import options as o


def register(app: typer.Typer) -> None:
    o.family(app, "Keep it so", watch)


def watch(
    manifests: o.Sources = None,
    mode: Annotated[
        str,
        typer.Option(
            "--mode",
            metavar="MODE",
            help="observe: report drift only; heal: repair to what was last applied; apply: follow the files.",
        ),
    ] = "apply",
    node: o.Node = "",
    env: o.Environment = None,
    owner: o.Owner = "cnm",
    interval: Annotated[
        float, typer.Option("--interval", metavar="SECONDS", help="Between two looks at everything, give or take.")
    ] = 60.0,
    fight_limit: Annotated[
        int,
        typer.Option("--fight-limit", metavar="N", help="Repairs of one object within a minute before it is a fight."),
    ] = 8,
    allow_empty: o.AllowEmpty = False,
    allow_mass_delete: Annotated[
        bool, typer.Option("--allow-mass-delete", metavar="", help="Let changed manifests delete most of what is ours.")
    ] = False,
    log: Annotated[str, typer.Option("--log", metavar="FORMAT", help="text or json, on standard error.")] = "text",
    publish: Annotated[
        Path | None,
        typer.Option(
            "--publish",
            metavar="FOLDER",
            help="Keep status.json, applied.json and snapshot.json here, for others to read.",
            show_default=False,
        ),
    ] = None,
    metrics: Annotated[
        str,
        typer.Option(
            "--metrics",
            metavar="WHERE",
            help="Serve Prometheus's metrics: unix:/path, 127.0.0.1:PORT or [::1]:PORT.",
            show_default=False,
        ),
    ] = "",
    state_dir: o.StateDir = None,
    lock_file: o.LockFile = None,
) -> int:
    """Keep this host as the manifests say.

    Follows the files, repairs what others change, gives endpoints back to containers and processes that return. Runs as
    with --locked: an address that is not in the lock file makes the manifests invalid. Invalid manifests change nothing:
    the last good state is kept.

    Ends with SIGTERM or SIGINT, and leaves the host as it is.
    """
    from reconciler.cli.log import Log
    from reconciler.cli.signals import Signals, waking
    from reconciler.engine.applied import Applied
    from reconciler.engine.watch.door import Board, Door, door_path
    from reconciler.engine.watch.loop import Settings, Watch
    from reconciler.engine.watch.pace import Limits
    from reconciler.engine.watch.publish import Publisher
    from reconciler.engine.watch.service import Service
    from reconciler.engine.watch.situation import Mode
    from reconciler.errors import UsageError

    if mode not in list(Mode):
        raise UsageError(f"--mode {mode}: write one of {', '.join(Mode)}")
    if log not in ("text", "json"):
        raise UsageError(f"--log {log}: write text or json")
    names = o.sources(manifests)
    if "-" in names:
        raise UsageError("standard input cannot be watched: name files or folders")
    if interval < 1:
        raise UsageError("--interval: at least 1 second")
    say = Log(json=log == "json")
    with o.controller(node, env, owner, state_dir, lock_file) as controller, Signals() as signals:
        applied = Applied(controller.lasting_dir, owner, controller.host_name, lock_file)
        settings = Settings(
            mode=Mode(mode),
            interval=interval,
            limits=Limits(fight=fight_limit),
            allow_empty=allow_empty,
            allow_mass_delete=allow_mass_delete,
            applied=applied.sources,
            remember=applied.remember,
        )
        board = Board()
        loop = Watch(controller, names, settings, say)
        door = None
        try:
            at = door_path(controller.state_dir, owner, controller.host.identity)
            door = Door(at, board, loop.metrics.text, metrics_at=metrics)
            publisher = Publisher(publish, controller.node, owner) if publish is not None else None
            service = Service(loop, board, publisher, interval, say)
            with waking(loop.serve):
                say("start", mode=mode, sources=names, owner=owner)
                loop.run(signals.reason, service.beat)
            say("stop", message=signals.reason())
            service.stopping()
        finally:
            if door is not None:
                door.close()
            loop.close()
    return 0
