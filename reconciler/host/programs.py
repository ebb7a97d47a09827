"""The programs that cnm runs as processes of its own: a plan names one of these and never a command line, so that a
plan from a file can start nothing else."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from msgspec import Struct


class Program(Struct, frozen=True):
    """``command`` is what is run, with the process's runtime folder and its arguments after it. ``notifies``: it says
    READY=1 to $NOTIFY_SOCKET (sd_notify(3)) once it serves; others are given a moment in which they must not end.
    ``undo`` is run with the same where one ended and its file ``NAME.lease`` is still there: it could not give back
    what it held."""

    command: tuple[str, ...]
    notifies: bool = False
    undo: tuple[str, ...] = ()


# Routes of a BIRD that ended unasked stay in force until the one that follows it has heard the same again (-R); where there
# are none, it waits for nobody. In a user namespace it cannot become another user. $0 is the runtime folder.
_BIRD = """\
cd "$0/bird" || exit
[ -z "$(ip route show table all proto bird; ip -6 route show table all proto bird)" ] || recover=-R
read -r _ _ users </proc/self/uid_map
! id bird >/dev/null 2>&1 || [ "$users" != 4294967295 ] || user='-u bird -g bird'
exec bird -f $recover $user -c "$0/bird/bird.conf" -s "$0/bird/bird.ctl"
"""

PROGRAMS: Mapping[str, Program] = {
    "bird": Program(("/bin/sh", "-c", _BIRD)),
    "dhcp": Program(
        (sys.executable, "-P", "-m", "reconciler.dhcp"), undo=(sys.executable, "-P", "-m", "reconciler.dhcp.undo")
    ),
    "attendant": Program((sys.executable, "-P", "-m", "reconciler.attendant"), notifies=True),
}
