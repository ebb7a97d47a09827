"""What a demonstration is told with: commands as a user types them, their output, and claims that are checked."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tests.lab.host import ENVIRONMENT, Host

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Said(NamedTuple):
    """How a command ended and what it printed, without colours."""

    status: int
    text: str


class Stage:
    """Runs commands in ``host``, in folder ``folder``, before the user's eyes."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host, self.folder = host, folder
        self._start = time.monotonic()

    def chapter(self, title: str) -> None:
        print(f"\n\033[1m== {title} ==\033[0m" if sys.stdout.isatty() else f"\n== {title} ==", flush=True)

    def run(self, line: str, *, status: int = 0) -> Said:
        """Type a command, show what it prints, and insist on its exit status."""
        print(f"\n$ {line}", flush=True)
        terminal = sys.stdout.isatty()
        read, write = pty.openpty() if terminal else os.pipe()
        process = subprocess.Popen(
            self.host.argv(*shlex.split(line), cwd=self.folder),
            stdin=subprocess.DEVNULL,
            stdout=write,
            stderr=write,
            env=ENVIRONMENT,
        )
        os.close(write)
        output = b""
        while chunk := _read(read):
            output += chunk
            sys.stdout.buffer.write(chunk)
            sys.stdout.flush()
        os.close(read)
        said = Said(process.wait(), _ESCAPES.sub("", output.decode(errors="replace")))
        self.claim(said.status == status, f"exit status {said.status}", f"exit status {said.status}, not {status}")
        return said

    def claim(self, truth: bool, words: str, otherwise: str = "") -> None:
        """Say what holds; end the whole demonstration when it does not."""
        if not truth:
            sys.exit(f"demo: this should be true, and is not: {otherwise or words}")
        print(f"  [ok] {words}", flush=True)

    def end(self) -> None:
        print(f"\nAll of it held, in {time.monotonic() - self._start:.1f} s.")


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # EIO: a terminal whose other end is closed
        return b""
