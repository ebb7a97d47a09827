"""``make bench`` (BENCH_ARGS="--sizes 100,1000,10000 --rounds 5"): measure, then write docs/benchmarks.{md,svg}."""

from __future__ import annotations

import argparse
import gc
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.bench import cnm, floor, peers, report
from tests.bench.scene import Scene
from tests.lab import Host
from tests.lab.host import ROOT

SLOW = 100  # contenders that take seconds for this many are measured up to here


class Contender(NamedTuple):
    """``absent`` says why it cannot be measured; ``largest`` is the size up to which it is."""

    name: str
    play: Callable[[Scene], dict[str, float]]
    largest: int = 1_000_000
    absent: str = ""


def contenders() -> list[Contender]:
    return [
        Contender(report.FLOOR, floor.play),
        Contender("ip", peers.play_ip),
        Contender("cnm", cnm.play_stages),
        Contender("cnm command", cnm.play_command),
        Contender("pyroute2", peers.play_pyroute2, SLOW),
        Contender("CNI bridge", peers.play_cni, SLOW, peers.cni_absent()),
    ]


def measure(sizes: list[int], width: int, rounds: int, only: str) -> report.Results:
    """All contenders in turn, round by round, so that a busy moment of the machine meets them all."""
    results = report.Results(rounds, width)
    chosen = [contender for contender in contenders() if only in contender.name or contender.name == report.FLOOR]
    for contender in chosen:
        if contender.absent:
            results.absent[contender.name] = contender.absent
    for size in sizes:
        scene = Scene(size, width)
        with Host("bench") as host, host.entered():
            results.netns[size] = scene.make_namespaces()
            for number in range(rounds):
                for contender in chosen:
                    if contender.absent or size > contender.largest:
                        continue
                    gc.collect()
                    seconds = contender.play(scene)
                    results.add(size, contender.name, seconds)
                    shown = ", ".join(
                        f"{stage} {seconds[stage] * 1000:.0f} ms" for stage in report.STAGES if stage in seconds
                    )
                    print(f"{size:,} endpoints, round {number + 1}: {contender.name}: {shown}", flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--sizes", default="100,1000", help="numbers of endpoints, separated by commas (100,1000)")
    parser.add_argument("--bridges", type=int, default=10, help="bridges that they are spread over (10)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the median counts (5)")
    parser.add_argument("--only", default="", help="measure the floor and contenders with this in their name")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder of benchmarks.md and .svg (docs)")
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the floor, too, keeps a socket for each namespace
    facts = report.machine()
    try:
        results = measure(
            [int(size) for size in arguments.sizes.split(",")], arguments.bridges, arguments.rounds, arguments.only
        )
    except OSError as error:
        sys.exit(f"bench: {error}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    page = report.markdown(results, facts)
    (arguments.output / "benchmarks.md").write_text(page)
    (arguments.output / "benchmarks.svg").write_text(report.svg(results))
    print("\n" + page)


if __name__ == "__main__":
    main()
