"""nftables through nft(8): JSON in, JSON out, one process a transaction."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from reconciler.errors import ObservationError
from reconciler.host.step import Step, unhindered

Statement = Mapping[str, Any]

_MISSING = "nft is not installed (Debian: apt-get install nftables)"


class Nft:
    """Speaks to the nftables of the namespace that the calling thread is in.

    ``seen`` is the memory of whoever reads tables: (namespace, family, table) to ((inode, generation), what was read).
    """

    def __init__(self, step: Step = unhindered) -> None:
        self._step = step
        self.seen: dict[tuple[str, str, str], tuple[tuple[int, int], dict[Any, Any]]] = {}
        self._program = shutil.which("nft") or next(
            (path for path in ("/usr/sbin/nft", "/sbin/nft") if shutil.which(path)), ""
        )

    @property
    def installed(self) -> bool:
        return bool(self._program)

    def tables(self) -> list[dict[str, Any]]:
        """All tables: {"family", "name", "handle", "comment"?}. Raises ObservationError."""
        return [item["table"] for item in self._list("tables") if "table" in item]

    def listed(self, tables: Sequence[tuple[str, str]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
        """Everything in each of these tables (family, name), as libnftables-json(5) objects; empty when it does not
        exist. A process each, side by side: one that is asked for two finds only the last (nft 1.0.6). Raises
        ObservationError."""
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        if not self._program:
            return found
        with ExitStack() as running:  # each is waited for, whatever the others say
            asked = [(place, running.enter_context(self._asked("table", *place))) for place in tables]
            for place, process in asked:
                try:
                    found[place] = _answer(process, f"table {' '.join(place)}")
                except ObservationError as error:
                    if "No such file or directory" not in str(error):
                        raise
                    found[place] = []
        return found

    def ruleset(self) -> tuple[list[dict[str, Any]], dict[tuple[str, str, str, int], str]]:
        """Everything that stands, and the text of each rule by (family, table, chain, handle). Raises ObservationError."""
        objects = self._list("ruleset")
        if not objects:
            return [], {}
        done = subprocess.run([self._program, "-a", "list", "ruleset"], capture_output=True, text=True, check=False)  # noqa: S603 - a fixed program
        texts: dict[tuple[str, str, str, int], str] = {}
        family = table = chain = ""
        for line in done.stdout.splitlines():
            text, _, handle = line.strip().partition(" # handle ")
            words = text.split()
            if words[:1] == ["table"] and len(words) > 2:
                family, table = words[1], words[2]
            elif words[:1] == ["chain"] and len(words) > 1:
                chain = words[1]
            elif handle.isdecimal():
                texts[family, table, chain, int(handle)] = text
        return objects, texts

    def _list(self, *what: str) -> list[dict[str, Any]]:
        if not self._program:
            return []
        with self._asked(*what) as process:
            return _answer(process, " ".join(what))

    def _asked(self, *what: str) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603 - a fixed program, arguments are names of our own
            [self._program, "-j", "list", *what],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            close_fds=False,
        )

    def hindered(self) -> str:
        """To be asked before each transaction: "", or why there can be none."""
        try:
            self._step("nft", "transaction")
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def run(self, statements: Sequence[Statement]) -> str:
        """One transaction: all of it happens, or nothing. Returns "" or nft's words of refusal."""
        if not self._program:
            return _MISSING
        words = self.hindered()
        if words:
            return words
        script = json.dumps({"nftables": [{"metainfo": {"json_schema_version": 1}}, *statements]})
        done = subprocess.run(  # noqa: S603 - a fixed program
            [self._program, "-j", "-f", "-"],
            input=script,
            capture_output=True,
            text=True,
            check=False,
            close_fds=False,  # they close themselves; one by one, thousands of them take longer than nft does
        )
        if done.returncode:
            return _reason(done.stderr) or f"nft ended with {done.returncode}"
        return ""


def _answer(process: subprocess.Popen[str], what: str) -> list[dict[str, Any]]:
    """What a listing says when it has ended. Raises ObservationError."""
    out, complaint = process.communicate()
    if process.returncode:
        raise ObservationError(f"nft list {what}: {complaint.strip() or process.returncode}")
    try:
        objects: list[dict[str, Any]] = json.loads(out)["nftables"]
    except (ValueError, KeyError) as error:
        raise ObservationError(f"nft list {what}: not the JSON that was expected ({error})") from None
    return objects


def _reason(stderr: str) -> str:
    """The lines of nft's complaint that say something; it echoes the whole script otherwise."""
    lines = [line.strip() for line in stderr.splitlines()]
    return "; ".join(line for line in lines if "rror" in line)[:1000] or stderr.strip()[:1000]
