"""``cnm``: the entry point, and the one place where errors become exit statuses (docs/cli.md)."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any, NoReturn

import typer

from reconciler import __version__
from reconciler.cli import change, host, look, text, trial, watch
from reconciler.cli.program import program

_SETTINGS: dict[str, Any] = {
    "rich_markup_mode": None,  # rich takes as long to import as all else that the help needs
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"], "max_content_width": 100},
}
_verbs = typer.Typer()
for family in (change, trial, watch, look, text, host):
    family.register(_verbs)

_STALE_SHOWN = 5  # places; the plan is to be made again in any case

app = typer.Typer(
    name="cnm",
    cls=program(_verbs.registered_commands, _SETTINGS),
    help="Container networks, declared: write manifests, read the plan, apply it, keep it so.",
    epilog="Exit status: 0 in sync, 1 error, 2 changes pending, 3 and 4 failed, 5 stale plan or locked, 6 conflict.",
    invoke_without_command=True,
    **_SETTINGS,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"cnm {__version__}\n")
        raise typer.Exit


@app.callback()
def _program(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", metavar="", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options of the program itself. Without a verb it tells which there are; that is wrong usage all the same."""
    if context.invoked_subcommand is None:
        sys.stderr.write(f"{context.get_help()}\n")
        raise typer.Exit(1)


def main() -> NoReturn:
    """Run and exit. Expected errors are told in words; for others CNM_TRACEBACK=1 shows where they come from."""
    from reconciler.errors import CnmError

    try:
        status = app(standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except CnmError as error:
        _tell(error)
        sys.exit(error.exit_status)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except PermissionError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else f"{error.strerror}"
        _say(f"error: {what}; run cnm as root")
        sys.exit(1)
    except Exception as error:
        if hasattr(error, "exit_code") and hasattr(error, "format_message"):  # wrong usage, told by the parser
            _tell_usage(error)
            sys.exit(1)
        if isinstance(error, typer.Exit):
            sys.exit(error.exit_code)
        if os.environ.get("CNM_TRACEBACK"):
            raise
        if isinstance(error, MemoryError):
            _say(
                "error: out of memory; if this was a change: cnm recover undoes it, as does the next command that writes"
            )
            sys.exit(1)
        if isinstance(error, OSError) and error.errno:
            _say(f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error.strerror}")
            sys.exit(1)
        _say(f"error: unexpected {type(error).__name__}: {error}")
        _say("Set CNM_TRACEBACK=1 to see where; please report it.")
        sys.exit(1)


def _say(line: str) -> None:
    """A line on standard error; what it quotes may be hostile."""
    from reconciler.review.escape import visible  # only here: most runs have nothing to complain about

    sys.stderr.write(f"{visible(line)}\n")


def _tell_usage(error: Any) -> None:
    """What the parser did not understand, and how the command is written."""
    message = error.format_message()
    sys.stderr.write(f"error: {message[0].lower()}{message[1:]}\n")  # it quotes who types
    context = getattr(error, "ctx", None)
    if context is not None:
        sys.stderr.write(f"{context.get_usage()}\nTry: {context.command_path} --help\n")


def _tell(error: Exception) -> None:
    from reconciler.cli.console import errors
    from reconciler.errors import ManifestError, PlanError, StaleError
    from reconciler.review.escape import visible
    from reconciler.review.terminal import show_problems

    console = errors()
    if isinstance(error, StaleError) and len(error.problems) > 1:
        show_problems(console, error.problems[:_STALE_SHOWN])
        number = len(error.problems)
        console.print(f"error: this plan no longer fits the host in {number} places; plan again", style="bold")
    elif isinstance(error, (ManifestError, PlanError)):
        show_problems(console, error.problems)
        if isinstance(error, ManifestError) and len(error.problems) > 1:
            console.print(f"{len(error.problems)} errors; nothing was touched", style="bold", highlight=False)
    else:
        for line in str(error).splitlines():
            console.print(f"error: {visible(line)}", markup=False, highlight=False)


if __name__ == "__main__":
    main()
