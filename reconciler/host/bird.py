"""BIRD: its control socket (the protocol is in its sources, nest/cli.c: lines with reply codes) and its checker."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_network
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from reconciler.host.bgp import BgpRoute, Session

_SECONDS = 10.0
_CHECK_SECONDS = 60
RECONFIGURED, IN_PROGRESS, QUEUED, CONFIRMED, NOTHING, OK, UNDONE, UNDOING = 3, 4, 5, 18, 19, 20, 21, 22
_DONE = frozenset((RECONFIGURED, IN_PROGRESS, QUEUED, CONFIRMED, UNDONE, UNDOING))
_REPLY = re.compile(r"(\d{4})([ -])(.*)\Z", re.DOTALL)
_ROUTES = re.compile(r"\s+Routes:\s+(\d+) imported,(?: \d+ filtered,)? (\d+) exported")
_TO = re.compile(
    r"(\S+)?\s+[a-z]+ \[\S+ [^\]]*\](?P<best> \*)? \("
)  # PREFIX unicast [PROTOCOL SINCE] * (100) [AS65001i]
_VIA = re.compile(r"\s(?:via (\S+) )?(?:on|dev) (\S+)")
_COMMUNITY = re.compile(r"\((\d+), ?(\d+)(?:, ?(\d+))?\)")


def missing() -> str:
    """ "" when BIRD 2 is installed, else what is missing."""
    return "" if program() else "bird is not installed"


def program() -> str | None:
    """Where it is; it is no program of ordinary users."""
    return shutil.which("bird", path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin")


class Line(NamedTuple):
    """A line of an answer. Codes from 8000 on are errors, those below 1000 end an answer."""

    code: int
    text: str


def check(path: str, *, draft: bool = False) -> str:
    """ "" when BIRD can read this configuration, else its words; without the path of what is only a draft, which is gone
    when somebody reads them."""
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program
            [program() or "bird", "-p", "-c", path], capture_output=True, text=True, check=False, timeout=_CHECK_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bird: {error}"
    if not done.returncode:
        return ""
    words = (done.stderr + done.stdout).strip() or f"exit status {done.returncode}"
    return (words.replace(f"{path}:", "line ") if draft else words)[:1000]


class Bird:
    """A running BIRD. Every method raises OSError when it does not answer."""

    def __init__(self, path: str) -> None:
        self.path = path

    def answers(self) -> bool:
        try:
            self.ask("show status")
        except OSError:
            return False
        return True

    def ask(self, command: str) -> list[Line]:
        """The lines of an answer."""
        with self._connected() as (out, lines):
            next(lines)  # its greeting: 0001 BIRD 2.0.12 ready.
            out.sendall(f"{command}\n".encode())
            return list(_answer(lines))

    def sessions(self) -> dict[str, Session]:
        """All BGP sessions by name."""
        found: dict[str, Session] = {}
        name = ""
        for line in self.ask("show protocols all"):
            if line.code == 1002:
                words = line.text.split(None, 6)
                name = words[0] if len(words) > 1 and words[1] == "BGP" else ""
                if name:
                    found[name] = _session(words)
            elif name and line.code == 1006:
                said = _ROUTES.match(line.text)
                error = line.text.strip().removeprefix("Last error:").strip()
                if said is not None:
                    one = found[name]
                    found[name] = one._replace(
                        imported=one.imported + int(said[1]), exported=one.exported + int(said[2])
                    )
                elif line.text.strip().startswith("Last error:") and not found[name].words:
                    found[name] = found[name]._replace(words=error)
        return found

    def routes(self, session: str, way: str, most: int) -> tuple[list[BgpRoute], bool]:
        """``most`` routes that came by a session (``way`` protocol), or that go by it (``export``), and whether there are
        more. BIRD is not kept telling what nobody wants to know: a full table of the Internet is a million of them."""
        with self._connected() as (out, lines):
            next(lines)
            out.sendall(f"show route all {way} '{session}'\n".encode())
            found = list(islice(_routes(_answer(lines)), most + 1))
        return sorted(found[:most], key=_place), len(found) > most

    def names(self) -> frozenset[str]:
        """The names of all protocols that are not disabled."""
        lines = self.ask("show protocols")
        return frozenset(line.text.split()[0] for line in lines if line.code == 1002 and " Disabled" not in line.text)

    def configure(self, path: str | None, timeout: int) -> str:
        """Take up a configuration: that in the file, or its own again. It is undone by BIRD itself unless it is confirmed
        within ``timeout`` seconds. "" or BIRD's words; then nothing has changed."""
        return self._change(f'configure "{path}" timeout {timeout}' if path else f"configure timeout {timeout}")

    def confirm(self) -> str:
        return self._change("configure confirm")

    def undo(self) -> str:
        return self._change("configure undo")

    def enable(self, names: Iterable[str]) -> None:
        """Start protocols that somebody disabled."""
        for name in names:
            self.ask(f"enable '{name}'")

    def _change(self, command: str) -> str:
        lines = self.ask(command)
        if any(line.code in _DONE for line in lines):
            return ""
        words = [line.text for line in lines if line.code >= 8000] or [line.text for line in lines]
        return "; ".join(words)[:1000]

    @contextmanager
    def _connected(self) -> Iterator[tuple[socket.socket, Iterator[str]]]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as out:
            out.settimeout(_SECONDS)
            out.connect(self.path)
            with out.makefile("r", encoding="utf-8", errors="replace", newline="\n") as stream:
                yield out, iter(stream)


