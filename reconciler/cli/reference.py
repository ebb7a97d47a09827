"""docs/cli.md, the reference of the command, from the commands themselves: ``python -m reconciler.cli.reference [FOLDER]``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from typer.main import get_command

from reconciler.cli.main import app

PATH = "docs/cli.md"
_INTRODUCTION = """\
# Command reference

<!-- Generated from reconciler/cli by `make docs`; edit those files instead. -->

`cnm COMMAND [OPTIONS] [MANIFESTS]...`. Results go to standard output, errors to standard error. `cnm COMMAND --help` says
what is below, `cnm --version` which version this is.

## Manifests
Files and folders (at any depth) from the arguments, `-` for standard input; without arguments from `$CNM_MANIFESTS`
(several separated by `:`), else `./manifests`, else `/etc/cnm`. What they may hold is in [manifest.md](manifest.md).

A folder that does not exist, manifests without any document, and Node documents of which none is this host are errors, and
nothing is touched: `--allow-empty` says that you mean it, and all that is ours goes.

## Exit status

| | meaning |
|---|---|
| 0 | in sync; done. Also when something has to wait for what is not there (a parent, a container): plan and apply warn |
| 1 | error: wrong usage, bad manifests, no permission. Nothing was touched |
| 2 | changes are pending and nothing else: `plan`, `diff`, `status`, `apply` with --dry-run or answered with no; `status` \
also when something waits; `lock --check` when the lock file is stale |
| 3 | failed, and everything rolled back |
| 4 | failed, and not all of it rolled back: what is left is told |
| 5 | the plan is stale (plan again), or another cnm holds this host (try again) |
| 6 | something that is not ours stands where ours should be; nothing was touched |
| 130 | interrupted |

`cnm exec` ends with the status of the command that it ran: 126 when that cannot be run, 127 when there is none, 128+N when
signal N ended it.

## Environment

| | |
|---|---|
| `CNM_MANIFESTS` | where manifests are when the command line names none |
| `NO_COLOR` | not empty: neither colours nor bold letters (they are for terminals only in any case) |
| `CNM_TRACEBACK` | not empty: an error that nobody expected comes with its traceback |

## Shell completion
`cnm --install-completion` installs it for the shell that you are in, `cnm --show-completion` prints it. Packages take it
from `_CNM_COMPLETE=source_bash cnm`, and `source_zsh` and `source_fish`.

## JSON
Every JSON document has `format` and `format_version` (1). A reader must refuse what it does not know; fields are only added
or changed together with the version. Keys and origins are those of [plan-format.md](plan-format.md), which describes
`cnm plan --json` and `cnm show --observed --json` as well.

`cnm status --json`, format `cnm-status`:

| field | what it is |
|---|---|
| `owner`, `node` | whose view of which host |
| `in_sync` | everything holds, and nothing is there that nobody asks for |
| `rows` | networks, sandboxes, endpoints, BGP sessions: `kind`, `name` (of an endpoint `network/endpoint`), `state`, \
`reasons` (in words), `facts` (words by name), `origin`; of a session, with `--routes`, also `routes` |
| `surplus` | keys of ours that no manifest asks for any more |
| `warnings` | `message`, `hint`, `origin` |
| `partial` | what could not be read |

A `state` is `ok`, `missing` (nothing of it is there), `drifted` (something of it is missing or otherwise), `pending` (it
waits), `conflict`, or `remote` (on another node, which this one cannot see).

`routes`, when the session's router told of them: `learned` (behind what filters did to them) and `exported`, by prefix, and
`complete`, false where there are more than were told (`-v` tells all). Each route has `prefix`, `next_hop` and `dev` ("" where
the router does not say, as BIRD of what it exports), `best` (the one that counts of all to its prefix), `as_path`,
`local_pref` (or null) and `communities`.

`cnm apply --json` (and `destroy`), format `cnm-report`:

| field | what it is |
|---|---|
| `ok` | all steps were done, and a second look found nothing left to do |
| `done`, `skipped` | ids of steps; skipped were those that waited for a failed one |
| `failed` | `key`, `action`, `errno`, `text` (the kernel's or the daemon's own words) |
| `left` | what the second look still found, in words |
| `reason` | why it was rolled back, when nothing failed |
| `rollback` | `null`, or `complete`, `done` (ids of its steps), `failed` and `left` (in words) |
| `seconds` | wall-clock time by stage |
| `plan` | the plan that was carried out |

`cnm doctor --json`, format `cnm-doctor`: `checks`, each with `subject`, `level` (`ok`, `warning`, `error`), `finding` and
`remedy`.

## Commands
"""


def reference() -> str:
    """The text of docs/cli.md."""
    group: Any = get_command(app)
    commands = list(group.commands.values())
    parts = [_INTRODUCTION]
    for family in dict.fromkeys(command.rich_help_panel for command in commands):
        members = [command for command in commands if command.rich_help_panel == family]
        links = ", ".join(f"[{command.name}](#cnm-{command.name})" for command in members)
        parts.append(f"- {family}: {links}")
    for command in commands:
        parts += ["", *_command(command)]
    return "\n".join(parts) + "\n"


def _command(command: Any) -> Iterable[str]:
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    options = [param for param in command.params if param.param_type_name == "option"]
    usage = " ".join(["cnm", command.name, *(["[OPTIONS]"] if options else []), *map(_usage, arguments)])
    yield f"### cnm {command.name}"
    yield f"`{usage}`"
    yield ""
    yield str(command.help)
    if arguments or options:
        yield ""
        yield "| | |"
        yield "|---|---|"
    for param in arguments:
        yield _row(str(param.metavar or param.name).removesuffix("..."), param)
    for param in options:
        name = ", ".join(f"`{name}`" for name in sorted(param.opts, key=len, reverse=True))
        yield _row(name + (f" {param.metavar}" if param.metavar else ""), param)


def _usage(param: Any) -> str:
    name = str(param.metavar or param.name)
    if name == "COMMAND...":
        name = "-- COMMAND..."
    return name if param.required else f"[{name}]"


def _row(name: str, param: Any) -> str:
    text = str(param.help)
    if param.show_default and param.default not in (None, False, "", [], ()):
        text += f" Default: {param.default}."
    if getattr(param, "multiple", False):
        text += " May be repeated."
    return f"| {name} | {text.replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    (Path(sys.argv[1] if len(sys.argv) > 1 else ".") / PATH).write_text(reference(), encoding="utf-8")
