"""Names, asked for from inside sandboxes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel.private import isolated, run
from tests.kernel.scene import OUTSIDE4, OUTSIDE6, Scene, add_outside
from tests.kernel.test_bridge import endpoints, network

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")

SERVER = str(Path(__file__).with_name("nameserver.py"))
NAMES = "  names: true"


def dig(sandbox: str, name: str, kind: str = "A", *more: str) -> str:
    """``RCODE answer ...``."""
    return run("ip", "netns", "exec", sandbox, sys.executable, SERVER, "ask", name, kind, *more).strip()


@contextmanager
def upstream(netns: str, log: Path) -> Iterator[None]:
    """A name server that notes what it is asked."""
    log.touch()
    inside = ("ip", "netns", "exec", netns) if netns else ()
    process = subprocess.Popen([*inside, sys.executable, SERVER, "serve", str(log)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.kill()
        process.wait()


def with_servers(text: str, sandbox: str, *servers: str) -> str:
    place = f"kind: Sandbox\nmetadata: {{name: {sandbox}}}"
    return text.replace(place, f"{place}\nspec: {{dns: {{servers: [{', '.join(repr(s) for s in servers)}]}}}}")


@isolated
def test_names_are_known_where_networks_are_shared(tmp_path: Path) -> None:
    Path("/etc/resolv.conf").write_text("")
    with Scene(tmp_path) as scene:
        manifests = (
            network("front", 1, more=NAMES)
            + network("back", 2, more=NAMES)
            + endpoints("front/a", "front/b", "back/c", "front/d", "back/d")
        )
        aliased = "spec: {network: front, sandbox: b}"
        scene.apply(manifests.replace(aliased, "spec: {network: front, sandbox: b, aliases: [store, mall]}"))
        b4, b6 = scene.address("front/b"), scene.address("front/b", 6)
        for name in ("b", "B.", "store", "mall", "b.front", "store.front"):
            assert dig("a", name) == f"NOERROR {b4}"
            assert dig("a", name, "AAAA") == f"NOERROR {b6}"
            assert dig("a", name, "A", "tcp") == f"NOERROR {b4}"
        assert dig("a", "b", "MX") == "NOERROR"
        assert dig("a", "a") == f"NOERROR {scene.address('front/a')}"
        for address in (b4, b6):
            pointer = "2.0.0.10.in-addr.arpa"
            pointer = run(
                sys.executable, "-c", f"import ipaddress; print(ipaddress.ip_address('{address}').reverse_pointer)"
            )
            assert dig("a", pointer.strip(), "PTR") == "NOERROR b.front."
            assert dig("c", pointer.strip(), "PTR") == "NXDOMAIN", "nobody else's"
        assert dig("a", "c") == "NXDOMAIN"
        assert dig("a", "c.back") == "NXDOMAIN"
        assert dig("c", "b") == "NXDOMAIN"
        both = sorted((scene.address("front/d"), scene.address("back/d")))
        assert dig("d", "c") == f"NOERROR {scene.address('back/c')}", "who is on two networks sees both"
        assert dig("d", "b") == f"NOERROR {b4}"
        assert dig("d", "d") == f"NOERROR {' '.join(both)}"
        assert dig("a", "d") == f"NOERROR {scene.address('front/d')}"
        assert dig("d", "d.back") == f"NOERROR {scene.address('back/d')}"
        assert dig("a", "localhost") == "NOERROR 127.0.0.1"
        assert dig("a", "example.com") == "NXDOMAIN", "this host has no servers"


@isolated
def test_endpoints_come_and_go_and_no_question_is_lost(tmp_path: Path) -> None:
    Path("/etc/resolv.conf").write_text("")
    with Scene(tmp_path) as scene:
        names = network("front", 1, more=NAMES)
        scene.apply(names + endpoints("front/a", "front/b"))
        command = ["ip", "netns", "exec", "a", sys.executable, SERVER, "flood", "b", "6"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as flood:
            assert flood.stdout is not None
            assert flood.stdout.readline() == "ready\n"
            scene.apply(names + endpoints("front/a", "front/b", "front/c"))
            assert dig("a", "c") == f"NOERROR {scene.address('front/c')}"
            assert dig("c", "a") == f"NOERROR {scene.address('front/a')}"
            scene.apply(names + endpoints("front/a", "front/b"))
            assert dig("a", "c") == "NXDOMAIN"
            asked, failed = map(int, flood.stdout.read().split())
        assert asked > 100
        assert failed == 0


@isolated
def test_unknown_names_go_to_the_servers_and_known_ones_never(tmp_path: Path) -> None:
    add_outside()
    log = tmp_path / "asked"
    with Scene(tmp_path) as scene, upstream("outside", log):
        text = (
            network("front", 1, more=NAMES)
            + network("inner", 3, more=f"{NAMES}\n  internal: true")
            + endpoints("front/a", "front/b", "inner/c")
        )
        for sandbox, server in (("a", OUTSIDE4), ("b", OUTSIDE6), ("c", OUTSIDE4)):
            text = with_servers(text, sandbox, "192.0.2.99" if sandbox == "a" else server, server)
        scene.apply(text)
        for sandbox in ("a", "b"):
            assert dig(sandbox, "example.com") == "NOERROR 198.51.100.1"
            assert dig(sandbox, "example.com", "TXT") == "NOERROR cut"
            assert len(dig(sandbox, "example.com", "TXT", "tcp").split()) == 21
        asked = log.read_text()
        assert asked.count("example.com. A") == 2
        known = [("b", "A"), ("b", "MX"), ("c", "A"), ("c.inner", "AAAA")]
        known += [("2.0.1.10.in-addr.arpa", "PTR"), ("200.0.3.10.in-addr.arpa", "PTR")]
        for name, kind in known:
            dig("a", name, kind)
        assert dig("c", "example.com") == "NXDOMAIN", "no way out, no servers"
        assert dig("c", "c") == f"NOERROR {scene.address('inner/c')}"
        assert log.read_text() == asked, "what is known here is asked nowhere else"


@isolated
def test_the_hosts_own_servers_where_none_are_named_and_an_error_where_none_answers(tmp_path: Path) -> None:
    Path("/etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1, more=NAMES) + endpoints("front/a"))
        assert dig("a", "example.com") == "SERVFAIL"
        with upstream("", tmp_path / "asked"):
            assert dig("a", "example.com") == "NOERROR 198.51.100.1", "although only the host reaches it"


@isolated
def test_files_of_named_sandboxes(tmp_path: Path) -> None:
    folder = Path("/etc/netns/a")
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1, more=NAMES) + endpoints("front/a", "front/b"))
        assert (folder / "resolv.conf").read_text().splitlines()[1:] == ["nameserver 127.0.0.11"]
        assert run("ip", "netns", "exec", "a", "getent", "ahostsv4", "b").split()[0] == scene.address("front/b")
        assert run("ip", "netns", "exec", "a", "getent", "hosts", "a").split()[0] in (
            scene.address("front/a"),
            scene.address("front/a", 6),
        )
        (folder / "resolv.conf").write_text("nameserver 192.0.2.66\n")
        plan = scene.plan()
        assert [problem.message for problem in plan.conflicts], "what somebody else wrote is not ours to overwrite"
        (folder / "resolv.conf").unlink()
        scene.apply()
        line = (folder / "hosts").read_text().splitlines()[0]
        (folder / "hosts").write_text(f"{line}\n192.0.2.66 b\n")
        assert not scene.plan().empty, "drift"
        scene.apply()
        assert "192.0.2.66" not in (folder / "hosts").read_text()
        scene.destroy()
        assert not folder.exists()


@isolated
def test_sandboxes_of_others_get_a_resolver_too(tmp_path: Path) -> None:
    with (
        subprocess.Popen(["unshare", "-n", "sh", "-c", "ip link set lo up; exec sleep 60"]) as other,
        Scene(tmp_path) as scene,
    ):
        while Path(f"/proc/{other.pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():
            pass
        Path("/etc/resolv.conf").write_text("")
        text = network("front", 1, more=NAMES) + endpoints("front/a", "front/b")
        scene.apply(
            text.replace(
                "metadata: {name: b}\n---", f"metadata: {{name: b}}\nspec: {{stack: {{pid: {other.pid}}}}}\n---", 1
            )
        )
        words = ["nsenter", "-t", str(other.pid), "-n", sys.executable, SERVER, "ask", "a", "A"]
        assert run(*words).strip() == f"NOERROR {scene.address('front/a')}"
        assert not Path("/etc/netns/b").exists()
        said = {row.name: row.facts.get("names", "") for row in scene.controller.status([str(tmp_path)]).rows}
        assert said["a"] == "127.0.0.11, by /etc/netns/a/resolv.conf"
        assert said["b"] == "127.0.0.11 answers; whoever runs it writes that into its resolv.conf"
        scene.destroy()
        other.kill()


@pytest.mark.requires("command:dockerd", "command:docker", "command:busybox", "root")
@isolated
def test_a_docker_container_asks_by_its_own_resolv_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As status and docs/names.md say it: docker run --dns 127.0.0.11."""
    Path("/etc/resolv.conf").write_text("")
    with docker(tmp_path) as socket, Scene(tmp_path / "manifests") as scene:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{socket}")
        inside = ("docker", "exec", "shop", "/bin/busybox")
        run("docker", "run", "--detach", "--name", "shop", "--net", "none", "--dns", "127.0.0.11", "own", "/bin/busybox",
            "sleep", "120")  # fmt: skip
        text = network("front", 1, more=NAMES) + endpoints("front/a", "front/b")
        scene.apply(
            text.replace("metadata: {name: b}\n---", "metadata: {name: b}\nspec: {stack: {docker: shop}}\n---", 1)
        )
        said = {row.name: row.facts.get("names", "") for row in scene.controller.status([str(scene.folder)]).rows}
        assert said["b"] == "127.0.0.11 answers; whoever runs it writes that into its resolv.conf"
        assert scene.address("front/a") in run(*inside, "nslookup", "a")
        assert dig("a", "b") == f"NOERROR {scene.address('front/b')}"
        run("docker", "restart", "--time", "0", "shop")
        scene.apply()
        assert scene.address("front/a") in run(*inside, "nslookup", "a"), "in its new namespace as well"
        scene.destroy()
        run("docker", "rm", "--force", "shop")