def _answer(lines: Iterator[str]) -> Iterator[Line]:
    """Up to the line that ends it: its code is followed by a space, and is no table's."""
    code = 0
    for raw in lines:
        text = raw.rstrip("\n")
        if text.startswith("+"):
            continue  # what happens meanwhile
        match = _REPLY.match(text)
        if match is None:
            yield Line(code, text[1:])  # the same code as the line before
            continue
        code = int(match[1])
        yield Line(code, match[3])
        if match[2] == " ":
            return
    raise ConnectionResetError(104, "BIRD ended in the middle of an answer")


def _routes(lines: Iterable[Line]) -> Iterator[BgpRoute]:
    """Raises OSError with BIRD's words when it refuses to tell."""
    one: BgpRoute | None = None
    for code, text in lines:
        if code >= 8000:
            raise OSError(22, f"BIRD says: {text}")
        to = _TO.match(text) if code == 1007 else None
        if to is not None:
            if one is not None:
                yield one
            prefix = to[1] or (
                one.prefix if one is not None else ""
            )  # of several to one prefix only the first names it
            one = BgpRoute(prefix, best=bool(to["best"]))
        elif one is not None:
            one = _with(one, text)
    if one is not None:
        yield one


def _with(route: BgpRoute, text: str) -> BgpRoute:
    """What another line says of a route."""
    name, _, value = text.strip().partition(": ")
    match name:
        case "BGP.next_hop":
            return route._replace(next_hop=value.split()[0]) if value else route  # IPv6: a link-local one may follow
        case "BGP.as_path":
            return route._replace(as_path=value)
        case "BGP.local_pref":
            return route._replace(local_pref=int(value))
        case "BGP.community" | "BGP.large_community":
            more = (":".join(filter(None, match.groups())) for match in _COMMUNITY.finditer(value))
            return route._replace(communities=(*route.communities, *more))
    via = _VIA.match(text)
    return (
        route._replace(next_hop=route.next_hop or via[1] or "", dev=route.dev or via[2]) if via is not None else route
    )


def _place(route: BgpRoute) -> tuple[int, int, int]:
    network = ip_network(route.prefix)
    return network.version, int(network.network_address), network.prefixlen


def _session(words: list[str]) -> Session:
    """From a line of the table: name, protocol, table, state, since (date and time, or one of them), info."""
    state, rest = words[3], " ".join(words[4:])
    info = re.sub(r"\A(\d{4}-\d\d-\d\d )?(\d\d:\d\d(:\d\d(\.\d+)?)?|\d{4}-\d\d-\d\d)\s*", "", rest).split(None, 1)
    return Session(words[0], info[0] if info else state, info[1].strip() if len(info) > 1 else "", 0, 0)


def folder(runtime: Path) -> Path:
    """The folder of our own BIRD, made where it is missing; BIRD gives up its rights, so it is its user's."""
    place = runtime / "bird"
    place.mkdir(mode=0o750, parents=True, exist_ok=True)
    with suppress(LookupError, OSError):
        shutil.chown(place, "bird", "bird")
    return place
