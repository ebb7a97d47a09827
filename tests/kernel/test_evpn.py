"""Overlays whose control plane is BGP EVPN: FRR on every host, packets between them."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.kernel.overlay import Cluster, network
from tests.lab import difference

pytestmark = pytest.mark.requires("netns", "nft", "ping", "frr", "link:bridge", "link:veth", "link:vxlan")

DRIVERS = ("overlay",)


def wait(condition: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


class Spoken(Cluster):
    """A cluster with zebra and bgpd on every host, each pair with a folder of its own."""

    def __enter__(self) -> Self:
        self._daemons: list[subprocess.Popen[str]] = []
        self._top = Path(tempfile.mkdtemp(prefix="cnm-frr."))  # pytest's folders are closed to user frr
        self._top.chmod(0o755)
        for node in self.fabric.names:
            self.place(node).mkdir()
            shutil.chown(self.place(node), "frr", "frrvty")
            for daemon, more in (("zebra", ["-z"]), ("bgpd", ["-z"])):
                self._start(node, daemon, more)
        return self

    def __exit__(self, *error: object) -> None:
        for daemon in self._daemons:
            daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(5)
            daemon.kill()
        shutil.rmtree(self._top)
        self.fabric.close()

    def place(self, node: str) -> Path:
        return self._top / node

    def _start(self, node: str, daemon: str, more: list[str]) -> None:
        place = self.place(node)
        options = ["-i", place / f"{daemon}.pid", "-f", place / "frr.conf", "--vty_socket", place, "-P", "0"]
        options += [*more, place / "zserv.api", "--log", f"file:{place / daemon}"]
        self._daemons.append(self.fabric[node].popen(f"/usr/lib/frr/{daemon}", *options))
        assert wait((place / f"{daemon}.vty").exists), (place / daemon).read_text()

    def declare(self, endpoints: list[str], options: str = "control: evpn", reflector: str = "") -> None:
        self.write([network(options=f"{{{options}}}")], endpoints)
        text = (self.folder / "all.yaml").read_text()
        for node in self.fabric.names:
            more = ", routeReflector: true" if node == reflector else ""
            bgp = f"bgp: {{configFile: {self.place(node)}/frr.conf, sockets: {self.place(node)}{more}}}"
            text = re.sub(rf"(name: {node}}}\nspec: {{)", rf"\g<1>{bgp}, ", text)
        (self.folder / "all.yaml").write_text(text)


def entries(cluster: Cluster, node: str) -> str:
    return cluster.fabric[node].run("bridge", "fdb", "show", "dev", "vx-4096").stdout


@pytest.fixture
def spoken(tmp_path: Path) -> Iterator[Spoken]:
    folder = tmp_path / "manifests"
    folder.mkdir()
    with Spoken(folder, ["n1", "n2", "n3"]) as cluster:
        yield cluster


def test_endpoints_are_told_of_by_bgp_and_never_touched(spoken: Spoken) -> None:
    before = spoken.fabric["n1"].fingerprint()
    spoken.declare(["app/a@n1", "app/b@n2", "app/c@n3"])
    spoken.apply()
    for version in (4, 6):
        for node, sandbox, far in (("n1", "a", "app/b"), ("n2", "b", "app/c"), ("n3", "c", "app/a")):
            address = spoken.address(far, version)
            assert wait(lambda n=node, s=sandbox, a=address: spoken.reaches(n, s, a)), far
    assert spoken.reaches("n1", "a", spoken.address("app/b"), size=1450 - 28)
    assert "extern_learn" in entries(spoken, "n1")
    assert "00:00:00:00:00:00" not in entries(spoken, "n1"), "no flooding unless asked for"
    with spoken.fabric["n1"].events() as heard:
        spoken.apply("n1")
    assert heard.lines == []
    # An endpoint moves: BGP tells of it, and n1's own configuration has nothing to do with it.
    spoken.declare(["app/a@n1", "app/b@n3", "app/c@n3"])
    spoken.apply("n2")
    spoken.apply("n3")
    assert wait(lambda: spoken.reaches("n1", "a", spoken.address("app/b")))
    spoken.destroy("n1")
    assert wait(lambda: difference(before, spoken.fabric["n1"].fingerprint()) == []), difference(
        before, spoken.fabric["n1"].fingerprint()
    )
    assert not (spoken.place("n1") / "frr.conf").exists()


def test_a_route_reflector_and_flooding(spoken: Spoken) -> None:
    spoken.declare(["app/a@n1", "app/b@n2", "app/c@n3"], "control: evpn, flood: true", reflector="n3")
    spoken.apply()
    assert wait(lambda: spoken.reaches("n1", "a", spoken.address("app/b")))
    assert wait(lambda: "00:00:00:00:00:00 dst 192.0.2.2" in entries(spoken, "n1"))
    text = (spoken.place("n1") / "frr.conf").read_text()
    assert "neighbor 192.0.2.3" in text
    assert "neighbor 192.0.2.2" not in text
    assert (spoken.place("n3") / "frr.conf").read_text().count("route-reflector-client") == 2


def test_what_others_do_to_frr_is_put_back(spoken: Spoken) -> None:
    spoken.declare(["app/a@n1", "app/b@n2"])
    spoken.apply("n1", "n2")
    place = spoken.place("n1")
    spoken.fabric["n1"].run(
        "vtysh", "--vty_socket", place, "-c", "configure", "-c", "router bgp 64512", "-c", "no neighbor 192.0.2.2"
    )
    assert [str(op.key) for op in spoken.plan("n1").ops()] == [f"file/{place}/frr.conf"]
    spoken.apply("n1")
    with (place / "frr.conf").open("a") as file:
        file.write("ip route 203.0.113.0/24 blackhole\n")
    assert not spoken.plan("n1").empty
    spoken.apply("n1")
    assert wait(lambda: spoken.reaches("n1", "a", spoken.address("app/b")))


def test_a_file_of_somebody_else_is_a_conflict(spoken: Spoken) -> None:
    (spoken.place("n1") / "frr.conf").write_text("hostname theirs\n")
    spoken.declare(["app/a@n1", "app/b@n2"])
    assert "frr.conf" in str(spoken.plan("n1").conflicts[0])
