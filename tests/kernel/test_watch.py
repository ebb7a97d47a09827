"""``cnm watch``: what others change is put back, what the files say is followed, what is not valid changes nothing."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler.errors import LockError, StaleError
from tests.kernel.private import answers, isolated, run
from tests.kernel.scene import Scene, settle
from tests.kernel.watched import Watched

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth", "ping")

NETWORK = """\
kind: Network
metadata: {name: front}
spec: {subnets: [{cidr: 10.1.0.0/24}]}
"""


def endpoint(name: str, address: str = "") -> str:
    more = f", addresses: [{address}]" if address else ""
    return f"""\
kind: Sandbox
metadata: {{name: {name}}}
---
kind: Endpoint
metadata: {{name: {name}}}
spec: {{network: front, sandbox: {name}{more}}}
"""


def documents(*names: str) -> str:
    return "\n---\n".join(part.strip() for part in (NETWORK, *map(endpoint, names)))


def write(scene: Scene, *names: str) -> None:
    """Manifests, with all addresses chosen, in place at once."""
    scene.write(documents(*names))
    scene.controller.lock([str(scene.folder)])


def in_sync(scene: Scene) -> bool:
    return scene.plan(locked=True).empty


@isolated
def test_it_applies_repairs_and_follows_the_files(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        write(scene, "a", "b")
        with Watched(tmp_path, "--interval", "600") as watched:
            watched.hear("state", state="ok")
            assert in_sync(scene)
            address = scene.address("front/b").partition("/")[0]
            for wound in (
                "ip -n a link delete eth0",
                "ip -n a address flush dev eth0",
                "ip -n a link set eth0 down",
                "ip -n a link set eth0 name lan0",
                "ip -n a link set eth0 netns 1 name stolen",
                "ip -n a route flush table main",  # also the kernel's own, through which the gateway is reached
                "ip link set br-front down",
                "ip link delete br-front",
                "ip netns delete a",
                "nft delete table inet cnm",
            ):
                before = len(watched.said("repaired"))
                run(*wound.split())
                watched.wait(lambda n=before: len(watched.said("repaired")) > n, wound)
                watched.wait(lambda: in_sync(scene), f"{wound}: all is as before")
            watched.wait(lambda: scene.reaches("a", address), "packets pass again")
            write(scene, "a", "c")
            watched.wait(lambda: Path("/run/netns/c").exists() and not Path("/run/netns/b").exists(), "c for b")
            watched.wait(lambda: in_sync(scene), "the files are followed")


@isolated
def test_what_is_not_valid_keeps_the_last_good_state(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        write(scene, "a")
        with Watched(tmp_path, "--interval", "600") as watched:
            watched.hear("state", state="ok")
            (tmp_path / "broken.yaml").write_text("kind: Network\nmetadata: {name: [}\n")
            said = watched.hear("invalid")
            assert "broken.yaml:2" in said["message"]
            assert said["kept"] == "the last good state is kept"
            run("ip", "-n", "a", "link", "delete", "eth0")  # still repaired
            watched.hear("repaired", 2)
            (tmp_path / "broken.yaml").unlink()
            watched.hear("valid")
            scene.write(documents("a", "b"))  # b has no address in the lock file
            assert "lock" in watched.hear("invalid", 2)["message"]
            assert not Path("/run/netns/b").exists()
            (tmp_path / "all.yaml").unlink()  # nothing at all is no manifest either
            watched.hear("invalid", 3)
            assert Path("/run/netns/a").exists()


@isolated
def test_files_in_the_making_and_exchanged_links(tmp_path: Path) -> None:
    """As editors and git-sync do it."""
    for revision, names in (("one", ("a",)), ("two", ("a", "b"))):
        folder = tmp_path / ".worktrees" / revision
        folder.mkdir(parents=True)
        with Scene(folder) as scene:
            write(scene, *names)
    (tmp_path / "current").symlink_to(".worktrees/one")
    with Watched(tmp_path / "current", "--interval", "600") as watched:
        watched.hear("state", state="ok")
        (tmp_path / "next").symlink_to(".worktrees/two")
        (tmp_path / "next").rename(tmp_path / "current")
        watched.wait(lambda: Path("/run/netns/b").exists(), "the second revision")
        folder = tmp_path / ".worktrees" / "two"
        text = (folder / "all.yaml").read_text()
        (folder / ".all.yaml.swp").write_text("b0VIM")
        (folder / "4913").touch()
        (folder / "all.yaml~").write_text(text)
        with (folder / "all.yaml").open("w") as file:  # truncated, and written in two halves
            file.write(text[: len(text) // 2])
            file.flush()
            time.sleep(1.5)
            assert Path("/run/netns/b").exists(), "half a file is not what is wanted"
            file.write(text[len(text) // 2 :])
        time.sleep(1.0)
        assert not watched.said("invalid")
        assert Path("/run/netns/b").exists()


@isolated
def test_only_observing_changes_nothing(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        write(scene, "a")
        scene.apply()
        settle()
        with Watched(tmp_path, "--mode", "observe", "--interval", "600") as watched:
            watched.hear("state", state="ok")
            run("ip", "-n", "a", "route", "delete", "default")
            assert watched.hear("drift")["key"] == "route/@a/0.0.0.0/0"
            watched.hear("state", state="drift")
            assert not scene.plan().empty
            run("ip", "-n", "a", "route", "add", "default", "via", "10.1.0.1", "proto", "147")
            watched.hear("state", 2, state="ok")
            assert not watched.said("repaired")


@isolated
def test_a_fight_is_named_and_stopped(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        write(scene, "a")
        with Watched(tmp_path, "--interval", "600", "--fight-limit", "4") as watched:
            watched.hear("state", state="ok")
            hostile = subprocess.Popen(
                ["bash", "-c", "while sleep 0.01; do ip -n a route delete default proto 147 2>/dev/null; done"]
            )
            try:
                said = watched.hear("fight")
                assert said["key"] == "route/@a/0.0.0.0/0"
                assert "process" in said["by"]
                count = len(watched.said("repaired"))
                time.sleep(1.5)
                assert len(watched.said("repaired")) == count, "left alone"
                run("ip", "-n", "a", "address", "flush", "dev", "eth0")  # all else is still kept up
                watched.wait(lambda: "10.1.0." in run("ip", "-n", "a", "-br", "-4", "address"), "the address is back")
            finally:
                hostile.kill()
                hostile.wait()
            write(scene, "a", "b")  # other manifests, another try
            watched.wait(lambda: Path("/run/netns/b").exists(), "b")


@isolated
def test_two_of_them_and_an_apply_do_no_damage(tmp_path: Path) -> None:
    """A second watch of the same owner is refused in words; what is applied beside the first waits its turn."""
    with Scene(tmp_path) as scene:
        write(scene, "a", "b")
        with Watched(tmp_path, "--interval", "600") as one:
            one.hear("state", state="ok")
            two = Watched(tmp_path, "--interval", "600")
            assert two.process.wait(timeout=60) == 1
            assert "another watch of this owner runs on this host" in two.log.read_text()
            for number in range(6):
                run("ip", "-n", "ab"[number % 2], "link", "delete", "eth0", check=False)  # it may be gone
                with suppress(LockError, StaleError):  # the watch was there first
                    scene.controller.execute(scene.controller.plan([str(tmp_path)]))
            one.wait(lambda: in_sync(scene), "converged")
            scene.controller.host.reload()
            assert scene.controller.host.inventory.netns.keys() == {"a", "b"}
        scene.destroy()


@isolated
def test_a_process_that_comes_back_gets_its_endpoint(tmp_path: Path) -> None:
    run("ip", "netns", "add", "theirs")
    with Scene(tmp_path) as scene:
        scene.write(
            "\n---\n".join(
                [
                    NETWORK.strip(),
                    "kind: Sandbox\nmetadata: {name: a}\nspec: {stack: {path: /run/netns/theirs}}",
                    "kind: Endpoint\nmetadata: {name: a}\nspec: {network: front, sandbox: a}",
                ]
            )
        )
        scene.controller.lock([str(tmp_path)])
        with Watched(tmp_path, "--interval", "600") as watched:
            watched.hear("state", state="ok")
            assert "10.1.0." in run("ip", "-n", "theirs", "-br", "-4", "address")
            run("ip", "netns", "delete", "theirs")
            watched.hear("state", state="pending")
            run("ip", "netns", "add", "theirs")
            watched.wait(lambda: "10.1.0." in run("ip", "-n", "theirs", "-br", "-4", "address"), "its endpoint")
            watched.hear("state", 2, state="ok")
            assert answers("ip", "netns", "exec", "theirs", "ping", "-c1", "-W2", "10.1.0.1")
