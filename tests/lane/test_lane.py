"""The lane itself: commands in a guest, what its kernel has, and what it must not do to this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kernel.private import isolated, run
from tests.kernel.scene import Scene
from tests.kernel.test_bridge import endpoints, network
from tests.lab import capability
from tests.lab.capability import missing

ROOT = Path(__file__).parents[2]
# What a kernel from kernel.config has; an older prebuilt one may lack the second part.
KINDS = (
    *("amt", "bareudp", "bond", "bridge", "dummy", "erspan", "geneve", "gre", "gretap", "hsr", "ifb", "ip6gre", "ip6tnl", "ipip"),
    *("ipvlan", "ipvtap", "macsec", "macvlan", "macvtap", "netkit", "nlmon", "sit", "tap", "team", "tun", "veth", "vlan", "vrf"),
    *("vti", "vxlan", "wireguard", "xfrm"),
)  # fmt: skip
QDISCS = ("cake", "clsact", "fq", "fq_codel", "hfsc", "htb", "ingress", "netem", "prio", "sfq", "tbf")
CORE = (
    *(f"link:{kind}" for kind in KINDS),
    *(f"qdisc:{kind}" for kind in QDISCS),
    *(f"filter:{kind}" for kind in capability.FILTERS),
    *(f"action:{kind}" for kind in capability.ACTIONS),
    *("bridge-meta", "bridge-netfilter", "bridge-vlan", "conntrack-bridge", "esp", "flowtable", "mpls", "netdevsim"),
    *("nft-egress", "ovs-datapath"),
)
OURS = ("sctp", "ipvs")


@pytest.mark.requires("own-kernel")
def test_the_kernel_has_what_drivers_need() -> None:
    wanted = CORE
    if os.environ["CNM_LANE"] == "uml" and os.uname().release.endswith("-cnm-lane"):
        wanted += OURS
    elif os.environ["CNM_LANE"] == "qemu":
        wanted = tuple(
            name for name in CORE if name not in ("netdevsim", "link:netkit")
        )  # newer than 6.1, or not in Debian's
    assert {name: missing(name) for name in wanted if missing(name)} == {}


@pytest.mark.requires("own-kernel")
def test_the_machines_files_cannot_be_changed_even_by_root() -> None:
    probe = Path(__file__).with_name("written-by-a-guest")
    probe.write_text("only in this guest's memory")
    run("mkdir", "/tmp/below")
    subprocess.run(["mount", "-t", "hostfs", "-o", "/", "none", "/tmp/below"], check=False)
    subprocess.run(["mount", "-o", "remount,rw", "/tmp/below"], check=False)
    below = Path(f"/tmp/below{probe}")
    assert not below.exists()
    with pytest.raises(OSError, match="Read-only file system"):
        below.write_text("on the machine itself")


@pytest.mark.requires("own-kernel", "nft", "link:bridge", "link:veth", "ping")
def test_sandboxes_do_not_inherit_from_the_first_namespace(tmp_path: Path) -> None:
    """What a new namespace begins with comes from the kernel's first one (net.core.devconf_inherit_init_net), which no
    test may change on a machine's own kernel: here it routes, and lets packets to 127.0.0.0/8 in from outside."""
    names = ("ip_forward", "conf/all/route_localnet", "conf/default/route_localnet")
    before = {Path("/proc/sys/net/ipv4", name): Path("/proc/sys/net/ipv4", name).read_text() for name in names}
    try:
        for path in before:
            path.write_text("1")
        _a_sandbox_has_its_own_values(tmp_path)
    finally:
        for path, value in before.items():
            path.write_text(value)


