"""The laboratory itself: what it promises to the tests that stand on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab import Failed, Host, difference, missing, ping, wire

Hosts = Callable[[str], Host]


def inode(kind: str) -> int:
    return os.stat(f"/proc/thread-self/ns/{kind}").st_ino  # noqa: PTH116 - a magic link


def test_a_host_is_private(host: Host) -> None:
    host.ip("netns add inside")
    host.ip("link add seen type veth peer name other")
    assert host.namespaces() == ["inside"]
    assert not Path("/run/netns/inside").exists()
    assert "seen" not in Path("/proc/net/dev").read_text()
    assert "seen" in host.run("cat", "/proc/net/dev").stdout


@pytest.mark.requires("netns")
def test_a_daemon_ends_with_its_host() -> None:
    """One that has left its session and its parent, as daemons do."""
    with Host() as host:
        script = "setsid sh -c 'echo $$ >/run/daemon.pid; exec sleep 600' >/dev/null 2>&1 & until cat /run/daemon.pid; do :; done"
        pid = int(host.run("sh", "-c", script).stdout)
        assert Path(f"/proc/{pid}").exists()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "it still runs"
        time.sleep(0.01)


def test_commands_tell_how_they_ended(host: Host) -> None:
    assert host.run("sh", "-c", "pwd; cat; exit 3", input="x", check=False, cwd="/usr").stdout == "/usr\nx"
    with pytest.raises(Failed, match="exit status 3\nout\nwords"):
        host.run("sh", "-c", "echo out; echo words >&2; exit 3")


def test_a_thread_enters_and_comes_back(host: Host) -> None:
    host.ip("netns add inside")
    before = inode("net"), inode("mnt"), Path.cwd()
    with host.entered():
        assert (inode("net"), inode("mnt")) != before[:2]
        assert Path("/run/netns/inside").exists()
    with host.entered(netns="inside"):
        assert (inode("net"), inode("mnt")) != before[:2]
    assert (inode("net"), inode("mnt"), Path.cwd()) == before


@pytest.mark.requires("ping", "link:veth")
@pytest.mark.parametrize("net", ["192.0.2.{}/24", "2001:db8::{}/64"])
def test_cables_carry_packets(hosts: Hosts, net: str) -> None:
    a, b = hosts("a"), hosts("b")
    wire(a, b, "left", "right", net=net)
    target = net.partition("/")[0].format(2)
    assert ping(a, target)
    assert ping(a, target, size=1400)
    assert not ping(a, target, size=1600, tries=1)
    b.ip("link set right down")
    assert not ping(a, target, tries=1)


CHANGES = [
    ("link/extra", "ip link add extra type veth peer name ertxe"),
    ("address/lo", "ip address add 192.0.2.1/32 dev lo"),
    ("route/", "ip route add blackhole 192.0.2.0/24"),
    ("route6/", "ip route add blackhole 2001:db8::/64"),
    ("rule/", "ip rule add from 192.0.2.1 table 5"),
    ("rule6/", "ip -6 rule add from 2001:db8::1 table 5"),
    ("neighbour/", "ip neighbour add 192.0.2.9 lladdr 02:00:00:00:00:09 dev lo nud permanent"),
    ("proxy/", "ip neighbour add proxy 192.0.2.9 dev lo"),
    ("nft/", "nft add table inet extra"),
    ("sysctl/net/ipv4/conf/lo/rp_filter", "sh -c echo${IFS}2>/proc/sys/net/ipv4/conf/lo/rp_filter"),
]


@pytest.mark.requires("nft", "link:veth")
@pytest.mark.parametrize("netns", ["", "inside"])
def test_a_fingerprint_shows_every_change(host: Host, netns: str) -> None:
    host.ip("netns add inside")
    before = host.fingerprint()
    assert difference(before, host.fingerprint()) == []
    for place, command in CHANGES:
        host.run(*command.split(), netns=netns)
        after = host.fingerprint()
        assert any(line.startswith(f"{netns}: {place}") for line in difference(before, after)), command
        before = after


@pytest.mark.requires("nft", "link:bridge")
def test_a_fingerprint_forgets_what_is_gone_and_what_only_counts(host: Host) -> None:
    host.run(
        "nft", "add table inet t; add chain inet t c { type filter hook input priority 0; }; add rule inet t c counter"
    )
    before = host.fingerprint()
    host.ip("link add br0 type bridge")
    host.ip("link set br0 up")
    assert difference(before, host.fingerprint())
    host.ip("link delete br0")
    host.run("ping", "-c1", "127.0.0.1")
    assert difference(before, host.fingerprint()) == []


@pytest.mark.requires("nft")
def test_events_show_writes_and_only_writes(host: Host) -> None:
    host.ip("netns add inside")
    with host.events() as quiet:
        host.ip("-j -d link")
        host.ip("-j -d address", netns="inside")
        host.run("nft", "-j", "list", "ruleset")
    assert quiet.lines == []
    with host.events() as loud:
        host.ip("address add 192.0.2.1/32 dev lo")
        host.ip("link set lo up", netns="inside")
        host.run("nft", "add", "table", "inet", "noise")
    heard = "\n".join(loud.lines)
    assert ": ip: [ADDR]" in heard
    assert "inside: ip: [LINK]" in heard
    assert ": nft: add table inet noise" in heard


def test_nothing_is_left_when_the_process_is_killed() -> None:
    code = "import time; from tests.lab import Host; print(Host().pid, flush=True); time.sleep(60)"
    reason = missing("netns")
    if reason:
        pytest.skip(f"netns: {reason}")
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    holder = Path(f"/proc/{int(process.stdout.readline())}/ns/net")
    assert holder.exists()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 5
    while os.path.lexists(holder) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not os.path.lexists(holder)


def test_capabilities_have_names() -> None:
    assert missing("command:sh") == ""
    assert missing("command:no-such-command") == "no-such-command is not installed"
    for name in ("telepathy", "link:", "filter:telepathy", "telepathy:vlan"):
        with pytest.raises(ValueError, match=f"no such capability: {name}"):
            missing(name)


@pytest.mark.requires("netns")
@pytest.mark.parametrize("name", ["link:no-such-kind", "qdisc:no-such-kind"])
def test_what_is_missing_has_a_reason_in_the_kernels_words(name: str) -> None:
    assert "nknown" in missing(name)


@pytest.mark.parametrize(("expected", "outcome"), [("", "1 error"), ("command:no-such-command", "1 skipped")])
def test_an_unexpected_skip_fails_in_ci(tmp_path: Path, expected: str, outcome: str) -> None:
    root = Path(__file__).parents[2]
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = requires\n")
    (tmp_path / "conftest.py").write_text((root / "tests/conftest.py").read_text())
    test = "import pytest\n@pytest.mark.requires('command:no-such-command')\ndef test_it(): pass"
    (tmp_path / "test_it.py").write_text(test)
    env = {**os.environ, "CI": "true", "CNM_EXPECTED_MISSING": expected, "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert outcome in done.stdout, done.stdout
