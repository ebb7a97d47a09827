"""The figures as a page and a chart: ratios, with the facts of the machine they were taken on."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from statistics import median

from tests.bench.cnm import BY_IP, PEAK
from tests.bench.links import KINDS
from tests.bench.scene import Scene

STAGES = ("write", "read", "delete")
TITLES = {
    "write": "Build them: links, masters, addresses, routes (cnm: execute and verify)",
    "read": "Read all of it (cnm: an empty plan, manifests parsed)",
    "delete": "Take them away (cnm: execute and verify of destroy)",
    "make": "Make them",
}
FLOOR = "raw netlink"
STEEP = 1.25  # an exponent above this is worse than n log n at these sizes (n log n from 100 to 10,000: about 1.15)


@dataclass
class Results:
    """``seconds[scene][contender][stage]`` are the figures of all rounds; ``absent`` says why one is not there."""

    seconds: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    scenes: dict[str, Scene] = field(default_factory=dict)
    netns: dict[str, float] = field(default_factory=dict)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)  # (contender, scene) -> what it said

    def scene(self, scene: Scene, seconds: float) -> None:
        """``seconds`` that `ip netns add` took for its namespaces."""
        self.scenes[scene.title] = scene
        self.netns[scene.title] = seconds

    def add(self, title: str, contender: str, seconds: Mapping[str, float]) -> None:
        stages = self.seconds.setdefault(title, {}).setdefault(contender, {})
        for stage, value in seconds.items():
            stages.setdefault(stage, []).append(value)

    def middle(self, title: str, contender: str, stage: str) -> float | None:
        values = self.seconds.get(title, {}).get(contender, {}).get(stage)
        return median(values) if values else None

    def count(self, title: str, contender: str, stage: str) -> int:
        return len(self.seconds.get(title, {}).get(contender, {}).get(stage, ()))

    def ratio(self, title: str, contender: str, to: str, stage: str, to_stage: str = "") -> float | None:
        value, base = self.middle(title, contender, stage), self.middle(title, to, to_stage or stage)
        return value / base if value is not None and base else None


def machine() -> list[str]:
    """What the figures depend on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    ip = subprocess.run(["ip", "-V"], capture_output=True, text=True, check=True).stdout.strip()
    return [
        f"Linux {platform.release()}",
        f"{os.cpu_count()} CPUs, {cpu}",
        f"Python {platform.python_version()}",
        ip,
        f"load before the run {os.getloadavg()[0]:.1f}",
    ]