@contextmanager
def docker(folder: Path) -> Iterator[Path]:
    """A Docker of the private host's own, without networks, with an image ``own`` that has nothing but busybox."""
    socket = Path("/run/docker.sock")
    (folder / "manifests").mkdir()
    words = [
        "dockerd",
        "--host",
        f"unix://{socket}",
        "--data-root",
        str(folder / "docker"),
        "--exec-root",
        "/run/docker",
    ]
    words += ["--pidfile", "/run/docker.pid", "--storage-driver", "vfs", "--bridge", "none"]
    words += ["--iptables=false", "--ip6tables=false"]
    with (folder / "dockerd.log").open("w") as log, subprocess.Popen(words, stdout=log, stderr=log) as daemon:
        try:
            until = time.monotonic() + 60
            while not socket.exists():
                assert daemon.poll() is None, (folder / "dockerd.log").read_text()
                assert time.monotonic() < until, (folder / "dockerd.log").read_text()
                time.sleep(0.1)
            image = folder / "image" / "bin"
            image.mkdir(parents=True)
            shutil.copy(str(shutil.which("busybox")), image / "busybox")
            run("tar", "-C", str(image.parent), "-cf", str(folder / "own.tar"), "bin")
            run("docker", "--host", f"unix://{socket}", "import", str(folder / "own.tar"), "own")
            yield socket
        finally:
            daemon.terminate()
            daemon.wait(60)


