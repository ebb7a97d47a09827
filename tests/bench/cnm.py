"""cnm itself: the stages from inside, and the whole command from outside."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter

from reconciler.engine.controller import NetworkController
from reconciler.errors import CnmError
from tests.bench import watch
from tests.bench.peers import read_by_ip
from tests.bench.place import FOLDER, STATE, TOLD
from tests.bench.scene import Scene

LOOKS = 3  # empty plans a round
LARGE = 1_000  # above this the command is measured on what the stages have made: making it anew takes minutes
PEAK = "peak MB of an empty plan"
BY_IP = "ip -j: the same three reads, from a hundred namespaces"
WATCHED = ("1,000 endpoints on 10 bridges", "10,000 endpoints on 10 bridges")


class Stages:
    """Every stage's seconds in one process, as a program that embeds the controller sees them; the first time, what a
    watch spends as well."""

    def __init__(self) -> None:
        self._watched: set[str] = set()
        self.failed: dict[str, str] = {}  # what a watch said, by scene; all else of the scene counts

    def play(self, scene: Scene) -> dict[str, float]:
        first = scene.title in WATCHED and scene.title not in self._watched
        self._watched.add(scene.title)
        return play_stages(scene, self._watch if first else None)

    def _watch(self, scene: Scene, controller: NetworkController) -> dict[str, float]:
        try:
            return watch.measure(scene, controller)
        except (RuntimeError, CnmError, OSError) as error:
            self.failed[scene.title] = " ".join(str(error).split())[:300]
            return {}


Watching = Callable[[Scene, NetworkController], dict[str, float]]


def play_stages(scene: Scene, watching: Watching | None = None) -> dict[str, float]:
    start_afresh(scene)
    with NetworkController(state_dir=STATE, node=scene.node) as controller:
        planned = controller.plan([str(FOLDER)])
        seconds = {f"plan, first: {stage}": value for stage, value in planned.seconds.items()}
        report = controller.execute(planned)
        if not report.ok:
            raise RuntimeError(f"apply failed: {report.failed[:3]} {report.left[:3]}")
        seconds |= {f"apply: {stage}": value for stage, value in report.seconds.items()}
        seconds["write"] = sum(report.seconds.values())
        scene.works()
        empty = [controller.plan([str(FOLDER)]) for _ in range(LOOKS if scene.size <= LARGE else 1)]
        if not empty[-1].plan.empty:
            raise RuntimeError(f"the second plan is not empty: {[op.id for op in empty[-1].plan.ops()][:5]}")
        for stage in empty[-1].seconds:
            seconds[f"plan, empty: {stage}"] = median(planned.seconds[stage] for planned in empty)
        seconds["read"] = median(sum(planned.seconds.values()) - planned.seconds["load"] for planned in empty)
        if scene.size > LARGE:
            seconds["read, the whole command"], seconds[PEAK] = _plan_by_command(scene)
            seconds[BY_IP] = read_by_ip(scene)
        if watching is not None:
            seconds |= watching(scene, controller)
        clock = perf_counter()
        planned = controller.plan_destroy()
        seconds["destroy: plan"] = perf_counter() - clock
        report = controller.execute(planned)
        if not report.ok:
            raise RuntimeError(f"destroy failed: {report.failed[:3]} {report.left[:3]}")
        seconds |= {f"destroy: {stage}": value for stage, value in report.seconds.items()}
        seconds["delete"] = sum(report.seconds.values())
    return seconds


def play_command(scene: Scene) -> dict[str, float]:
    """The `cnm` command as a user runs it: interpreter, imports and parsing included. Also its peak memory in MB."""
    start_afresh(scene)
    seconds: dict[str, float] = {}
    common = ["--state-dir", str(STATE)]
    seconds["write"], _ = _command("apply", "--yes", "--quiet", "--node", scene.node, *common, str(FOLDER))
    scene.works()
    seconds["read"], seconds[PEAK] = _plan_by_command(scene)
    seconds["delete"], _ = _command("destroy", "--yes", "--quiet", *common)
    return seconds


def _plan_by_command(scene: Scene) -> tuple[float, float]:
    return _command("plan", "--node", scene.node, "--state-dir", str(STATE), str(FOLDER))


def start_afresh(scene: Scene) -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    shutil.rmtree(STATE, ignore_errors=True)
    scene.write_manifests(FOLDER)


# What a process tells of its own memory. The kernel's accounts of an ended child begin with its parent's (ru_maxrss).
_TELLING = f"""
import atexit, pathlib
tell = lambda: pathlib.Path({str(TOLD)!r}).write_text(pathlib.Path("/proc/self/status").read_text())
atexit.register(tell)
from reconciler.cli.main import main
main()
"""


def _command(*arguments: str) -> tuple[float, float]:
    """(seconds, peak MB) of one `cnm` call. Raises RuntimeError when it fails."""
    clock = perf_counter()
    done = subprocess.run([sys.executable, "-c", _TELLING, *arguments], stdout=subprocess.DEVNULL, check=False)
    seconds = perf_counter() - clock
    if done.returncode:
        raise RuntimeError(f"cnm {' '.join(arguments)}: exit status {done.returncode}")
    peak = next(line for line in TOLD.read_text().splitlines() if line.startswith("VmHWM:"))
    return seconds, int(peak.split()[1]) / 1024


def startup() -> dict[str, float]:
    """Seconds of `cnm version` and `cnm --help`, and of an interpreter that imports typer and nothing else."""
    code = "from reconciler.cli.main import main; main()"
    runs = {
        "import typer": ["import typer"],
        "cnm version": [code, "version"],
        "cnm --help": [code, "--help"],
    }
    found = {}
    for name, arguments in runs.items():
        clock = perf_counter()
        subprocess.run([sys.executable, "-c", *arguments], stdout=subprocess.DEVNULL, check=True)
        found[name] = perf_counter() - clock
    return found
