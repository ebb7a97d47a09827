"""Proof from outside that nothing was written: what ip(8) and nft(8) hear from the kernel meanwhile."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, NamedTuple, Self

_MONITORS = {0: ("ip", "-o", "monitor", "all"), 12: ("nft", "monitor")}  # by netlink protocol number
_LEARNED = re.compile(r"\[NEIGH\].*\b(REACHABLE|STALE|DELAY|PROBE|INCOMPLETE|FAILED|NOARP)\b")
_PATIENCE = 10.0

Enter = Callable[..., list[str]]


class _Monitor(NamedTuple):
    namespace: str
    protocol: int
    process: subprocess.Popen[bytes]
    output: IO[bytes]

    def socket(self) -> tuple[int, int] | None:
        """(multicast groups, bytes not read yet) of the process's socket; None before it is open."""
        try:
            table = Path(f"/proc/{self.process.pid}/net/netlink").read_text()
        except OSError:
            return None
        for line in table.splitlines()[1:]:
            _sk, protocol, pid, groups, unread, *_rest = line.split()
            if int(protocol) == self.protocol and int(pid) == self.process.pid:
                return int(groups, 16), int(unread)
        return None

    def asleep(self) -> bool:
        state = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "S"


class Recording:
    """``lines`` are, after the block, all events but those of neighbours that traffic comes and goes with;
    each begins with its namespace's name. ``enter`` maps a namespace to what wraps a command to run there."""

    def __init__(self, enter: Mapping[str, Enter]) -> None:
        self.lines: list[str] = []
        self._monitors: list[_Monitor] = []
        self._enter = enter

    def __enter__(self) -> Self:
        try:
            for namespace, enter in self._enter.items():
                for protocol, command in _MONITORS.items():
                    output = tempfile.TemporaryFile()
                    process = subprocess.Popen(
                        enter(*command), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
                    )
                    self._monitors.append(_Monitor(namespace, protocol, process, output))
            self._wait("subscribe", lambda monitor: bool((monitor.socket() or (0, 0))[0]))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._wait("drain", lambda monitor: (monitor.socket() or (0, 0))[1] == 0 and monitor.asleep())
        finally:
            self._end()

    def _wait(self, what: str, done: Callable[[_Monitor], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE
        for monitor in self._monitors:
            while not done(monitor):
                if monitor.process.poll() is not None:
                    monitor.output.seek(0)
                    raise RuntimeError(f"{_MONITORS[monitor.protocol]} ended: {monitor.output.read().decode()}")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{_MONITORS[monitor.protocol]} did not {what}")
                time.sleep(0.005)

    def _end(self) -> None:
        for monitor in self._monitors:
            if monitor.process.poll() is None:
                os.kill(monitor.process.pid, signal.SIGKILL)
            monitor.process.wait()
            monitor.output.seek(0)
            text = monitor.output.read().decode(errors="replace")
            monitor.output.close()
            name = _MONITORS[monitor.protocol][0]
            self.lines += [
                f"{monitor.namespace}: {name}: {line}" for line in text.splitlines() if not _LEARNED.search(line)
            ]
        self._monitors = []
