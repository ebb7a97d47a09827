"""Probes of every sort, asked of real servers that only the change makes reachable: what they say decides whether the
change stays."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.host.probe import parse_probe
from tests.faults.test_trial import Stage
from tests.kernel.private import isolated, run

pytestmark = pytest.mark.requires(
    "netns", "nft", "link:bridge", "link:veth", "ping", "command:dnsmasq", "command:busybox"
)

MANIFEST = """\
apiVersion: cnm/v1alpha1
kind: Network
metadata: {name: front}
spec: {driver: bridge, subnets: [{cidr: 10.0.0.0/24}, {cidr: "fd00::/64"}]}
---
apiVersion: cnm/v1alpha1
kind: Sandbox
metadata: {name: server}
spec: {stack: {path: /run/netns/server}}
---
apiVersion: cnm/v1alpha1
kind: Endpoint
metadata: {name: server}
spec: {network: front, sandbox: server, addresses: [10.0.0.5, "fd00::5"]}
"""
GOOD = (
    "ping:10.0.0.5",
    "ping:fd00::5",
    "tcp:10.0.0.5:80",
    "tcp:[fd00::5]:80",
    "http://10.0.0.5/index.html",
    "http://[fd00::5]/index.html",
    "dns:www.example@10.0.0.5",
    "dns:six.example@fd00::5",
    "cmd:ping -c1 -W5 10.0.0.5",
)
BAD = (
    ("ping:10.0.0.99", "no answer"),
    ("tcp:10.0.0.5:81", "Connection refused"),
    ("http://10.0.0.5/missing", "HTTP status 404"),
    ("http://10.0.0.5:53/", "timed out"),  # somebody listens, and does not speak HTTP
    ("https://10.0.0.5:80/", "SSL"),
    ("dns:nobody.example@10.0.0.5", "answers with code 3 (no such name)"),
    ("dns:text.example@10.0.0.5", "knows no address of text.example"),
    ("cmd:echo this is why >&2; exit 7", "this is why"),
    ("cmd:exit 7", "exit status 7"),
    ("cmd:sleep 60", "no end within"),
)


def on_trial(stage: Stage, process: subprocess.Popen[str]) -> None:
    stage.until(lambda: any(Path("/run/cnm").glob("try-*")) or process.poll() is not None, "nothing is on trial")
    assert process.poll() is None, process.communicate()[0]


@contextmanager
def servers(folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """HTTP and DNS in a namespace that nobody reaches yet."""
    (folder / "index.html").write_text("here")
    run("ip", "netns", "add", "server")
    run("ip", "-n", "server", "link", "set", "lo", "up")
    inside = ("ip", "netns", "exec", "server")
    records = ("--host-record=www.example,10.0.0.5", "--host-record=six.example,fd00::5", "--txt-record=text.example,x")
    dns = ("dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--local=/example/")
    started = [
        subprocess.Popen([*inside, "busybox", "httpd", "-f", "-p", "80", "-h", str(folder)]),
        subprocess.Popen([*inside, *dns, *records], stderr=subprocess.DEVNULL),
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


@isolated
def test_what_a_probe_says_decides_whether_an_apply_stays(tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    with servers(tmp_path):
        stage = Stage(folder)
        (folder / "all.yaml").write_text(MANIFEST)
        apply = ("apply", "--yes", "--node", "here", "--probe-timeout")
        for sort in ("tcp", "http", "dns"):  # the others: test_trial
            probe, words = next(pair for pair in BAD if pair[0].startswith(sort))
            done = stage.cnm(*apply, "1", "--probe", GOOD[0], "--probe", probe, str(folder))
            assert (done.returncode, words in done.stdout) == (3, True), (probe, done.stdout, done.stderr)
            assert f"probe {probe}" in done.stdout
            stage.is_back()
        done = stage.cnm(*apply, "20", *(word for probe in GOOD for word in ("--probe", probe)), str(folder))
        assert done.returncode == 0, (done.stdout, done.stderr)
        for probe, words in BAD:  # what each says, asked by itself
            said = parse_probe(probe).run(1.0)
            assert words in said, (probe, said)


@isolated
def test_each_sort_of_probe_is_asked_again_while_a_change_is_on_trial(tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    with servers(tmp_path) as (web, names):
        stage = Stage(folder)
        (folder / "all.yaml").write_text(MANIFEST)
        probes = [word for probe in GOOD for word in ("--probe", probe)]
        with stage.start("--probe-timeout", "20", *probes) as process:
            on_trial(stage, process)
            done = stage.cnm("confirm")
            assert (done.returncode, process.wait(30)) == (0, 0), done.stderr
        assert stage.cnm("destroy", "--yes").returncode == 0
        for server, probe in ((web, "tcp:10.0.0.5:80"), (names, "dns:www.example@10.0.0.5")):
            with stage.start("--probe", probe, "--probe-timeout", "2", "--timeout", "60") as process:
                on_trial(stage, process)
                server.kill()
                text = process.communicate(timeout=60)[0]
            assert (process.returncode, f"probe {probe}" in text) == (3, True), text
            stage.is_back()
