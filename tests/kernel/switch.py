"""Open vSwitch in a private host: real daemons, the userspace datapath where the kernel has none."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.kernel.private import run
from tests.lab.capability import VSWITCHD, VSWITCHD_DPDK

RUNTIME = Path("/run/openvswitch")
LOGS = "-vconsole:off -vfile:info -vsyslog:off"
DATABASE = f"""
mkdir -p {RUNTIME}
test -e {RUNTIME}/conf.db || ovsdb-tool create {RUNTIME}/conf.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server {LOGS} --detach --no-chdir --pidfile --log-file={RUNTIME}/ovsdb.log \\
    --remote=punix:{RUNTIME}/db.sock {RUNTIME}/conf.db
"""
# Within ten seconds of a kernel's start ovs-vswitchd starts no handler threads.
_READY = 'while [ "$(cut -d. -f1 /proc/uptime)" -lt 11 ]; do sleep 0.1; done\n'
_DAEMON = f"""{_READY}{{}} {LOGS} --detach --no-chdir --pidfile={RUNTIME}/ovs-vswitchd.pid \\
    --log-file={RUNTIME}/vswitchd.log unix:{RUNTIME}/db.sock
"""
DAEMON, DPDK_DAEMON = _DAEMON.format(VSWITCHD), _DAEMON.format(VSWITCHD_DPDK)
START = f"set -e\n{DATABASE}ovs-vsctl --no-wait init\n{DAEMON}"
START_DPDK = f"set -e\n{DATABASE}ovs-vsctl --no-wait init\n{DPDK_DAEMON}"
"""Shell commands: the private host's own /run takes all that the daemons leave."""


def start(*, dpdk: bool = False) -> None:
    """Both daemons, with an empty database."""
    run("sh", "-c", START_DPDK if dpdk else START)


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


def start_daemon(*, dpdk: bool = False) -> None:
    run("sh", "-ec", DPDK_DAEMON if dpdk else DAEMON)


def vsctl(*arguments: str) -> str:
    """What ovs-vsctl(8) says, when ovs-vswitchd has done it."""
    return run("ovs-vsctl", "--timeout=20", *arguments).strip()


if __name__ == "__main__":
    start(dpdk="dpdk" in sys.argv[1:])