@isolated
def test_many_sandboxes_have_one_small_attendant(tmp_path: Path) -> None:
    """Time and memory: what a sandbox costs, and that an answer among many is as quick as among few."""
    Path("/etc/resolv.conf").write_text("")
    with Scene(tmp_path) as scene:
        scene.apply(many(1))
        least, quick = attendant_memory(), latency("s0", "s0")
        scene.apply(many(MANY))
        most, later = attendant_memory(), latency("s0", f"s{MANY - 2}")
        begun = time.monotonic()
        scene.apply(many(MANY) + "\n---\n" + endpoints("n0/more"))
        more = time.monotonic() - begun
        assert dig("s0", "more") == f"NOERROR {scene.address('n0/more')}"
        figures = {
            "sandboxes": MANY,
            "KiB at one": least,
            "KiB at all": most,
            "ms an answer at one": round(quick * 1000, 2),
            "ms an answer at all": round(later * 1000, 2),
            "s for one more": round(more, 2),
        }
        print(json.dumps(figures))
        assert most - least < 32 * MANY + 8192, figures
        assert later < quick * 3 + 0.005, figures
        assert more < 5 + MANY / 50, figures


MANY = 1000 if os.environ.get("CNM_SOAK") else 40


def many(count: int) -> str:
    """Sandboxes on two networks, each with names."""
    networks = network("n0", 1, more=NAMES).replace(".0/24", ".0/22") + network("n1", 9, more=NAMES).replace(
        ".0/24", ".0/22"
    )
    return networks + endpoints(*(f"n{number % 2}/s{number}" for number in range(count)))


def attendant_memory() -> int:
    """Resident KiB of the one attendant."""
    found = [
        int(next(line for line in (process / "status").read_text().splitlines() if line.startswith("VmRSS")).split()[1])
        for process in Path("/proc").glob("[0-9]*")
        if b"reconciler.attendant" in (process / "cmdline").read_bytes()
    ]
    assert len(found) == 1, found
    return found[0]


def latency(sandbox: str, name: str) -> float:
    """Seconds, the median of 200 questions one after the other."""
    return float(run("ip", "netns", "exec", sandbox, sys.executable, SERVER, "time", name, "200"))
