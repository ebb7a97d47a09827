"""A sandbox whose root means harm: reading it has limits, and says whose fault it is."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from time import perf_counter

import pytest
from rich.console import Console

from reconciler.errors import ConflictError, ObservationError
from reconciler.host.rtnl import MOST_IN_A_SANDBOX
from reconciler.planner.file import snapshot_from_data, snapshot_to_data
from reconciler.review.terminal import show_observation
from tests.kernel.private import isolated, run
from tests.kernel.scene import Scene
from tests.kernel.test_bridge import endpoints, network

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")


def routes(count: int, how: str) -> str:
    """A batch for ip(8)."""
    return "".join(
        f"route {how} blackhole 11.{number >> 16}.{number >> 8 & 255}.{number & 255}/32\n" for number in range(count)
    )


@isolated
def test_a_flood_of_routes_ends_in_an_error_that_names_the_sandbox(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1) + endpoints("front/a", "front/b"))
        run("ip", "-n", "a", "-batch", "-", stdin=routes(MOST_IN_A_SANDBOX + 1, "add"))
        start = perf_counter()
        with pytest.raises(ObservationError, match=f"sandbox a has more than {MOST_IN_A_SANDBOX:,} routes"):
            scene.plan()
        assert perf_counter() - start < 10
        run("ip", "-n", "a", "-batch", "-", stdin=routes(MOST_IN_A_SANDBOX + 1, "del"))
        assert scene.plan().empty


@isolated
def test_names_that_the_kernel_takes_and_a_terminal_should_not(tmp_path: Path) -> None:
    """An interface name may hold any byte but NUL, blanks, slash and colon (dev_valid_name in net/core/dev.c)."""
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1) + endpoints("front/a"))
        run("ip", "-n", "a", "link", "add", "\x1b[2J<b>`|", "type", "bridge")
        run("ip", "-n", "a", "link", "set", "\x1b[2J<b>`|", "alias", "two\nlines\x1b]0;title\x07")
        assert scene.plan().empty
        seen = scene.controller.show([str(tmp_path)], everything=True)
        assert any("\x1b" in key.name for key in seen.items)
        console = Console(file=StringIO(), width=300)
        show_observation(console, seen)
        assert isinstance(console.file, StringIO)
        assert "\x1b" not in console.file.getvalue()
        assert snapshot_from_data(json.loads(json.dumps(snapshot_to_data(seen)))).items == seen.items
        with pytest.raises(ConflictError, match="is not ours and would go along"):
            scene.destroy()
