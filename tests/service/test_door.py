"""Asking a running watch: status, history, metrics; and who may not."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.private import isolated, run
from tests.kernel.scene import Scene
from tests.kernel.test_watch import write
from tests.kernel.watched import Watched

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")
CNM = (sys.executable, "-m", "reconciler.cli.main")


class Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("cnm", timeout=10)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(self.path))


def get(path: Path, what: str) -> tuple[int, str]:
    connection = Unix(path)
    connection.request("GET", what)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


@pytest.mark.requires("root")  # others exist only there
@isolated
def test_even_where_the_file_lets_everybody_in_the_kernel_says_who_asks(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        write(scene, "a")
        with Watched(tmp_path, "--interval", "600") as watched:
            watched.hear("state", state="ok")
            (door,) = Path("/run/cnm").glob("watch-*.socket")
            door.chmod(0o666)
            door.parent.chmod(0o755)
            asks = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
            asks += "s.sendall(b'GET /v1/status HTTP/1.0\\r\\n\\r\\n')\nprint(s.recv(100))"
            stranger = run("setpriv", "--reuid", "65534", "--clear-groups", "/usr/bin/python3", "-c", asks, str(door))
            assert "403" in stranger
        scene.destroy()


@isolated
def test_status_history_and_metrics(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        write(scene, "a")
        with Watched(tmp_path, "--interval", "600", "--metrics", "unix:/run/metrics") as watched:
            watched.hear("state", state="ok")
            (door,) = Path("/run/cnm").glob("watch-*.socket")
            follower = subprocess.Popen([*CNM, "status", "--follow", "--json"], stdout=subprocess.PIPE, text=True)
            assert follower.stdout is not None
            first = json.loads(follower.stdout.readline())
            assert first["state"] == "ok"
            (tmp_path / "wrong.yaml").write_text("kind: Nothing\n")
            watched.hear("invalid")
            assert json.loads(follower.stdout.readline())["state"] == "invalid"
            follower.kill()
            follower.wait()
            (tmp_path / "wrong.yaml").unlink()
            watched.hear("valid")
            run("ip", "-n", "a", "address", "flush", "dev", "eth0")
            watched.hear("repaired", 2)
            status, text = get(door, "/v1/status")
            assert status == 200
            assert json.loads(text)["format_version"] == 1
            status, text = get(Path("/run/metrics"), "/metrics")
            values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#")
            assert float(values["cnm_drift_found_total"]) >= 1
            assert float(values["cnm_repaired_total"]) > 2
            assert float(values["cnm_invalid_manifests_total"]) == 1
            assert float(values['cnm_objects{state="ok"}']) > 10
            assert get(Path("/run/metrics"), "/v1/status")[0] == 404
            assert door.stat().st_mode & 0o777 == 0o600
        entries = json.loads(run(*CNM, "history", "--json"))["entries"]
        assert {entry["purpose"] for entry in entries} == {"watch"}, entries
        assert len(entries) < 6, entries
        assert all(entry["ok"] and entry["by"]["uid"] == 0 for entry in entries)
        scene.destroy()
        assert "destroy" in run(*CNM, "history")
        assert (
            "no watch of this owner"
            in subprocess.run([*CNM, "status", "--follow"], capture_output=True, text=True, check=False).stderr
        )


@isolated
def test_metrics_stay_on_this_host(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        write(scene, "a")
        done = subprocess.run(
            [*CNM, "watch", str(tmp_path), "--metrics", "0.0.0.0:9464"], capture_output=True, text=True, check=False
        )
    assert done.returncode == 1
    assert "loopback only" in done.stderr
