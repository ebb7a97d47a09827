"""The verbs that look: status, show, explain, reach, graph, exec."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from reconciler.cli import options as o

NOT_IN_SYNC, CONFLICT = 2, 6
DENIED, UNKNOWN = 1, 3  # of explain --from --to
ROUTES, EVERY = 100, 1 << 32  # of a session and a way, unless more are asked for
MOST_CELLS = 10_000  # what a person can look at, generously


def register(app: typer.Typer) -> None:
    o.family(app, "Look", status, history, show, explain, reach, graph, run, names={"run": "exec"})


def status(
    manifests: o.Sources = None,
    node: o.Node = "",
    env: o.Environment = None,
    owner: o.Owner = "cnm",
    allow_empty: o.AllowEmpty = False,
    observed: o.Snapshot = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
    follow: Annotated[
        bool, typer.Option("--follow", metavar="", help="What the running `cnm watch` says, a line at each change.")
    ] = False,
    routes: Annotated[
        bool,
        typer.Option(
            "--routes",
            metavar="",
            help=f"The routes that came and went by each BGP session too; {ROUTES} of each way, with -v all.",
        ),
    ] = False,
    state_dir: o.StateDir = None,
    lock_file: o.LockFile = None,
) -> int:
    """What holds of each network, sandbox, endpoint and BGP session.

    And what does not, with the reason. Exit status 0: all holds, 2: something does not or waits, 6: a conflict.
    """
    if follow:
        if routes:
            from reconciler.errors import UsageError

            raise UsageError("--follow and --routes do not go together: `cnm watch` does not follow single routes")
        return _follow(owner, state_dir, json=json)
    names = o.sources(manifests)
    with o.controller(node, env, owner, state_dir, lock_file, read_only=True) as controller:
        options = o.plan_options(snapshot=observed, allow_empty=allow_empty)
        most = None if not routes else EVERY if verbose else ROUTES
        found = controller.status(names, stdin=o.stdin(names), options=options, routes=most)
    if json:
        from reconciler.review.data import status_to_data

        _print_json(status_to_data(found))
    elif not quiet:
        from reconciler.cli.console import output
        from reconciler.review.terminal import show_status

        show_status(output(), found, verbose=verbose)
    if found.in_conflict:
        return CONFLICT
    return 0 if found.in_sync else NOT_IN_SYNC


def _follow(owner: str, state_dir: Path | None, *, json: bool) -> int:
    """Until the watch ends, or we are interrupted."""
    from reconciler.engine.watch.client import follow
    from reconciler.engine.watch.door import door_path
    from reconciler.review.escape import visible

    with o.controller(owner=owner, state_dir=state_dir, read_only=True) as controller:
        path = door_path(controller.state_dir, owner, controller.host.identity)
    for data in follow(path):
        if json:
            import json as codec

            line = codec.dumps(data)
        else:
            counts = ", ".join(f"{count} {state}" for state, count in data["objects"].items() if count)
            words = [*data["invalid"], *data["conflicts"], *data["fights"], *data["failing"], data["trouble"]]
            line = visible("; ".join(filter(None, (f"{data['state']} ({data['mode']}): {counts}", *words))))
        sys.stdout.write(line.replace("\n", "; ") + "\n")
        sys.stdout.flush()
    return 0


def history(
    last: Annotated[int, typer.Option("--last", "-n", metavar="N", help="So many entries; 0: all.")] = 20,
    owner: o.Owner = "cnm",
    json: o.Json = False,
    state_dir: o.StateDir = None,
) -> int:
    """Who applied what when.

    Every run of apply, try, destroy, adopt and watch that changed this host, or was rolled back; the oldest are dropped
    when there are many.
    """
    with o.controller(owner=owner, state_dir=state_dir, read_only=True) as controller:
        entries = controller.history(last)
    if json:
        _print_json({"format": "cnm-history", "format_version": 1, "entries": entries})
        return 0
    from reconciler.review.escape import visible

    for entry in entries:
        sys.stdout.write(visible(_history_line(entry)) + "\n")
    return 0


def _history_line(entry: dict[str, Any]) -> str:
    by = entry.get("by", {})
    who = by.get("user") or f"uid {by.get('uid')}"
    changes = ", ".join(f"{count} {action}" for action, count in entry.get("changes", {}).items()) or "nothing"
    end = "ok" if entry.get("ok") else "rolled back" if entry.get("rolled_back") else "failed"
    why = f": {entry['errors'][0]}" if entry.get("errors") else ""
    return f"{entry.get('time')}  {entry.get('purpose'):<8} {entry.get('owner')}  {who}  {changes}  {end}{why}"


def show(
    manifests: o.Sources = None,
    observed: Annotated[
        bool, typer.Option("--observed", metavar="", help="All that is on the host, ours and foreign: a snapshot.")
    ] = False,
    output_file: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write a snapshot (mode 0600).", show_default=False),
    ] = None,
    node: o.Node = "",
    env: o.Environment = None,
    owner: o.Owner = "cnm",
    json: o.Json = False,
    state_dir: o.StateDir = None,
    lock_file: o.LockFile = None,
) -> int:
    """What this host has of ours, or all it has.

    A snapshot (--observed -o FILE) lets others plan without this host and without root. It holds no secrets.
    """
    names = o.sources_if_any(manifests)
    with o.controller(node, env, owner, state_dir, lock_file, read_only=True) as controller:
        observation = controller.show(names, stdin=o.stdin(names), everything=observed or output_file is not None)
    if json or output_file is not None:
        import json as codec

        from reconciler.cli.change import write_private
        from reconciler.planner.file import snapshot_to_data

        text = codec.dumps(snapshot_to_data(observation), indent=1) + "\n"
        if output_file is not None:
            write_private(output_file, text)
        else:
            sys.stdout.write(text)
    else:
        from reconciler.cli.console import output
        from reconciler.review.terminal import show_observation

        show_observation(output(), observation)
    return 0


def explain(
    key: Annotated[
        str | None,
        typer.Argument(metavar="[KEY]", help="A key as plan and show print it: link/@web/eth0.", show_default=False),
    ] = None,
    sources: o.Sources = None,
    manifests: o.Named = None,
    source: Annotated[
        str, typer.Option("--from", metavar="ENDPOINT", help="Instead of a key: may this endpoint ...")
    ] = "",
    destination: Annotated[str, typer.Option("--to", metavar="ENDPOINT", help="... reach this one ...")] = "",
    port: Annotated[str, typer.Option("--port", metavar="PORT", help="... on 80/tcp, 53/udp or icmp?")] = "icmp",
    offline: Annotated[
        bool, typer.Option("--offline", metavar="", help="From the manifests alone; do not look at this host.")
    ] = False,
    json: o.Json = False,
    node: o.Node = "",
    env: o.Environment = None,
    owner: o.Owner = "cnm",
    state_dir: o.StateDir = None,
    lock_file: o.LockFile = None,
) -> int:
    """Everything about one thing, or about one way.

    With a key: who asks for it, what the host has, what it stands on and what stands on it. With --from and --to: allowed
    or denied, every rule on the way with its place in the manifests, and the rule of somebody else's table that would
    drop it. Exit status then: 0 allowed, 1 denied, 3 cannot be told.
    """
    from reconciler.cli.console import output
    from reconciler.errors import UsageError

    if source or destination:
        if not (source and destination):
            raise UsageError("--from and --to go together: name two endpoints, NETWORK/NAME each")
        from reconciler.engine.reach import service
        from reconciler.review.reach import show_ways, ways_to_data

        names = o.sources([*([key] if key else ()), *(sources or ()), *(manifests or ())])
        with o.controller(node, env, owner, state_dir, lock_file, read_only=True) as controller:
            told = controller.explain_way(
                source, destination, service(port), names, stdin=o.stdin(names), look=not offline
            )
        if json:
            _print_json(ways_to_data(told))
        else:
            show_ways(output(), told)
        answers = {one.way.allowed for one in told}
        return DENIED if False in answers else UNKNOWN if None in answers else 0
    if key is None:
        raise UsageError("name a key, or two endpoints with --from and --to")
    from reconciler.review.terminal import show_explanation

    names = o.sources([*(sources or ()), *(manifests or ())])
    with o.controller(node, env, owner, state_dir, lock_file, read_only=True) as controller:
        show_explanation(output(), controller.explain(key, names, stdin=o.stdin(names)))
    return 0


def reach(
    sources: o.Sources = None,
    port: Annotated[
        str,
        typer.Option("--port", metavar="PORT", help="Only this: 80/tcp, 53/udp, icmp. Default: all that rules name."),
    ] = "",
    source: Annotated[str, typer.Option("--from", metavar="GLOB", help="Only these senders: front/*.")] = "*",
    destination: Annotated[str, typer.Option("--to", metavar="GLOB", help="Only these receivers.")] = "*",
    json: o.Json = False,
    node: o.Node = "",
    env: o.Environment = None,
    lock_file: o.LockFile = None,
) -> int:
    """Who reaches whom: the matrix of all endpoints.

    yes, no, some (of the ports and IP versions), ? (decided elsewhere), - (one sandbox). From the manifests alone:
    `cnm explain --from --to` says why, and looks at this host as well.
    """
    from fnmatch import fnmatchcase

    from reconciler.cli.console import output
    from reconciler.engine.reach import service
    from reconciler.errors import UsageError
    from reconciler.review.reach import show_matrix

    names = o.sources(sources)
    with o.controller(node, env, lock_file=lock_file, read_only=True) as controller:
        found = controller.reach(names, stdin=o.stdin(names))
    rows = [e for e in found.endpoints if fnmatchcase(f"{e.network}/{e.name}", source)]
    columns = [e for e in found.endpoints if fnmatchcase(f"{e.network}/{e.name}", destination)]
    if len(rows) * len(columns) > MOST_CELLS and not json:
        raise UsageError(f"{len(rows) * len(columns):,} pairs: narrow it by --from and --to, or say --json")
    services = (service(port),) if port else found.services()
    cells = {
        (f"{a.network}/{a.name}", f"{b.network}/{b.name}"): word for a, b, word in found.matrix(rows, columns, services)
    }
    if json:
        _print_json([{"from": a, "to": b, "reach": word} for (a, b), word in cells.items()])
        return 0
    console = output()
    show_matrix(
        console,
        [f"{e.network}/{e.name}" for e in rows],
        [f"{e.network}/{e.name}" for e in columns],
        cells,
    )
    sys.stdout.write(f"asked for: {', '.join(one.text for one in services)}\n")
    return 0


def graph(
    manifests: o.Sources = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="mermaid, dot, svg; text, of addresses. Default: mermaid, of addresses text.",
        ),
    ] = "",
    addresses: Annotated[
        bool,
        typer.Option(
            "--addresses",
            metavar="",
            help="The tree of all addresses instead: subnets, groups, nodes, blocks, and who has what.",
        ),
    ] = False,
    node: o.Node = "",
    env: o.Environment = None,
    lock_file: o.LockFile = None,
) -> int:
    """The manifests as a picture: Mermaid, DOT or SVG.

    The tree of addresses shows by which prefix each node is reached, too: what the routers between them need.
    """
    from reconciler.errors import UsageError
    from reconciler.review import addresses as tree
    from reconciler.review import graph as picture

    forms = tree.FORMATS if addresses else picture.FORMATS
    form = form or next(iter(forms))
    if form not in forms:
        raise UsageError(f"--format {form}: write one of {', '.join(forms)}")
    names = o.sources(manifests)
    with o.controller(node, env, lock_file=lock_file, read_only=True) as controller:
        topology = controller.validate(names, stdin=o.stdin(names)).topology
    drawn = tree.FORMATS[form](tree.addresses(topology)) if addresses else picture.FORMATS[form](topology)
    sys.stdout.write(drawn)
    return 0


def run(
    sandbox: Annotated[str, typer.Argument(metavar="SANDBOX", help="Name of the sandbox.")],
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="What to run, after --.")],
    manifests: o.Named = None,
    node: o.Node = "",
    env: o.Environment = None,
    owner: o.Owner = "cnm",
    state_dir: o.StateDir = None,
) -> int:
    """Run a command inside a sandbox.

    Its exit status is ours; 127: there is no such command, 126: it cannot be run. Manifests are needed only for a
    sandbox that is not a named namespace (path, pid, docker, container, host).
    """
    names = o.sources_if_any(manifests)
    with o.controller(node, env, owner, state_dir, read_only=True) as controller:
        return controller.run_inside(sandbox, command, names)


def _print_json(data: object) -> None:
    import json

    sys.stdout.write(json.dumps(data, indent=2) + "\n")