@isolated
def _a_sandbox_has_its_own_values(folder: Path) -> None:
    def values(netns: str) -> dict[str, str]:
        found = run(
            "ip",
            "netns",
            "exec",
            netns,
            "sysctl",
            "-a",
            "-r",
            r"^net\.ipv4\.(ip_forward|conf\..*\.(forwarding|route_localnet))$",
        )
        return dict(line.split(" = ") for line in found.splitlines())

    run("ip", "netns", "add", "plain")
    inherited = values("plain")
    assert inherited["net.ipv4.ip_forward"] == "1"
    assert inherited["net.ipv4.conf.all.route_localnet"] == "1"
    with Scene(folder) as scene:
        scene.apply(network("front", 1) + network("back", 2) + endpoints("front/a", "back/c", "front/d", "back/d"))
        for sandbox in ("a", "c", "d"):
            own = values(sandbox)
            assert "net.ipv4.conf.eth0.route_localnet" in own
            # `lo` keeps what it was born with, which the kernel never asks: its own packets are not routed again.
            assert {name for name, value in own.items() if value != "0"} <= {"net.ipv4.conf.lo.route_localnet"}
        run("ip", "-n", "a", "route", "add", "10.2.0.0/24", "via", scene.address("front/d"))
        run("ip", "-n", "c", "route", "add", "10.1.0.0/24", "via", scene.address("back/d"))
        assert not scene.reaches("a", scene.address("back/c")), "a dual-homed sandbox does not route"
        # Nor does it take packets to its loopback addresses from the wire; the last line shows that they would come.
        run("ip", "-n", "a", "route", "delete", "local", "127.0.0.0/8", "dev", "lo", "table", "local")
        run("ip", "-n", "a", "route", "add", "127.0.0.2", "via", scene.address("front/d"))
        run("ip", "netns", "exec", "a", "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
        run("nft", "flush", "ruleset")  # the host's guards would drop such packets before the sandbox could
        assert not scene.reaches("a", "127.0.0.2")
        run("ip", "netns", "exec", "d", "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
        assert any(scene.reaches("a", "127.0.0.2") for _ in range(10))  # a busy guest answers late


def _guest(*command: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-m", "tests.lane.guest", *(["--stdin"] if stdin is not None else []), *command]
    return subprocess.run(argv, cwd=ROOT, input=stdin, capture_output=True, check=False, timeout=120)


@pytest.mark.requires("lane")
def test_streams_and_status_pass_through() -> None:
    text = b"".join(b"%d\n" % number for number in range(20_000))
    done = _guest("sh", "-c", "cat; uname -r >&2; pwd >&2; exit 7", stdin=text)
    assert (done.returncode, done.stdout) == (7, text)
    release, folder = done.stderr.decode().splitlines()
    assert (release != os.uname().release, folder) == (True, str(ROOT))


@pytest.mark.requires("lane")
def test_a_kernel_that_dies_is_told_from_a_command_that_fails() -> None:
    done = _guest("sh", "-c", "echo c >/proc/sysrq-trigger; sleep 60")
    assert done.returncode == 125
    assert b"Kernel panic" in done.stderr
    assert b"lane: " in done.stderr


@pytest.mark.requires("lane")
def test_only_what_is_kept_comes_back(tmp_path: Path) -> None:
    lost = Path(__file__).with_name("written-by-a-guest")
    script = f"echo kept >$CNM_LANE_KEEP/file; echo lost >{lost} && cat {lost}"
    done = _guest("--keep", str(tmp_path), "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, b"lost\n"), done.stderr
    assert (tmp_path / "file").read_text() == "kept\n"
    assert not lost.exists()


@pytest.mark.requires("lane")
def test_nothing_is_left_when_the_one_who_asked_is_killed(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tests.lane.guest", "--keep", str(tmp_path), "sh", "-c", "echo up; sleep 60"]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    (job,) = tmp_path.glob("cnm-guest.*")
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while running := [pid for pid in _pids() if str(job) in _words(pid)]:
        assert time.monotonic() < deadline, running
        time.sleep(0.1)
    os.utime(job, (0, 0))
    subprocess.run([*argv[:-1], "true"], cwd=ROOT, check=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert not job.exists(), "the next one sweeps"


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
