"""The verbs that plan and change: plan, diff, apply, destroy, adopt, recover."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from reconciler.cli import guards
from reconciler.cli import options as o

if TYPE_CHECKING:
    from rich.console import Console

    from reconciler.engine.controller import NetworkController
    from reconciler.engine.guard import Guards
    from reconciler.engine.result import Planned, Recovery, Report
    from reconciler.engine.shift import Shift
    from reconciler.host.probe import Probe
    from reconciler.planner.plan import Plan

CHANGES, ROLLED_BACK, FAILED, CONFLICT = 2, 3, 4, 6
Yes = Annotated[bool, typer.Option("--yes", "-y", metavar="", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", metavar="", help="Show the plan, change nothing.")]
NoRollback = Annotated[
    bool,
    typer.Option("--no-rollback", metavar="", help="When something fails, leave what was done (exit status 4)."),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write it to a file (mode 0600).", show_default=False),
]
Markdown = Annotated[bool, typer.Option("--markdown", metavar="", help="Markdown, for a review comment.")]


def register(app: typer.Typer) -> None:
    o.family(app, "Plan and change", plan, diff, apply, adopt, destroy, recover)


def plan(
    manifests: o.Sources = None,
    node: o.Node = "",
    env: o.Environment = None,
    owner: o.Owner = "cnm",
    target: o.Targets = None,
    exclude: o.Excludes = None,
    adopt: o.Adopt = False,
    allow_empty: o.AllowEmpty = False,
    locked: o.Locked = False,
    observed: o.Snapshot = None,
    output: Output = None,
    json: o.Json = False,
    markdown: Markdown = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
    state_dir: o.StateDir = None,
    lock_file: o.LockFile = None,
) -> int:
    """Show what apply would change, and who gains or loses reach by it.

    Touches nothing. Exit status 0: nothing, 2: something, 6: a conflict. `-o` saves the plan for `cnm apply FILE`.
    """
    names = o.sources(manifests)
    with o.controller(node, env, owner, state_dir, lock_file, read_only=True) as controller:
        if observed is None:
            warn_of_interruption(controller)
        planned = controller.plan(
            names, stdin=o.stdin(names), options=o.plan_options(target, exclude, adopt, allow_empty, locked, observed)
        )
        shift = controller.shift(planned) if json or markdown or output is not None or not quiet else None
    _print_plan(planned.plan, shift, output=output, json=json, markdown=markdown, verbose=verbose, quiet=quiet)
    if verbose and not (json or markdown or quiet):
        _print_times(planned)
    return _status(planned.plan)


def diff(
    manifests: o.Sources = None,
    node: o.Node = "",
    env: o.Environment = None,
    owner: o.Owner = "cnm",
    target: o.Targets = None,
    exclude: o.Excludes = None,
    allow_empty: o.AllowEmpty = False,
    locked: o.Locked = False,
    observed: o.Snapshot = None,
    state_dir: o.StateDir = None,
    lock_file: o.LockFile = None,
) -> int:
    """The plan in short: a line a resource and field.

    Exit status 0: nothing, 2: something, 6: a conflict.
    """
    from reconciler.cli.console import output
    from reconciler.review.terminal import show_diff, show_pending, show_problems

    names = o.sources(manifests)
    with o.controller(node, env, owner, state_dir, lock_file, read_only=True) as controller:
        options = o.plan_options(target, exclude, allow_empty=allow_empty, locked=locked, snapshot=observed)
        planned = controller.plan(names, stdin=o.stdin(names), options=options)
    console = output()
    show_diff(console, planned.plan)
    show_problems(console, planned.plan.conflicts, "conflict")
    show_pending(console, planned.plan.pending)
    return _status(planned.plan)


def apply(
    manifests: o.Sources = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    node: o.Node = "",
    env: o.Environment = None,
    owner: o.Owner = "cnm",
    target: o.Targets = None,
    exclude: o.Excludes = None,
    adopt: o.Adopt = False,
    allow_empty: o.AllowEmpty = False,
    locked: o.Locked = False,
    force: guards.Force = False,
    keep_reachable: guards.KeepReachable = None,
    allow_mass_delete: guards.AllowMassDelete = False,
    probe: guards.Probes = None,
    probe_timeout: guards.ProbeTimeout = 10,
    no_rollback: NoRollback = False,
    json: o.Json = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
    state_dir: o.StateDir = None,
    lock_file: o.LockFile = None,
) -> int:
    """Make this host as the manifests say, and verify.

    Shows the plan and asks, unless --yes. Instead of manifests it takes a plan that `cnm plan -o` saved, which is
    refused when the host changed since; manifests named beside it must still ask for what it does.
    When something fails, the host is put back as it was: exit status 3; 4 when that did not wholly succeed.
    """
    from reconciler.errors import UsageError

    names = list(o.sources(manifests))
    limits = guards.guards(force, keep_reachable, allow_mass_delete)
    how = How(
        limits,
        yes=yes,
        dry_run=dry_run,
        json=json,
        verbose=verbose,
        quiet=quiet,
        undo=not no_rollback,
        probes=tuple(guards.probes(probe)),
        patience=probe_timeout,
    )
    with o.controller(node, env, owner, state_dir, lock_file, read_only=dry_run) as controller:
        recover_first(controller, how)
        saved = _saved_plan(names)
        if saved is not None:
            if target or exclude or adopt or allow_empty or locked:
                raise UsageError("a saved plan is applied whole: give --target and the like to `cnm plan`")
            names.remove(str(saved))
            planned = controller.read_plan(saved, names, stdin=o.stdin(names))
        else:
            planned = controller.plan(
                names, stdin=o.stdin(names), options=o.plan_options(target, exclude, adopt, allow_empty, locked)
            )
        return _carry_out(controller, planned, how, "apply")


def destroy(
    yes: Yes = False,
    dry_run: DryRun = False,
    owner: o.Owner = "cnm",
    target: Annotated[
        list[str] | None, typer.Option("--target", metavar="GLOB", help="Only these keys, and what hangs on them.")
    ] = None,
    exclude: o.Excludes = None,
    force: guards.Force = False,
    keep_reachable: guards.KeepReachable = None,
    no_rollback: NoRollback = False,
    json: o.Json = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
    state_dir: o.StateDir = None,
) -> int:
    """Remove everything of this owner from this host.

    Needs no manifests. What somebody else made is not touched, and settings are put back as they were.
    """
    limits = guards.guards(force, keep_reachable, allow_mass_delete=True)
    how = How(limits, yes=yes, dry_run=dry_run, json=json, verbose=verbose, quiet=quiet, undo=not no_rollback)
    with o.controller(owner=owner, state_dir=state_dir) as controller:
        recover_first(controller, how)
        planned = controller.plan_destroy(options=o.plan_options(target, exclude))
        if planned.plan.empty and not (planned.plan.conflicts or json or quiet):
            which = " that matches" if target or exclude else ""
            sys.stdout.write(f"There is nothing of owner {owner}{which} to remove on this host.\n")
            return 0
        return _carry_out(controller, planned, how, "destroy")


def adopt(
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="Keys as plan and show print them: link/br0.")],
    manifests: o.Named = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    node: o.Node = "",
    env: o.Environment = None,
    owner: o.Owner = "cnm",
    verbose: o.Verbose = False,
    state_dir: o.StateDir = None,
    lock_file: o.LockFile = None,
) -> int:
    """Take over objects that stand in our way.

    They get our mark and become as the manifests want them; what cannot become so in place is made anew.
    """
    names = o.sources(manifests)
    how = How(guards.guards(allow_mass_delete=True), yes=yes, dry_run=dry_run, verbose=verbose)
    with o.controller(node, env, owner, state_dir, lock_file) as controller:
        recover_first(controller, how)
        planned = controller.plan_adopt(names, keys, stdin=o.stdin(names))
        return _carry_out(controller, planned, how, "adopt")


def recover(
    forget: Annotated[
        bool, typer.Option("--forget", help="Take the host as it is now, and only forget the interrupted run.")
    ] = False,
    owner: o.Owner = "cnm",
    state_dir: o.StateDir = None,
) -> int:
    """Undo a run that was interrupted, or finish it.

    One that was killed, or lost its power, is finished when all but its last step was done, else undone.

    Every command that changes the host does this first. Exit status 0: the host is as before that run, or as it
    wanted it; 4: not wholly, and what is left is told."""
    with o.controller(owner=owner, state_dir=state_dir) as controller:
        found = controller.recover(forget=forget)
    if found is None:
        sys.stdout.write(
            "the interrupted run, if there was one, is forgotten\n" if forget else "no run was interrupted\n"
        )
        return 0
    tell_recovery(found)
    return 0 if found.rollback.complete else FAILED


def tell_recovery(found: Recovery | None) -> None:
    """Say on standard error what became of a run that had been interrupted."""
    from reconciler.cli.console import errors
    from reconciler.review.terminal import show_recovery

    if found is not None:
        show_recovery(errors(), found)


class How(Struct, frozen=True):
    """What the command line says about carrying out a plan."""

    guards: Guards
    yes: bool = False
    dry_run: bool = False
    json: bool = False
    verbose: bool = False
    quiet: bool = False
    undo: bool = True
    probes: tuple[Probe, ...] = ()
    patience: float = 10.0

    def check(self) -> str:
        """What a probe finds wrong after all is done; ""."""
        from reconciler.host.probe import wait_for

        return wait_for(self.probes, self.patience) if self.probes else ""


def recover_first(controller: NetworkController, how: How) -> None:
    """Deal with an interrupted run before a new plan is made; a command that only looks says that there is one."""
    if not controller.interrupted():
        return
    if not how.dry_run:
        tell_recovery(controller.recover())
    else:
        warn_of_interruption(controller)


def warn_of_interruption(controller: NetworkController) -> None:
    what = controller.interrupted()
    if what:
        sys.stderr.write(f"warning: a run was interrupted here: {what}; `cnm recover` undoes it\n")


def _saved_plan(names: list[str]) -> Path | None:
    """A .json argument that is a plan rather than a manifest."""
    for name in names:
        path = Path(name)
        if path.suffix == ".json" and path.is_file():
            with path.open("rb") as file:
                if b'"cnm-plan"' in file.read(4096):
                    return path
    return None


def _status(plan: Plan) -> int:
    if plan.conflicts:
        return CONFLICT
    return 0 if plan.empty else CHANGES


def _print_plan(
    plan: Plan,
    shift: Shift | None,
    *,
    output: Path | None,
    json: bool,
    markdown: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    from reconciler.cli.console import output as standard_output

    text = None
    if json or (output is not None and not markdown):
        import json as codec

        from reconciler.planner.file import plan_to_data
        from reconciler.review.shift import shift_to_data

        data = plan_to_data(plan) | ({"reach": shift_to_data(shift)} if shift else {})
        text = codec.dumps(data, indent=2) + "\n"
    elif markdown:
        from reconciler.review.markdown import plan_markdown

        text = plan_markdown(plan, shift)
    if output is not None and text is not None:
        write_private(output, text)
        if not json:
            text = None
    if text is not None:
        sys.stdout.write(text)
    elif not quiet:
        from reconciler.review.terminal import show_plan

        show_plan(standard_output(), plan, shift, verbose=verbose)


def write_private(path: Path, text: str) -> None:
    """A file that only its owner can read and write, replaced in one step. Raises UsageError."""
    import os

    from reconciler.errors import UsageError

    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(text)
        draft.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def _print_times(planned: Planned) -> None:
    from reconciler.cli.console import errors

    times = "  ".join(f"{stage} {seconds * 1000:.0f} ms" for stage, seconds in planned.seconds.items())
    errors().print(times, style="dim")


def _carry_out(controller: NetworkController, planned: Planned, how: How, purpose: str) -> int:
    """Show, ask, do, tell."""
    from reconciler.cli.console import output
    from reconciler.errors import ConflictError
    from reconciler.review.terminal import show_plan

    plan = planned.plan
    console = output()
    if not (how.quiet or how.json):
        show_plan(console, plan, controller.shift(planned) if purpose != "destroy" else None, verbose=how.verbose)
    if plan.conflicts:
        if how.quiet or how.json:
            raise ConflictError(plan.conflicts)
        return CONFLICT
    if how.dry_run:
        return _status(plan)
    controller.guard(planned, how.guards)
    asked = not plan.empty and not how.yes
    if asked and not confirmed():
        console.print("nothing was changed")
        return CHANGES
    report = _with_progress(controller, planned, console, how, purpose, again=asked)
    tell(report, how)
    return status_of(report)


def confirmed() -> bool:
    """Ask. Raises UsageError when there is nobody to ask."""
    from reconciler.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on; say --yes to apply, or --dry-run to look only")
    return bool(typer.confirm("Go ahead?", default=False))


def tell(report: Report, how: How) -> None:
    """What a run did, as the command line wants it."""
    from reconciler.cli.console import output
    from reconciler.review.terminal import show_report

    if how.json:
        import json as codec

        from reconciler.review.data import report_to_data

        sys.stdout.write(codec.dumps(report_to_data(report), indent=2) + "\n")
    elif not (report.plan.empty and report.ok) and not (how.quiet and report.ok):
        show_report(output(), report, verbose=how.verbose)


def status_of(report: Report) -> int:
    """The exit status: all well, put back as it was, or neither."""
    if report.ok:
        return 0
    return ROLLED_BACK if report.rollback is not None and report.rollback.complete else FAILED


def _with_progress(
    controller: NetworkController, planned: Planned, console: Console, how: How, purpose: str, *, again: bool
) -> Report:
    from reconciler.cli.signals import Signals

    steps = sum(1 for _ in planned.plan.ops())
    with Signals() as signals:
        execute = partial(
            controller.execute,
            planned,
            purpose=purpose,
            again=again,
            undo=how.undo,
            stop=signals.reason,
            check=how.check,
        )
        if how.quiet or how.json or not console.is_terminal or not steps:
            return execute()
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("applying"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("apply", total=steps)
            return execute(progress=lambda _op, _outcome: progress.advance(task))
