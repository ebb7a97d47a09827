"""The figures as a page and a chart: ratios, with the facts of the machine they were taken on."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from statistics import median

STAGES = ("write", "read", "delete")
TITLES = {
    "write": "Build them: links, masters, addresses, routes (cnm: execute and verify)",
    "read": "Read all of it (cnm: an empty plan, manifests parsed)",
    "delete": "Take them away",
}
FLOOR = "raw netlink"


@dataclass
class Results:
    """``seconds[size][contender][stage]`` are the figures of all rounds; ``absent`` says why one is not there."""

    rounds: int
    width: int
    seconds: dict[int, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    netns: dict[int, float] = field(default_factory=dict)

    def add(self, size: int, contender: str, seconds: Mapping[str, float]) -> None:
        stages = self.seconds.setdefault(size, {}).setdefault(contender, {})
        for stage, value in seconds.items():
            stages.setdefault(stage, []).append(value)

    def middle(self, size: int, contender: str, stage: str) -> float | None:
        values = self.seconds[size].get(contender, {}).get(stage)
        return median(values) if values else None


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
    load = os.getloadavg()[0]
    return [
        f"Linux {platform.release()}",
        f"{os.cpu_count()} CPUs, {cpu}",
        f"Python {platform.python_version()}",
        ip,
        f"load before the run {load:.1f}",
    ]


def markdown(results: Results, facts: list[str]) -> str:
    """The whole page."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Each endpoint is a veth from a bridge into a network namespace of its own, with an",
        "address and a default route. The namespaces stand beforehand; everything runs in a private host.",
        f"Figures are medians of {results.rounds} rounds; ratios are to plain netlink with 200 messages a send",
        "(`tests/bench/floor.py`), the least that this kernel lets anybody pay from Python.",
        "",
        "Machine: " + "; ".join(facts) + ".",
        "",
        "![ratios](benchmarks.svg)",
    ]
    for size in sorted(results.seconds):
        lines += ["", f"## {size:,} endpoints on {results.width} bridges", ""]
        if size in results.netns:
            lines += [
                f"`ip -batch` with `netns add` for all of them, before everything: {results.netns[size] * 1000:.0f} ms.",
                "",
            ]
        for stage in STAGES:
            lines += _table(results, size, stage)
        lines += _stages(results, size)
    if results.absent:
        lines += [
            "## Not measured",
            "",
            *(f"- {name}: {reason}" for name, reason in sorted(results.absent.items())),
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def _table(results: Results, size: int, stage: str) -> list[str]:
    floor = results.middle(size, FLOOR, stage)
    rows = []
    for contender, stages in results.seconds[size].items():
        for name in stages:
            if name == stage or name.startswith(f"{stage}, "):
                middle = results.middle(size, contender, name)
                assert middle is not None
                label = contender + name.removeprefix(stage)
                ratio = f"{middle / floor:.2f}" if floor else "-"
                rows.append((middle, f"| {label} | {middle * 1000:.1f} | {middle / size * 1000:.3f} | {ratio} |"))
    head = [f"### {TITLES[stage]}", "", "| | ms | ms an endpoint | x floor |", "|---|--:|--:|--:|"]
    return [*head, *(row for _middle, row in sorted(rows)), ""]


def _stages(results: Results, size: int) -> list[str]:
    rows = []
    for contender, stages in results.seconds[size].items():
        for name in stages:
            if ": " in name:
                rows.append(f"| {name} | {(results.middle(size, contender, name) or 0) * 1000:.1f} ms |")
            elif " MB " in name:
                rows.append(f"| {name} | {results.middle(size, contender, name):.0f} MB |")
    return ["### cnm, stage by stage", "", "| | |", "|---|--:|", *rows, ""] if rows else []


def svg(results: Results) -> str:
    """Bars on a logarithmic scale, one group a stage, at the largest size that has them all."""
    size = max(results.seconds)
    bars: list[tuple[str, str, float]] = []
    for stage in STAGES:
        floor = results.middle(size, FLOOR, stage)
        for contender in results.seconds[size]:
            value = results.middle(size, contender, stage)
            if floor and value:
                bars.append((stage, contender, value / floor))
    top = max(ratio for _stage, _name, ratio in bars)
    scale = 420 / max(math.log10(max(top, 1) * 1.2) + 0.5, 1)
    parts: list[str] = []
    y, last = 34, ""
    for stage, contender, ratio in bars:
        if stage != last:
            parts.append(f'<text x="8" y="{y + 14}" font-weight="bold">{stage}</text>')
            y, last = y + 22, stage
        width = max(2.0, (math.log10(max(ratio, 0.4)) + 0.5) * scale)
        colour = "#2b6cb0" if contender.startswith("cnm") else "#a0aec0"
        parts.append(f'<text x="170" y="{y + 12}" text-anchor="end">{escape(contender)}</text>')
        parts.append(f'<rect x="178" y="{y}" width="{width:.1f}" height="15" fill="{colour}"/>')
        parts.append(f'<text x="{182 + width:.1f}" y="{y + 12}">{ratio:.1f}x</text>')
        y += 20
    title = f"{size:,} endpoints on {results.width} bridges: time as a multiple of plain netlink (log scale)"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="680" height="{y + 12}" font-family="sans-serif" font-size="12">'
    back = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, back, f'<text x="8" y="20" font-size="13">{title}</text>', *parts, "</svg>"]) + "\n"
