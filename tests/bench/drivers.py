"""``python -m tests.bench.drivers [--lane] [--rounds N] [SIZE]``: so many endpoints of each driver, beside `ip -batch` (root).

Each endpoint goes into a namespace that exists already. `ip -batch` makes the same interfaces, addresses, routes and ports
of bridges, one batch on the host and one in each namespace, and nothing of what else cnm does (sysctls, nftables, the
look whether it holds). Deletion: cnm's against deletion by link group. With ``--lane`` on the lane's kernel those that this
machine's lacks. Writes docs/benchmarks-drivers.md: the part of the kernel that it ran on, the other one stays.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from reconciler.engine.controller import NetworkController
from reconciler.engine.doctor import missing
from reconciler.host.host import Host as Machine
from tests.bench.floor import GROUP
from tests.bench.scene import PREFIX, Bridge, Scene, ip_batch
from tests.lab import Host
from tests.lab.host import ROOT
from tests.lane.machine import Machine as Guest

ROUNDS, LANE_ROUNDS = 3, 1  # in the lane one round of `ip -batch` takes minutes: 1,000 processes
SIZE = 1_000
PARENT = "parent0"
STATE, FOLDER = Path("/run/bench-state"), Path("/run/bench-manifests")
PAGE = ROOT / "docs/benchmarks-drivers.md"


@dataclass(frozen=True)
class Case(Scene):
    """``size`` endpoints of one driver. ``options`` of its network; ``host`` and ``inside`` are what ip(8) is told."""

    driver: str = ""
    options: str = "{}"
    gateway: bool = True
    needs: tuple[str, ...] = ()

    def prepare(self) -> None:
        ip_batch(
            f"link add {PARENT} type veth peer name parent1\nlink set {PARENT} up\nlink set parent1 up\n"
            f"address add 192.0.2.1/24 dev {PARENT}"
        )

    def network(self, bridge: Bridge) -> str:
        gateway = f", gateway: {bridge.gateway}" if self.gateway else ""
        return f"{{driver: {self.driver}, subnets: [{{cidr: {bridge.subnet}{gateway}}}], options: {self.options}}}"

    def more(self) -> Iterator[tuple[str, str]]:
        text = "apiVersion: cnm/v1alpha1\nkind: Node\nmetadata: {name: bench}\nspec: {addresses: [192.0.2.1]}\n"
        yield "node.yaml", text

    def on_host(self) -> Iterator[str]:
        bridge = self.bridges[0]
        match self.driver:
            case "bridge" | "vrf" | "vlan" | "overlay":
                filtering = " vlan_filtering 1 vlan_default_pvid 0" if self.driver == "vlan" else ""
                yield f"link add br0 type bridge{filtering}"
                if self.driver == "vrf":
                    yield "link add vrf0 type vrf table 100"
                    yield "link set vrf0 up"
                    yield "link set br0 master vrf0"
                if self.driver == "overlay":
                    yield "link add vx0 type vxlan id 4096 local 192.0.2.1 dstport 4789 nolearning"
                    yield "link set vx0 master br0 up"
                if self.driver != "vlan":
                    yield f"address add {bridge.gateway}/{PREFIX} dev br0"
                yield "link set br0 up"
                for endpoint in self.endpoints:
                    yield f"link add {endpoint.host} type veth peer name eth0 netns {endpoint.netns}"
                    yield f"link set {endpoint.host} master br0 up"
            case kind:
                mode = {"macvlan": "bridge", "macvtap": "bridge"}.get(kind, "l2")
                for endpoint in self.endpoints:
                    yield f"link add link {PARENT} name eth0 netns {endpoint.netns} type {kind} mode {mode}"

    def ports(self) -> Iterator[str]:
        """For bridge(8): VLANs of ports."""
        if self.driver == "vlan":
            for endpoint in self.endpoints:
                yield f"vlan add dev {endpoint.host} vid 10 pvid untagged"

    def by_ip(self) -> dict[str, float]:
        clock = perf_counter()
        ip_batch("\n".join(self.on_host()))
        if ports := "\n".join(self.ports()):
            subprocess.run(["bridge", "-batch", "-"], input=ports + "\n", text=True, check=True, capture_output=True)
        for endpoint in self.endpoints:
            inside = ["link set eth0 up", f"address add {endpoint.address}/{PREFIX} dev eth0"]
            ip_batch("\n".join([*inside, f"route add default via {endpoint.gateway}"]), netns=endpoint.netns)
        made = perf_counter() - clock
        clock = perf_counter()
        if any(line.startswith("link add v0 ") for line in self.on_host()):
            names = ["br0", *(endpoint.host for endpoint in self.endpoints)]
            ip_batch("\n".join([*(f"link set {name} group {GROUP}" for name in names), f"link delete group {GROUP}"]))
        else:  # the links are in the namespaces: a group is deleted in each
            for endpoint in self.endpoints:
                ip_batch(f"link set eth0 group {GROUP}\nlink delete group {GROUP}", netns=endpoint.netns)
        return {"ip: write": made, "ip: delete": perf_counter() - clock}

    def by_cnm(self) -> dict[str, float]:
        for folder in (STATE, FOLDER):
            shutil.rmtree(folder, ignore_errors=True)
        self.write_manifests(FOLDER)
        with NetworkController(state_dir=STATE, node=self.node) as controller:
            planned = controller.plan([str(FOLDER)])
            report = controller.execute(planned)
            if not report.ok:
                raise RuntimeError(f"{self.driver}: {report.failed[:3]} {report.left[:3]}")
            seconds = {f"cnm: {stage}": value for stage, value in report.seconds.items()}
            again = controller.plan([str(FOLDER)])
            if not again.plan.empty:
                raise RuntimeError(f"{self.driver}: {[op.id for op in again.plan.ops()][:5]}")
            report = controller.execute(controller.plan_destroy())
            if not report.ok:
                raise RuntimeError(f"{self.driver}: {report.failed[:3]} {report.left[:3]}")
            return seconds | {f"cnm: destroy {stage}": value for stage, value in report.seconds.items()}


def cases(size: int) -> list[Case]:
    ridden = f"{{parent: {PARENT}}}"
    width = min(size, 1_000)  # a bridge has 1,023 ports
    return [
        Case(width, 1, driver="bridge", needs=("link:bridge", "link:veth")),
        Case(width, 1, driver="vlan", options="{id: 10}", gateway=False, needs=("bridge-vlan",)),
        Case(width, 1, driver="vrf", options="{vrf: red}", needs=("link:vrf",)),
        Case(width, 1, driver="overlay", needs=("link:vxlan",)),
        Case(size, 1, driver="macvlan", options=ridden, needs=("link:macvlan",)),
        Case(size, 1, driver="macvtap", options=ridden, needs=("link:macvtap",)),
        Case(size, 1, driver="ipvlan", options=ridden, needs=("link:ipvlan",)),
        Case(size, 1, driver="ipvtap", options=ridden, needs=("link:ipvtap",)),
    ]


def measure(case: Case, times: int) -> dict[str, float] | str:
    """Medians of all figures; or why there are none."""
    rounds: list[dict[str, float]] = []
    for _ in range(times):
        found: dict[str, float] = {}
        for play in (case.by_ip, case.by_cnm):
            with Host("bench") as host, host.entered():
                machine = Machine()
                lacking = next(filter(None, (missing(machine, need) for need in case.needs)), "")
                machine.close()
                if lacking:
                    return lacking
                case.prepare()
                case.make_namespaces()
                found |= play()
        rounds.append(found)
    return {name: median(found[name] for found in rounds) for name in rounds[0]}


HEAD = """# Each driver beside `ip -batch`