def markdown(results: Results, facts: list[str]) -> str:
    """The whole page."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`; how to read it, and where the time goes, is in [performance.md](performance.md).",
        "Each endpoint is an interface in a network namespace of its own with an address and a default route. The",
        "namespaces stand beforehand; everything runs in private hosts. Figures are medians of as many rounds as column n",
        "says: who is slow plays fewer. Ratios are to plain netlink with 200 messages a send (`tests/bench/floor.py`), the least that",
        "this kernel lets anybody pay from Python; it does nothing else: no marks, no filter, no sysctls, no second look.",
        "",
        "Machine: " + "; ".join(facts) + ".",
        "",
        "![ratios](benchmarks.svg)",
        *targets(results),
        *_start(results),
    ]
    for title in [title for title in results.seconds if title not in results.scenes and title != "start"]:
        lines += ["", f"## {title}", "", *_table(results, title, "make", 0)]
    for title, scene in results.scenes.items():
        if title not in results.seconds:
            continue
        lines += ["", f"## {title[0].upper()}{title[1:]}", ""]
        lines += [
            f"`ip -batch` with `netns add` for all of them, before everything: {results.netns[title] * 1000:.0f} ms."
        ]
        lines += [""]
        if len(results.seconds[title]) > 1:
            for stage in STAGES:
                lines += _table(results, title, stage, scene.size)
        lines += _stages(results, title)
    lines += _growth(results)
    if results.absent:
        lines += ["", "## Not measured", "", *(f"- {name}: {why}" for name, why in sorted(results.absent.items()))]
    if results.failed:
        lines += ["", "## Failed", ""]
        lines += [f"- {name}, {title}: {why}" for (name, title), why in sorted(results.failed.items())]
    return "\n".join(lines).rstrip() + "\n"


# What it is to show: (in words, a ratio or figure, what it may be at most, how it is written).
def targets(results: Results) -> list[str]:
    rows: list[tuple[str, float | None, float, str]] = []

    def least(text: str, value: float | None, bound: float) -> None:
        rows.append((text, value, -bound, "x"))

    def most(text: str, value: float | None, bound: float, unit: str = "x") -> None:
        rows.append((text, value, bound, unit))

    for title in ("1,000 endpoints on 10 bridges", "10,000 endpoints on 10 bridges"):
        most(f"{title}: execute and verify, to raw netlink", results.ratio(title, "cnm", FLOOR, "write"), 2)
        most(f"{title}: destroy, to deletion by group", results.ratio(title, "cnm", FLOOR, "delete"), 2)
    hundred = "100 endpoints on 10 bridges"
    for title in ("1,000 endpoints on 10 bridges", hundred):
        ratio = results.ratio(title, "CNI bridge", "cnm", "write")
        least(f"{title}: execute and verify, faster than the CNI bridge plugin", ratio, 8)
    big = "10,000 endpoints on 10 bridges"
    for title, command, whole, base, stage in (
        (hundred, "cnm command", "read", "ip", "read"),
        (big, "cnm", "read, the whole command", "cnm", BY_IP),
    ):
        parsed = results.ratio(title, "cnm", base, "read", stage)
        most(f"{title}: empty plan, manifests parsed, to ip's three reads of the same", parsed, 2)
        most(f"{title}: the whole command, to the same", results.ratio(title, command, base, whole, stage), 6)
    for kind in KINDS:
        many, few = f"1,000 links: {kind}", f"100 links: {kind}"
        most(f"{many}: to raw netlink", results.ratio(many, "cnm", FLOOR, "make"), 1.5)
        least(f"{many}: faster than pyroute2's loop", results.ratio(many, "pyroute2", "cnm", "make"), 3)
        for peer in ("systemd-networkd", "netplan", "NetworkManager", "ifupdown2"):
            title = many if results.middle(many, peer, "make") else few
            least(f"{title}: faster than {peer}", results.ratio(title, peer, "cnm", "make"), 8)
    for stage in results.seconds.get(big, {}).get("cnm", {}):
        if stage.startswith("watch: ") and not stage.endswith("waiting too"):
            value = results.middle(big, "cnm", stage)
            most(f"10,000 endpoints, {stage}, CPU", value * 1000 if value is not None else None, 5, " ms")
    most("10,000 endpoints: memory of an empty plan", results.middle(big, "cnm", PEAK), 300, " MB")
    for name in ("cnm version", "cnm --help"):
        value, alone = results.middle("start", "", name), results.middle("start", "", "import typer")
        most(f"{name}: to importing typer alone", value / alone if value and alone else None, 1.5)
    lines = ["", "## What it is to show", "", "| | measured | wanted | |", "|---|--:|--:|---|"]
    for text, value, bound, unit in rows:
        if value is None:
            continue
        wanted = f"<= {bound:g}{unit}" if bound > 0 else f">= {-bound:g}{unit}"
        held = value <= bound if bound > 0 else value >= -bound
        lines.append(f"| {text} | {value:.{1 if value >= 10 else 2}f}{unit} | {wanted} | {'' if held else 'missed'} |")
    return lines if len(lines) > 5 else []


def _start(results: Results) -> list[str]:
    alone = results.middle("start", "", "import typer")
    if not alone:
        return []
    rows = [
        f"| {name} | {middle * 1000:.0f} | {middle / alone:.2f} |"
        for name in results.seconds["start"][""]
        if (middle := results.middle("start", "", name)) is not None
    ]
    return ["", "## Start", "", "| | ms | x import of typer alone |", "|---|--:|--:|", *rows]


def _table(results: Results, title: str, stage: str, size: int) -> list[str]:
    floor = results.middle(title, FLOOR, stage)
    rows = []
    for contender, stages in results.seconds[title].items():
        for name in stages:
            if name == stage or name.startswith(f"{stage}, "):
                middle = results.middle(title, contender, name)
                assert middle is not None
                label = contender + name.removeprefix(stage)
                ratio = f"{middle / floor:.2f}" if floor else "-"
                each = f" {middle / size * 1000:.3f} |" if size else ""
                count = results.count(title, contender, name)
                rows.append((middle, f"| {label} | {middle * 1000:.1f} |{each} {ratio} | {count} |"))
    columns = ["", "ms", "ms an endpoint", "x floor", "n"] if size else ["", "ms", "x floor", "n"]
    head = ["| " + " | ".join(columns) + " |", "|---|" + "--:|" * (len(columns) - 1)]
    titled = [f"### {TITLES[stage]}", ""] if size else []
    return [*titled, *head, *(row for _middle, row in sorted(rows)), ""]


def _stages(results: Results, title: str) -> list[str]:
    rows = []
    for contender, stages in results.seconds[title].items():
        for name in stages:
            middle = results.middle(title, contender, name) or 0
            if ": " in name:
                rows.append(f"| {name} | {middle * 1000:.1f} ms |")
            elif name == PEAK:
                rows.append(f"| {name} | {middle:.0f} MB |")
    return ["### cnm, stage by stage", "", "| | |", "|---|--:|", *rows, ""] if rows else []


def _growth(results: Results) -> list[str]:
    """Exponents of each stage of cnm and of the floor against size, by least squares on logarithms."""
    families: dict[str, list[Scene]] = {}
    for scene in results.scenes.values():
        families.setdefault(scene.family, []).append(scene)
    rows = []
    for family, members in families.items():
        if len(members) < 2:
            continue
        for contender in (FLOOR, "cnm"):
            for stage in results.seconds.get(members[0].title, {}).get(contender, {}):
                points = [(scene.size, results.middle(scene.title, contender, stage)) for scene in members]
                # Below a tenth of a second a stage is mostly what does not depend on size.
                small = 0.0 if stage.startswith("watch: ") else 0.02
                known = [(size, value) for size, value in points if value and (value > small or size == points[-1][0])]
                if len(known) >= 2 and (known[-1][1] > 0.1 or not small):
                    slope = exponent(known)
                    rows.append(f"| {family} | {contender}: {stage} | {slope:.2f}{' !' if slope > STEEP else ''} |")
    if not rows:
        return []
    return [
        "",
        "## Growth",
        "",
        f"Time is size to the power of this; 1 is linear, and above {STEEP} (!) it is worse than n log n. Where the floor",
        "grows so as well, it is the kernel.",
        "",
        "| scene | stage | exponent |",
        "|---|---|--:|",
        *rows,
    ]


def exponent(points: list[tuple[int, float]]) -> float:
    """The slope of log(value) over log(size)."""
    logs = [(math.log(size), math.log(value)) for size, value in points]
    x, y = (sum(values) / len(logs) for values in zip(*logs, strict=True))
    return float(sum((a - x) * (b - y) for a, b in logs) / sum((a - x) ** 2 for a, _ in logs))


def svg(results: Results) -> str:
    """Bars on a logarithmic scale: the scenes in which most took part."""
    groups = list(_groups(results))
    top = max((ratio for _title, bars in groups for _name, ratio in bars), default=1.0)
    scale = 400 / (math.log10(max(top, 1) * 1.3) + 0.5)
    parts: list[str] = []
    y = 34
    for title, bars in groups:
        parts.append(f'<text x="8" y="{y + 14}" font-weight="bold">{escape(title)}</text>')
        y += 22
        for contender, ratio in bars:
            width = max(2.0, (math.log10(max(ratio, 0.4)) + 0.5) * scale)
            colour = "#2b6cb0" if contender.startswith("cnm") else "#a0aec0"
            parts.append(f'<text x="170" y="{y + 12}" text-anchor="end">{escape(contender)}</text>')
            parts.append(f'<rect x="178" y="{y}" width="{width:.1f}" height="15" fill="{colour}"/>')
            parts.append(f'<text x="{182 + width:.1f}" y="{y + 12}">{ratio:.1f}x</text>')
            y += 20
        y += 6
    title = "Time as a multiple of plain netlink (log scale)"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="680" height="{y + 12}" font-family="sans-serif" font-size="12">'
    back = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, back, f'<text x="8" y="20" font-size="13">{title}</text>', *parts, "</svg>"]) + "\n"


def _groups(results: Results) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    for title, contenders in results.seconds.items():
        for stage in ("make", *STAGES):
            floor = results.middle(title, FLOOR, stage)
            bars = [
                (contender, value / floor)
                for contender in contenders
                if floor and contender != FLOOR and (value := results.middle(title, contender, stage)) is not None
            ]
            wide = len(bars) >= 5 or (
                title in results.scenes and results.scenes[title].size >= 1_000 and len(bars) >= 2
            )
            if wide:
                yield f"{title}{'' if stage == 'make' else f': {stage}'}", sorted(bars, key=lambda bar: bar[1])
