"""Drift: others change what is ours in many namespaces, and the host converges; how fast, and with how much memory.

``CNM_DRIFT_SECONDS`` (default 10; `make soak` takes 600) is for how long, ``CNM_DRIFT_REPORT`` a file for the figures.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import time
from pathlib import Path

import pytest

from reconciler.host.namespace import Namespace
from reconciler.host.procfs import Procfs
from reconciler.netlink.address import new_address
from reconciler.netlink.link import set_link
from tests.kernel.private import isolated, run
from tests.kernel.scene import Scene, settle
from tests.kernel.test_watch import write
from tests.kernel.watched import Watched

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")
SANDBOXES = int(os.environ.get("CNM_DRIFT_SANDBOXES", "50"))
SECONDS = float(os.environ.get("CNM_DRIFT_SECONDS", "600" if os.environ.get("CNM_SOAK") else "10"))

# Each object is to be wounded a few times a minute only: what is undone more often waits on purpose (docs/watch.md).
PAUSE = 1.0 if SECONDS >= 60 else 0.1

WOUNDS = (
    "ip -n {s} link delete eth0",
    "ip -n {s} link set eth0 down",
    "ip -n {s} link set eth0 name lan0",
    "ip -n {s} link set eth0 mtu 1400",
    "ip -n {s} address flush dev eth0",
    "ip -n {s} address add 192.0.2.7/32 dev eth0",
    "ip -n {s} route delete default",
    "ip -n {s} route flush table main",
    "ip -n {s} route replace default via {gateway} metric 7",
    "ip netns delete {s}",
)
FOREIGN = "other0"


def memory(pid: int) -> int:
    """Resident set, KiB."""
    return int(
        next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line).split()[1]
    )


def bare(count: int = 200) -> float:
    """Seconds that the bare netlink calls take which repair a link that is down and an address that is gone: the least
    that anybody can need."""
    run("ip", "netns", "add", "bare")
    run("ip", "-n", "bare", "link", "add", "d0", "type", "bridge")
    procfs = Procfs()
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    namespace = Namespace("bare", os.open("/run/netns/bare", os.O_RDONLY), home, procfs)
    namespace.look()
    index = namespace.index["d0"]
    times = []
    for _ in range(count):
        namespace.rtnl.send([set_link(index, up=False)])
        clock = time.perf_counter()
        namespace.rtnl.send([set_link(index, up=True), new_address(index, "192.0.2.1/32", 147)])
        times.append(time.perf_counter() - clock)
    namespace.close()
    procfs.close()
    run("ip", "netns", "delete", "bare")
    return statistics.median(times)


@isolated
def test_drift_in_many_namespaces(tmp_path: Path) -> None:
    seed = int(os.environ.get("CNM_DRIFT_SEED", "0")) or random.randrange(1 << 30)
    rng = random.Random(seed)
    names = [f"s{number}" for number in range(SANDBOXES)]
    run("ip", "link", "add", FOREIGN, "type", "bridge")
    run("ip", "address", "add", "198.51.100.1/24", "dev", FOREIGN)
    run("ip", "link", "set", FOREIGN, "up")
    run("ip", "netns", "add", "foreign")
    run("ip", "-n", "foreign", "link", "set", "lo", "up")
    run("nft", "add", "table", "inet", "foreign")
    floor = bare()
    with Scene(tmp_path) as scene:
        write(scene, *names)
        scene.apply()
        settle()
        foreign = [
            run("ip", "-br", "address", "show", FOREIGN),
            run("ip", "-n", "foreign", "address"),
            run("nft", "list", "table", "inet", "foreign"),
        ]
        with Watched(tmp_path, "--interval", "20", "--fight-limit", "100000") as watched:
            watched.hear("state", state="ok")
            began, waits, first, count = time.monotonic(), [], 0, 0
            calm = list(names)
            while time.monotonic() - began < SECONDS:
                # One wound at a time is timed, in a sandbox that was left alone for long; others come along untimed.
                sandbox = calm.pop(0)
                calm.append(sandbox)
                clock = time.monotonic()
                size = watched.log.stat().st_size
                run("ip", "-n", sandbox, "link", "set", "eth0", "down", check=False)
                while True:
                    with watched.log.open() as log:
                        log.seek(size)
                        if f"link/@{sandbox}/eth0" in "".join(line for line in log if '"repaired"' in line):
                            break
                    if time.monotonic() - clock > 5:
                        break
                    time.sleep(0.0005)
                waits.append(time.monotonic() - clock)
                for _ in range(rng.randrange(3)):
                    wound = rng.choice(WOUNDS).format(s=rng.choice(calm[SANDBOXES // 2 :]), gateway="10.1.0.1")
                    run(*wound.split(), check=False)
                    count += 1
                time.sleep(rng.random() * PAUSE)
                if not first and time.monotonic() - began > min(60.0, SECONDS / 3):
                    first = memory(watched.process.pid)
            deadline = time.monotonic() + 15 + SECONDS
            while not (plan := scene.plan(locked=True)).empty or plan.conflicts:
                left = [f"{op.id}: {op.reason}" for op in plan.ops()] + list(map(str, plan.conflicts))
                assert time.monotonic() < deadline, f"seed {seed}: not converged: {left}\n{watched.said('failed')[-3:]}"
                time.sleep(0.5)
            last = memory(watched.process.pid)
        again = [
            run("ip", "-br", "address", "show", FOREIGN),
            run("ip", "-n", "foreign", "address"),
            run("nft", "list", "table", "inet", "foreign"),
        ]
        assert again == foreign, "what is not ours was not touched"
        waits.sort()
        figures = {
            "seconds": SECONDS,
            "sandboxes": SANDBOXES,
            "wounds": count + len(waits),
            "repairs": len(watched.said("repaired")),
            "floor_ms": floor * 1e3,
            "median_ms": statistics.median(waits) * 1e3,
            "p99_ms": waits[min(len(waits) - 1, int(len(waits) * 0.99))] * 1e3,
            "rss_first_kib": first,
            "rss_last_kib": last,
            "load": os.getloadavg()[1],
            "seed": seed,
        }
        print(json.dumps(figures))
        if os.environ.get("CNM_DRIFT_REPORT"):
            Path(os.environ["CNM_DRIFT_REPORT"]).write_text(json.dumps(figures, indent=1))
        if SECONDS >= 300:
            assert last <= first * 1.05, figures