Written by `python -m tests.bench.drivers` and, for what this machine's kernel lacks, `python -m tests.bench.drivers --lane` (root).
`ip -batch` makes the interfaces, addresses, default routes and VLANs of ports, one batch on the host and one in each
namespace; cnm sets sysctls, guards and isolation as well (execute), and looks afterwards whether all of it holds (verify).
Deletion: by link group with ip, in each namespace where the interfaces stand there. A ratio below 1: cnm is the faster one.
"""
PARTS = ("this machine", "the lane")


def part(results: Sequence[tuple[str, int, dict[str, float] | str]], where: str, machine: str, times: int) -> str:
    """One table, of one kernel."""
    rounds = f"medians of {times} rounds" if times > 1 else "of one round"
    lines = [
        f"## On {where}",
        "",
        f"{machine}; seconds are {rounds}.",
        "",
        "| driver | endpoints | `ip -batch` s | execute s | ratio | with verify s | ratio | delete by group s | destroy s | ratio |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for driver, size, found in results:
        if isinstance(found, str):
            continue
        floor, execute = found["ip: write"], found["cnm: execute"]
        whole = sum(value for name, value in found.items() if name.startswith("cnm: ") and "destroy" not in name)
        gone, destroy = found["ip: delete"], found["cnm: destroy execute"]
        lines.append(
            f"| {driver} | {size:,} | {floor:.2f} | {execute:.2f} | {execute / floor:.2f} | {whole:.2f} | {whole / floor:.2f} "
            f"| {gone:.2f} | {destroy:.2f} | {destroy / gone:.2f} |"
        )
    lacking = {driver: found for driver, _size, found in results if isinstance(found, str)}
    if lacking:
        lines += ["", f"Not here: {', '.join(f'{driver} ({why})' for driver, why in lacking.items())}."]
    return "\n".join([*lines, ""])


def write(new: str, where: str) -> None:
    """Put one part into the page, beside what the other kernel's said."""
    text = PAGE.read_text() if PAGE.exists() else ""
    parts = {
        name: f"## On {name}{rest.partition('## On ')[0]}"
        for name in PARTS
        if (rest := text.partition(f"## On {name}")[2])
    }
    parts[where] = new
    PAGE.write_text("\n".join([HEAD, *(parts[name].rstrip() + "\n" for name in PARTS if name in parts)]))


