"""The OpenFlow side of Open vSwitch's bridges, through ovs-ofctl(8): one process a look, one a bundle."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from reconciler.errors import ObservationError
from reconciler.host.ovsdb import Ovsdb, atoms, pairs
from reconciler.host.step import Step, unhindered

_VERSIONS = "OpenFlow13,OpenFlow14,OpenFlow15"
_DEFAULT_PRIORITY = 32768  # OFP_DEFAULT_PRIORITY: then it is not printed
# What is printed of a flow beside its match (ofputil_flow_stats_format in lib/ofp-flow.c).
_NO_MATCH = {"idle_timeout", "hard_timeout", "importance", "send_flow_rem", "check_overlap", "reset_counts"}
_NO_MATCH |= {"no_packet_counts", "no_byte_counts", ""}
_PATIENCE = 60.0
_MISSING = "ovs-ofctl is not installed (Debian: apt-get install openvswitch-switch)"

# The socket is left of a daemon that was killed, or was when it was spoken to.
_GONE = ("Connection refused", "Connection reset by peer")


class Flow(NamedTuple):
    """``match`` and ``actions`` as printed, names of ports and all."""

    cookie: int
    table: int
    priority: int
    match: str
    actions: str


class OpenFlow:
    """Speaks to the bridges of the switch whose database ``ovsdb`` is."""

    def __init__(self, ovsdb: Ovsdb, step: Step = unhindered) -> None:
        self._ovsdb = ovsdb
        self._step = step

    @property
    def installed(self) -> bool:
        return bool(self._program)

    @cached_property
    def _program(self) -> str:
        return shutil.which("ovs-ofctl") or ""

    def own(self, owner: str) -> list[str]:
        """Bridges that are this owner's."""
        return self._marked(owner)[0]

    def ours(self, owner: str) -> list[str]:
        """Those, and bridges that have a port of this owner's."""
        return [name for names in self._marked(owner) for name in names]

    def _marked(self, owner: str) -> tuple[list[str], list[str]]:
        if not self._ovsdb.present():
            return [], []
        tables = self._ovsdb.select({"Bridge": ("name", "ports", "external_ids"), "Port": ("_uuid", "external_ids")})
        ports = {row["_uuid"][1] for row in tables["Port"] if pairs(row["external_ids"]).get("cnm-owner") == owner}
        own = [row["name"] for row in tables["Bridge"] if pairs(row["external_ids"]).get("cnm-owner") == owner]
        joined = [row["name"] for row in tables["Bridge"] if not ports.isdisjoint(atoms(row["ports"]))]
        return own, [name for name in joined if name not in own]

    def socket(self, bridge: str) -> Path:
        """Where a bridge is spoken to."""
        return self._ovsdb.runtime / f"{bridge}.mgmt"

    def stands(self, bridge: str) -> bool:
        """Whether ovs-vswitchd has this bridge: then it serves a socket for it. Without its database it does not answer
        there (bridge_run in vswitchd/bridge.c returns early), so it is not asked."""
        return self.socket(bridge).is_socket() and self._ovsdb.present()

    def flows(self, bridge: str, only: str = "") -> list[Flow]:
        """All flows, or those that ``only`` (a match with a cookie) selects; none when there is no such bridge. Raises
        ObservationError."""
        if not self.stands(bridge):
            return []
        done = self._run(["--names", "--no-stats", "dump-flows", f"unix:{self.socket(bridge)}", *filter(None, (only,))])
        if done.returncode:
            if any(words in done.stderr for words in _GONE):
                return []
            raise ObservationError(f"ovs-ofctl dump-flows {bridge}: {_words(done.stderr)}")
        return [_flow(line) for line in done.stdout.splitlines() if " actions=" in line]

    def bundle(self, bridge: str, lines: Sequence[str]) -> str:
        """Carry out ``add ...`` and ``delete_strict ...`` lines, all or none. "" or the reason."""
        try:
            self._step("openflow", f"bundle {bridge}")
        except OSError as error:
            return error.strerror or str(error)
        if not self._program:
            return _MISSING
        text = "\n".join(lines) + "\n"
        done = self._run(["--bundle", "add-flows", f"unix:{self.socket(bridge)}", "-"], text)
        return _words(done.stderr) if done.returncode else ""

    def _run(self, arguments: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
        if not self._program:
            return subprocess.CompletedProcess([], 1, "", _MISSING)
        try:
            return subprocess.run(  # noqa: S603 - a fixed program; names are of bridges that are there
                [self._program, "-O", _VERSIONS, *arguments],
                input=text,
                capture_output=True,
                text=True,
                check=False,
                timeout=_PATIENCE,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess([], 1, "", f"no answer within {_PATIENCE:.0f} s")


def _flow(line: str) -> Flow:
    """``cookie=0x5, table=10, priority=9,tcp,tp_dst=80 actions=...``; what is not said is 0, and 32768 the priority."""
    head, _, actions = line.strip().partition(" actions=")
    cookie, table, priority, rest = 0, 0, _DEFAULT_PRIORITY, []
    for part in ",".join(head.replace(", ", " ").split()).split(","):
        name, _, value = part.partition("=")
        if name == "cookie":
            cookie = int(value, 16)
        elif name == "table":
            table = int(value)
        elif name == "priority":
            priority = int(value)
        elif name not in _NO_MATCH:
            rest.append(part)
    return Flow(cookie, table, priority, ",".join(rest), actions)


def _words(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    said = [line.removeprefix("ovs-ofctl: ") for line in lines if "|" not in line]
    return "; ".join(said or lines)[:1000] or "ovs-ofctl failed"
