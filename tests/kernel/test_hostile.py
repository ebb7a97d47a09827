"""A sandbox whose root means harm: reading it has limits, and says whose fault it is."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from time import perf_counter

import pytest
from rich.console import Console

from reconciler.errors import ConflictError
from reconciler.host.rtnl import MOST_IN_A_SANDBOX
from reconciler.planner.file import snapshot_from_data, snapshot_to_data
from reconciler.resources.link import link_key
from reconciler.resources.netns import netns_key
from reconciler.review.terminal import show_observation
from tests.kernel.private import isolated, run
from tests.kernel.scene import Scene
from tests.kernel.test_bridge import endpoints, network
from tests.kernel.test_watch import write
from tests.kernel.watched import Watched

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")


def routes(count: int, how: str) -> str:
    """A batch for ip(8)."""
    return "".join(
        f"route {how} blackhole 11.{number >> 16}.{number >> 8 & 255}.{number & 255}/32\n" for number in range(count)
    )


@isolated
def test_a_flood_of_routes_holds_up_just_the_sandbox_that_is_flooded(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1) + endpoints("front/a", "front/b"))
        run("ip", "-n", "a", "-batch", "-", stdin=routes(MOST_IN_A_SANDBOX + 1, "add"))
        start = perf_counter()
        plan = scene.plan()
        assert perf_counter() - start < 10
        assert plan.empty
        words = f"sandbox a could not be read: it has more than {MOST_IN_A_SANDBOX:,} routes"
        waiting = {pending.key for pending in plan.pending}
        assert {pending.reason for pending in plan.pending} == {words}
        assert {link_key("a", "eth0"), netns_key("a")} <= waiting
        assert not {key for key in waiting if "b" in (key.netns, key.name)}
        assert f"{words}: nothing in it is changed" in {problem.message for problem in plan.warnings}

        run("ip", "-n", "b", "link", "set", "eth0", "down")  # all else is kept up
        run("ip", "-n", "a", "link", "set", "eth0", "down")
        scene.write(network("front", 1) + endpoints("front/a", "front/b", "front/c"))
        report = scene.controller.execute(scene.controller.plan([str(tmp_path)]))
        assert report.ok, (report.failed, report.left)
        assert scene.reaches("b", scene.address("front/c"))
        assert "DOWN" in run("ip", "-n", "a", "-br", "link", "show", "eth0")

        seen = scene.controller.plan([str(tmp_path)]).observation
        again = snapshot_from_data(json.loads(json.dumps(snapshot_to_data(seen))))
        assert again.unread == seen.unread == {"a": words}

        scene.write(network("front", 1) + endpoints("front/b"))  # what floods can be removed
        report = scene.controller.execute(scene.controller.plan([str(tmp_path)]))
        assert report.ok, (report.failed, report.left)
        assert not Path("/run/netns/a").exists()
        assert scene.plan().empty


@isolated
def test_a_sandbox_that_is_no_longer_flooded_is_brought_in_line(tmp_path: Path) -> None:
    """Under watch: the others are kept up meanwhile."""
    with Scene(tmp_path) as scene:
        write(scene, "a", "b")
        with Watched(tmp_path, "--interval", "2") as watched:
            watched.hear("state", state="ok")
            run("ip", "-n", "a", "-batch", "-", stdin=routes(MOST_IN_A_SANDBOX + 1, "add"))
            watched.hear("state", state="pending")
            for name in ("a", "b"):
                run("ip", "-n", name, "link", "set", "eth0", "down")
            watched.wait(lambda: "UP" in run("ip", "-n", "b", "-br", "link", "show", "eth0"), "b is repaired")
            run("ip", "-n", "a", "route", "flush", "table", "main")
            watched.wait(lambda: "UP" in run("ip", "-n", "a", "-br", "link", "show", "eth0"), "a is repaired")
            watched.hear("state", 2, state="ok")


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
