"""The programs that cnm runs as processes of its own: a plan names one of these and never a command line, so that a
plan from a file can start nothing else."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Program:
    """``command`` is what is run, with the process's runtime folder and its arguments after it. ``notifies``: it says
    READY=1 to $NOTIFY_SOCKET (sd_notify(3)) once it serves; others are given a moment in which they must not end."""

    command: tuple[str, ...]
    notifies: bool = False


PROGRAMS: Mapping[str, Program] = {
    "dhcp": Program((sys.executable, "-P", "-m", "reconciler.dhcp")),
    "attendant": Program((sys.executable, "-P", "-m", "reconciler.attendant"), notifies=True),
}
