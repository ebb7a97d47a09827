"""Published ports as they are written, to ranges with a beginning, an end and where they lead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from reconciler.manifest.document import Document
from reconciler.manifest.kinds.endpoint import Publish
from reconciler.topology.view import PublishView

if TYPE_CHECKING:
    from reconciler.topology.resolve import Problems


def publications(document: Document, entries: Sequence[Publish], problems: Problems) -> Iterable[PublishView]:
    """One for each range of the host's; numbers that follow each other are one range."""
    for number, entry in enumerate(entries):
        at = document.at("spec", "publish", number)
        inside = _numbers(entry.port)
        outside = _numbers(entry.host_port) if entry.host_port is not None else inside
        if len(inside) != len(outside):
            problems.add(
                document.at("spec", "publish", number, "hostPort"),
                f"{len(outside)} ports of the host for {len(inside)} of the sandbox",
                "write as many of the one as of the other",
            )
            continue
        start = 0
        for index in range(1, len(outside) + 1):
            ended = index == len(outside)
            if ended or (outside[index] - outside[index - 1], inside[index] - inside[index - 1]) != (1, 1):
                first, last = outside[start], outside[index - 1]
                yield PublishView(entry.protocol, first, last, inside[start], tuple(entry.host_addresses), at)
                start = index


def _numbers(ports: int | str | Sequence[int | str]) -> list[int]:
    found: list[int] = []
    for part in ports if isinstance(ports, list) else [ports]:
        if isinstance(part, int):
            found.append(part)
        else:
            first, _, last = str(part).partition("-")
            found += range(int(first), int(last) + 1)
    return found