def here(size: int, only: Sequence[str], times: int) -> Iterator[str]:
    """One line of JSON a driver."""
    for case in cases(size):
        if not only or case.driver in only:
            yield json.dumps([case.driver, case.size, measure(case, times)])


def wanting(size: int) -> list[str]:
    """The drivers that this machine's kernel cannot have."""
    with Host("bench") as host, host.entered():
        machine = Machine()
        found = [case.driver for case in cases(size) if any(missing(machine, need) for need in case.needs)]
        machine.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.drivers", description=__doc__.partition("\n")[0])
    parser.add_argument("size", nargs="?", type=int, default=SIZE)
    parser.add_argument("--lane", action="store_true", help="on the lane's kernel, what this machine's lacks")
    parser.add_argument("--only", default="", metavar="DRIVER,...", help="only these drivers")
    parser.add_argument("--rounds", type=int, default=0, help=f"default {ROUNDS}, in the lane {LANE_ROUNDS}")
    parser.add_argument("--lines", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    only = [name for name in given.only.split(",") if name]
    times = given.rounds or (LANE_ROUNDS if given.lane else ROUNDS)
    if given.lines:
        for line in here(given.size, only, times):
            print(line, flush=True)
        return 0
    where, kernel = PARTS[given.lane], f"Linux {os.uname().release}, {os.cpu_count()} processors"
    results: list[tuple[str, int, dict[str, float] | str]] = []
    if given.lane:
        kernel = "User Mode Linux 6.12, one processor: a system call costs about 30 times what it does elsewhere"
        only = only or wanting(given.size)
        words = [
            sys.executable,
            "-m",
            "tests.bench.drivers",
            "--lines",
            f"--only={','.join(only)}",
            f"--rounds={times}",
        ]
        lines = _in_guest([*words, str(given.size)])
    else:
        lines = here(given.size, only, times)
    for line in lines:
        print(line, flush=True)
        results.append(json.loads(line))
        write(part(results, where, kernel, times), where)  # as far as it is: it takes a while
    return 0


def _in_guest(words: Sequence[str]) -> Iterator[str]:
    """Raises CalledProcessError."""
    guest = [sys.executable, "-m", "tests.lane.guest", "--machine", Guest.UML, *words]
    with subprocess.Popen(guest, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        yield from (line.strip() for line in process.stdout if line.startswith("["))
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, guest)


if __name__ == "__main__":
    sys.exit(main())
