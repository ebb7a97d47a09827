"""Sandboxes of others under watch: containers and processes that go and come back get their endpoints again."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.kernel.dockerd import Dockerd
from tests.kernel.private import answers, isolated, run
from tests.kernel.scene import Scene
from tests.kernel.test_watch import NETWORK
from tests.kernel.watched import Watched

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth", "ping")


def attach(scene: Scene, stack: str) -> None:
    """An endpoint in somebody else's namespace, and one of our own that it may talk to."""
    scene.write(
        "\n---\n".join(
            [
                NETWORK.strip(),
                f"kind: Sandbox\nmetadata: {{name: web}}\nspec: {{stack: {{{stack}}}}}",
                "kind: Endpoint\nmetadata: {name: web}\nspec: {network: front, sandbox: web, addresses: [10.1.0.5]}",
                "kind: Sandbox\nmetadata: {name: a}",
                "kind: Endpoint\nmetadata: {name: a}\nspec: {network: front, sandbox: a, addresses: [10.1.0.6]}",
            ]
        )
    )
    scene.controller.lock([str(scene.folder)])


def reached(scene: Scene) -> bool:
    return scene.reaches("a", "10.1.0.5")


@pytest.mark.requires("root", "command:dockerd", "command:docker", "command:busybox")
@isolated
def test_a_container_that_goes_and_comes_back(tmp_path: Path) -> None:
    """Told by the events of a real Docker daemon: the look at everything is ten minutes away."""
    with Scene(tmp_path) as scene, Dockerd() as docker:
        attach(scene, "docker: web")
        with Watched(tmp_path, "--interval", "600") as watched:
            watched.hear("state", state="pending")
            docker.sleeper("web")
            watched.wait(lambda: reached(scene), "a container that was not there at the beginning")
            watched.hear("state", state="ok")
            assert "10.1.0.5" in docker("exec", "web", "/bin/busybox", "ip", "address", "show", "dev", "eth0")
            docker("exec", "web", "/bin/busybox", "ping", "-c1", "-W2", "10.1.0.6")

            docker("restart", "--time=0", "web")  # another process, another namespace
            watched.wait(lambda: reached(scene), "it was started again")

            docker("rm", "--force", "web")
            watched.hear("state", 2, state="pending")
            assert not [line for line in run("ip", "-br", "link", "show", "type", "veth").splitlines() if "web" in line]
            docker.sleeper("web")
            watched.wait(lambda: reached(scene), "another container of that name")

            docker.kill()  # Docker itself crashes; when it starts again, it ends what it finds of its containers
            assert reached(scene)
            docker.start()
            watched.hear("state", 3, state="pending")
            docker("start", "web")
            watched.wait(lambda: reached(scene), "Docker is back, and is listened to again")
            assert not watched.said("failed")


def sleeper(pid: int) -> subprocess.Popen[bytes]:
    """A process with a network namespace of its own, and with this number."""
    for _ in range(20):
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
        process = subprocess.Popen(["unshare", "--net", "sleep", "600"])
        if process.pid == pid:
            here = Path("/proc/self/ns/net").readlink()
            while Path(f"/proc/{pid}/ns/net").readlink() == here:
                time.sleep(0.01)
            return process
        process.kill()
        process.wait()
    raise AssertionError(f"no process got the number {pid}")


@isolated
def test_a_process_that_goes_and_comes_back(tmp_path: Path) -> None:
    """Its end is told by the kernel at once (pidfd); that the number is taken again, by the look at everything."""
    with Scene(tmp_path) as scene:
        process = sleeper(20_000)
        attach(scene, "pid: 20000")
        with Watched(tmp_path, "--interval", "2") as watched:
            watched.wait(lambda: reached(scene), "its endpoint")
            inside = ["nsenter", "--target", "20000", "--net"]
            assert answers(*inside, "ping", "-c1", "-W2", "10.1.0.6")
            run(*inside, "ip", "link", "delete", "eth0")
            watched.wait(lambda: reached(scene), "drift in there is repaired")
            for count in (1, 2):
                process.kill()
                process.wait()
                watched.hear("state", count, state="pending")
                watched.wait(lambda: not reached(scene), "the kernel ends a namespace when it comes to it")
                process = sleeper(20_000)
                watched.wait(lambda: reached(scene), "its endpoint, in another process of that number")
            run(*inside, "ip", "link", "add", "theirs", "type", "bridge")
            process.kill()
            process.wait()
        scene.destroy()
