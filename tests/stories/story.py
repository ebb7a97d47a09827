"""A story: commands as a user types them, with all that they print and the exit status, in one text file.

The format is cram's. Lines that begin with two spaces are the script, all others are prose::

    Prose says what happens and why.

      $ cnm plan net.yaml
      Plan: 3 to create.
      [2]

``  $ `` begins a command and ``  > `` continues it. What follows is all that it prints, standard output and
standard error in their order, without trailing blanks; ``  [2]`` is its exit status when that is not 0. Where a
value truly varies, a placeholder stands: ``{seconds}`` and the others of :data:`PLACEHOLDERS`. ``Needs: NAME...``
in the prose names capabilities (tests/lab/capability.py) beyond those of the quickstart.

All commands of a story run on one private host named ``rack1``, in one folder that is empty at first, each in a
shell of its own with nothing on its standard input. ``$QUICKSTART`` is the folder of that example.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.lab.host import ENVIRONMENT, ROOT, Host

PLACEHOLDERS = {
    "seconds": r"\d+\.\d\d",
    "times": r"[a-z]+ \d+ ms(  [a-z]+ \d+ ms)*",
    "kernel": r"\d+\.\d+\S*",
    "version": r"\d+\.\d+\.\d+",
    "host": r"[0-9a-f]{8}-[0-9a-f]+",
    "hash": r"[0-9a-f]{64}",
    "pid": r"\d+",
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "mac": r"[0-9a-f]{2}(:[0-9a-f]{2}){5}",
}
NODE = "rack1"
ENV = {
    **{name: value for name, value in ENVIRONMENT.items() if name not in ("CNM_MANIFESTS", "COLUMNS", "NO_COLOR")},
    "TERM": "xterm",
    "QUICKSTART": str(ROOT / "manifests" / "quickstart"),
}
_PLACE = re.compile("{(" + "|".join(PLACEHOLDERS) + ")}")
_STATUS = re.compile(r"\[(\d+)\]\Z")
_IN_A_HOST_OF_THAT_NAME = f'hostname {NODE} && exec sh -c "$0" 2>&1'


@dataclass(frozen=True, slots=True)
class Step:
    """One command, from line ``first`` up to line ``end`` (not included), counted from 0."""

    first: int
    end: int
    command: str
    output: tuple[str, ...]
    status: int


def read(text: str) -> tuple[Step, ...]:
    """The steps of a story. Raises ValueError for a script line that belongs to no command."""
    lines = text.splitlines()
    steps = []
    number = 0
    while number < len(lines):
        if not lines[number].startswith("  "):
            number += 1
            continue
        if not lines[number].startswith("  $ "):
            raise ValueError(f"line {number + 1}: output without a command")
        first = number
        command = [lines[number][4:]]
        number += 1
        while number < len(lines) and lines[number].startswith("  >"):
            command.append(lines[number][4:])
            number += 1
        output = []
        while number < len(lines) and lines[number].startswith("  ") and not lines[number].startswith("  $ "):
            output.append(lines[number][2:])
            number += 1
        said = _STATUS.match(output[-1]) if output else None
        status = int(said[1]) if said else 0
        steps.append(Step(first, number, "\n".join(command), tuple(output[:-1] if said else output), status))
    return tuple(steps)


def needs(text: str) -> tuple[str, ...]:
    """The capabilities that the prose asks for."""
    return tuple(name for line in re.findall(r"^Needs: (.*)$", text, re.MULTILINE) for name in line.split())


def agrees(expected: Iterable[str], found: Iterable[str]) -> bool:
    """Whether output is as told, placeholders standing for what they may."""
    pattern = "\n".join(map(_pattern, expected))
    return re.fullmatch(pattern, "\n".join(found)) is not None


def _pattern(line: str) -> str:
    parts = _PLACE.split(line)
    return "".join(f"(?:{PLACEHOLDERS[part]})" if odd % 2 else re.escape(part) for odd, part in enumerate(parts))


def verbs(command: str) -> set[str]:
    """What `cnm` is asked to do in a command; "" where it is started without a verb."""
    return {word.lstrip() for word in re.findall(r"\bcnm\b(?!/)( +[a-z-]+|)", command)}


def play(
    host: Host, folder: Path, step: Step, environment: Mapping[str, str] | None = None
) -> tuple[tuple[str, ...], int]:
    """(what it printed, its exit status). Blank lines at the end do not count. ``environment`` is added to that of
    all stories."""
    done = subprocess.run(
        host.argv("unshare", "--uts", "sh", "-c", _IN_A_HOST_OF_THAT_NAME, step.command, cwd=folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
        env={**ENV, **(environment or {})},
    )
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return tuple(lines), done.returncode


def written(text: str, results: Iterable[tuple[Step, tuple[str, ...], int]]) -> str:
    """The story as it would have to be for these results: what a placeholder stands for keeps its placeholder."""
    lines = text.splitlines()
    for step, output, status in reversed(list(results)):
        if agrees(step.output, output) and status == step.status:
            continue
        command = [line for line in lines[step.first : step.end] if line.startswith(("  $ ", "  >"))]
        kept = list(_keep(step.output, output))
        lines[step.first : step.end] = command + [f"  {line}" for line in kept] + ([f"  [{status}]"] if status else [])
    return "\n".join(lines) + "\n"


def _keep(expected: tuple[str, ...], found: tuple[str, ...]) -> Iterator[str]:
    for line in found:
        yield next((told for told in expected if _PLACE.search(told) and re.fullmatch(_pattern(told), line)), line)
