"""A watch of many endpoints, and what it spends when one thing of them changes: processor time, not the clock's.

The loop is that of `cnm watch`, in this process. Its time counts from the change until nothing more is to be done: what
it hears, reads, plans, applies, verifies and writes down, with all threads and the processes that it starts. Waiting, for
disks too (fsync), is no processor time; it is in the column beside.
"""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable
from contextlib import closing
from signal import ITIMER_REAL, SIGALRM, set_wakeup_fd, setitimer, signal
from socket import socketpair
from statistics import median
from time import monotonic, perf_counter, process_time
from typing import Any

from reconciler.engine.applied import Applied
from reconciler.engine.controller import NetworkController
from reconciler.engine.watch.loop import Settings, Watch
from tests.bench.place import FOLDER, STATE
from tests.bench.scene import Scene, document, ip_batch

REPEATS = 9
PATIENCE = 600.0  # seconds: to begin with, a watch looks at all of it twice
REST = 0.25  # seconds after the last event
SMALL = "small"  # the sandbox of the one endpoint that has a file of its own

Change = Callable[[Scene, int], None]


def measure(
    scene: Scene, controller: NetworkController, look: Callable[[Callable[[], None]], None] = lambda act: act()
) -> dict[str, float]:
    """Seconds of processor time (``watch: ...``) and of the clock (``..., waiting too``), medians, on a host where the
    scene stands. ``look`` is given each repetition to carry out, for a profiler."""
    ip_batch(f"netns add {SMALL}")
    _write_small(scene, 0)
    told: list[str] = []
    failures: list[str] = []

    def tell(event: str, **about: Any) -> None:
        told.append(event)
        if event in ("failed", "trouble", "invalid", "refused", "conflict", "fight"):
            failures.append(f"{event}: {about}"[:400])

    applied = Applied(STATE / "lasting", controller.owner, "bench")
    settings = Settings(interval=36_000, applied=applied.sources, remember=applied.remember)
    found: dict[str, list[float]] = {}
    with closing(Watch(controller, [str(FOLDER)], settings, tell)) as watch, closing(_Alarm(watch)) as alarm:
        _until(watch, alarm, told, "repaired")
        for name, change in CHANGES.items():
            for number in range(1, REPEATS + 1):
                told.clear()
                change(scene, number)
                took: dict[str, float] = {}

                def act(took: dict[str, float] = took) -> None:
                    cpu, clock = _cpu(), perf_counter()
                    last = _until(watch, alarm, told, "repaired")
                    took["cpu"], took["clock"] = _cpu() - cpu, last - clock

                look(act)
                found.setdefault(f"watch: {name}", []).append(took["cpu"])
                found.setdefault(f"watch: {name}, waiting too", []).append(took["clock"])
                if failures:
                    raise RuntimeError(failures[0])
    (FOLDER / f"{SMALL}.yaml").unlink()
    return {name: median(values) for name, values in found.items()}


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return process_time() + children.ru_utime + children.ru_stime


class _Alarm:
    """Wakes the loop when there was rest. By a signal: a thread for it would be processor time of what is measured."""

    def __init__(self, watch: Watch) -> None:
        self._ours, self._kernels = socketpair()
        for end in (self._ours, self._kernels):
            end.setblocking(False)
        self._before = signal(SIGALRM, lambda *_: None), set_wakeup_fd(self._kernels.fileno())
        watch.serve(self)

    def fileno(self) -> int:
        return self._ours.fileno()

    def serve(self) -> None:
        self._ours.recv(64)

    def close(self) -> None:
        setitimer(ITIMER_REAL, 0)
        signal(SIGALRM, self._before[0])
        set_wakeup_fd(self._before[1])
        self._ours.close()
        self._kernels.close()

    def ring(self, seconds: float) -> None:
        setitimer(ITIMER_REAL, seconds)


def _until(watch: Watch, alarm: _Alarm, told: list[str], event: str) -> float:
    """Let the loop run until it has told this and then come to rest; when the last pass ended that did something."""
    begun = last = perf_counter()
    count, rung = -1, 0.0

    def stop() -> str:
        nonlocal count, last, rung
        if len(told) != count:
            count, last = len(told), perf_counter()
        if event in told and not rung:
            rung = monotonic() + REST
            alarm.ring(REST + 0.01)  # not before: nothing else would wake the loop
        if not rung and perf_counter() - begun > PATIENCE:
            raise RuntimeError(f"the watch did not tell {event!r} in {PATIENCE:.0f} s: {told[-5:]}")
        return "rest" if rung and monotonic() >= rung else ""

    watch.run(stop)
    return last


def _write_small(scene: Scene, number: int) -> None:
    bridge = scene.bridges[0]
    stem, third, _ = bridge.gateway.rsplit(".", 2)
    address = f"{stem}.{int(third) + 15}.200"
    route = f"{{to: 198.51.{100 + number // 200}.{number % 200}/32, via: {bridge.gateway}}}"
    texts = [
        document("Sandbox", SMALL, f"{{stack: {{path: /run/netns/{SMALL}}}}}"),
        document(
            "Endpoint",
            SMALL,
            f"{{network: {bridge.name}, sandbox: {SMALL}, addresses: [{address}], routes: [{route}]}}",
        ),
    ]
    draft = FOLDER / ".draft"
    draft.write_text("---\n".join(texts))
    draft.replace(FOLDER / f"{SMALL}.yaml")


def _drift(_scene: Scene, number: int) -> None:
    ip_batch(f"link set {_port(number)} mtu 1400")


def _drift_inside(scene: Scene, number: int) -> None:
    endpoint = scene.endpoints[number]
    ip_batch("route delete default", netns=endpoint.netns)


def _port(number: int) -> str:
    """Another one each time: who undoes a repair again and again waits ever longer for the next."""
    found = subprocess.run(
        ["ip", "-br", "link", "show", "master", "br-b0"], capture_output=True, text=True, check=True
    ).stdout
    return found.splitlines()[number].split()[0].partition("@")[0]


CHANGES: dict[str, Change] = {
    "a port of a bridge that somebody changed": _drift,
    "a route that somebody removed in a sandbox": _drift_inside,
    "a small file that changed (a route of an endpoint)": _write_small,
}
