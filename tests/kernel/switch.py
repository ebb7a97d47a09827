"""Open vSwitch in a private host: real daemons, the userspace datapath where the kernel has none."""

from __future__ import annotations

import time
from pathlib import Path

from tests.kernel.private import run
from tests.lab.capability import VSWITCHD

RUNTIME = Path("/run/openvswitch")
LOGS = "-vconsole:off -vfile:info -vsyslog:off"
DATABASE = f"""
mkdir -p {RUNTIME}
test -e {RUNTIME}/conf.db || ovsdb-tool create {RUNTIME}/conf.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server {LOGS} --detach --no-chdir --pidfile --log-file={RUNTIME}/ovsdb.log \\
    --remote=punix:{RUNTIME}/db.sock {RUNTIME}/conf.db
"""
DAEMON = f"{VSWITCHD} {LOGS} --detach --no-chdir --pidfile --log-file={RUNTIME}/vswitchd.log unix:{RUNTIME}/db.sock\n"
START = f"set -e\n{DATABASE}ovs-vsctl --no-wait init\n{DAEMON}"
"""Shell commands: the private host's own /run takes all that the daemons leave."""


def start() -> None:
    """Both daemons, with an empty database."""
    run("sh", "-c", START)


def kill(name: str, signal: int = 9) -> None:
    """End a daemon (``ovs-vswitchd``, ``ovsdb-server``) and wait until it is gone."""
    pid = int((RUNTIME / f"{name}.pid").read_text())
    run("kill", f"-{signal}", str(pid))
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < deadline, f"{name} does not end"
        time.sleep(0.02)


def start_database() -> None:
    run("sh", "-ec", DATABASE)


def start_daemon() -> None:
    run("sh", "-ec", DAEMON)
