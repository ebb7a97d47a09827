"""``make bench`` (BENCH_ARGS="--minutes 10 --rounds 5 --only TEXT"): measure, then write docs/benchmarks.{md,svg}."""

from __future__ import annotations

import argparse
import gc
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import NamedTuple, TypeVar

from reconciler.errors import CnmError
from tests.bench import cnm, floor, links, peers, report
from tests.bench.peers import SLOW
from tests.bench.scene import Scene, wait_for_the_dead
from tests.bench.scenes import scenes
from tests.lab import Host
from tests.lab.host import ROOT

# (scene, share of the time). Beside the bare tools; the smaller a scene, the sooner its five rounds are over.
BESIDE = [
    (Scene(100, 1), 1),
    (Scene(100, 10), 1),
    (Scene(1_000, 1), 2),
    (Scene(1_000, 10), 6),
    (Scene(1_000, 100), 2),
    (Scene(10_000, 100), 2),
    (Scene(10_000, 10), 30),
]
ALONE = 1  # a share for each scene of cnm alone
LINKS = {"bridge": 6, "vxlan": 2, "veth": 2, "macvlan": 2}  # a bridge takes the kernel 20 ms to end, whoever made it
STARTS = 3  # a round: one takes a fifth of a second, and a moment of the machine weighs as much as what is compared
ENOUGH = 10.0  # seconds that a slow peer may take of a scene: who needs longer plays fewer rounds, one at least
COMPARED = Scene(1_000, 10).title  # where the CNI plugins play as many rounds as cnm
ALWAYS = (report.FLOOR, "cnm")  # these play every round


class Contender(NamedTuple):
    """``absent`` says why it cannot be measured; ``largest`` is the size up to which it is, in ``besides`` all the same,
    for as many rounds as there are."""

    name: str
    play: Callable[[Scene], dict[str, float]]
    largest: int = 1_000_000
    absent: str = ""
    besides: str = ""

    def plays(self, scene: Scene, spent: Spent) -> bool:
        if self.absent:
            return False
        return scene.title == self.besides or (scene.size <= self.largest and spent.again(self.name))


def contenders(stages: cnm.Stages) -> list[Contender]:
    return [
        Contender(report.FLOOR, floor.play),
        Contender("ip", peers.play_ip, 1_000),
        Contender("cnm", stages.play),
        Contender("cnm command", cnm.play_command, cnm.LARGE),
        Contender("pyroute2", peers.play_pyroute2, SLOW),
        Contender("CNI bridge", peers.play_cni, SLOW, peers.cni_absent(), COMPARED),
    ]


class Clock:
    """Shares of the time that all of it may take."""

    def __init__(self, seconds: float, shares: int) -> None:
        self._left, self._shares = seconds, shares

    def deadline(self, share: int) -> float:
        """Until when something with this share may begin another round. What it leaves over, others have."""
        self._begun = monotonic()
        allowed = self._left * share / max(self._shares, 1)
        self._shares -= share
        return self._begun + allowed

    def done(self) -> None:
        self._left -= monotonic() - self._begun


def measure(minutes: float, rounds: int, only: str) -> report.Results:
    """All contenders in turn, round by round, so that a busy moment of the machine meets them all."""
    results = report.Results()
    stages = cnm.Stages()
    everyone = contenders(stages)
    beside = [(scene, share) for scene, share in BESIDE if only in scene.title]
    alone = [scene for scene in scenes() if only in scene.title]
    kinds = [kind for kind in links.KINDS if only in f"links: {kind}"]
    clock = Clock(
        minutes * 60, sum(share for _, share in beside) + ALONE * len(alone) + sum(LINKS[kind] for kind in kinds)
    )
    for _ in range(STARTS * rounds):
        results.add("start", "", cnm.startup())
    for kind in kinds:
        deadline = clock.deadline(LINKS[kind])
        _links(results, kind, rounds, deadline)
        clock.done()
    for scene, share in [*((scene, ALONE) for scene in alone), *beside]:
        chosen = [c for c in everyone if c.name == "cnm"] if scene in alone else everyone
        for contender in chosen:
            if contender.absent:
                results.absent[contender.name] = contender.absent
        _endpoints(results, scene, chosen, rounds, clock.deadline(share))
        clock.done()
    results.failed |= {("cnm watch", title): words for title, words in stages.failed.items()}
    return results


class Spent:
    """What each has taken of a scene."""

    def __init__(self) -> None:
        self._all: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def again(self, name: str) -> bool:
        return name in ALWAYS or name not in self._all or self._all[name] + self._last[name] <= ENOUGH

    @contextmanager
    def by(self, name: str) -> Iterator[None]:
        begun = monotonic()
        yield
        self._last[name] = monotonic() - begun
        self._all[name] = self._all.get(name, 0.0) + self._last[name]


T = TypeVar("T")


def _tried(results: report.Results, name: str, title: str, play: Callable[[], T]) -> T | None:
    """None for what failed; the page and the exit status tell. It is not tried again."""
    if (name, title) in results.failed:
        return None
    try:
        return play()
    except (CnmError, RuntimeError, AssertionError, subprocess.CalledProcessError, OSError) as error:
        results.failed[name, title] = " ".join(str(error).split())[:300]
        print(f"{title}: {name} FAILED: {results.failed[name, title]}", flush=True)
        return None


def _endpoints(results: report.Results, scene: Scene, chosen: list[Contender], rounds: int, deadline: float) -> None:
    with Host("bench") as host, host.entered():
        wait_for_the_dead()
        scene.prepare()
        results.scene(scene, scene.make_namespaces())
        spent = Spent()
        for number in range(rounds):
            for contender in chosen:
                if not contender.plays(scene, spent):
                    continue
                gc.collect()
                with spent.by(contender.name):
                    seconds = _tried(results, contender.name, scene.title, partial(contender.play, scene))
                if seconds is None:
                    continue
                results.add(scene.title, contender.name, seconds)
                shown = ", ".join(
                    f"{stage} {seconds[stage] * 1000:.0f} ms" for stage in report.STAGES if stage in seconds
                )
                print(f"{scene.title}, round {number + 1}: {contender.name}: {shown}", flush=True)
            if monotonic() > deadline:
                break


def _links(results: report.Results, kind: str, rounds: int, deadline: float) -> None:
    """A hundred by everybody; a thousand by those who can."""
    for count in (SLOW, 1_000):
        many = links.Links(kind, count)
        spent = Spent()
        for number in range(rounds):
            for tool in links.tools():
                if tool.absent:
                    results.absent[tool.name] = tool.absent
                elif kind in tool.kinds and count <= tool.largest and spent.again(tool.name):
                    with spent.by(tool.name):
                        seconds = _tried(results, tool.name, many.title, partial(links.play, many, tool))
                    if seconds is None:
                        continue
                    results.add(many.title, tool.name, {"make": seconds})
                    print(f"{many.title}, round {number + 1}: {tool.name}: {seconds * 1000:.0f} ms", flush=True)
            if monotonic() > deadline:
                break


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="about how long it may take (10)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, while there is time; the median counts (5)")
    parser.add_argument("--only", default="", help="measure scenes with this in their title only, and write nothing")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder of benchmarks.md and .svg (docs)")
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the floor, too, keeps a socket for each namespace
    facts = report.machine()
    try:
        results = measure(arguments.minutes, arguments.rounds, arguments.only)
    except OSError as error:
        sys.exit(f"bench: {error}")
    page = report.markdown(results, facts)
    if not arguments.only:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / "benchmarks.md").write_text(page)
        (arguments.output / "benchmarks.svg").write_text(report.svg(results))
    print("\n" + page)
    if results.failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
