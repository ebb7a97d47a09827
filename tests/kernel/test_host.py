"""What happens to the host itself: nothing that was not asked for, and all of it goes away again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reconciler.engine.controller import NetworkController
from reconciler.engine.result import PlanOptions
from reconciler.errors import ConflictError, LockError, ManifestError, StaleError, UsageError
from reconciler.host.lock import HostLock
from reconciler.planner.file import plan_to_data, snapshot_to_data
from tests.kernel.private import isolated, run
from tests.kernel.scene import Scene, add_outside, settle
from tests.kernel.test_bridge import endpoints, network

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth", "ping")

TWO = network("front", 1) + network("back", 2) + endpoints("front/a", "front/b", "back/c", "front/d", "back/d")
_VOLATILE = frozenset(("stats64", "stats", "valid_life_time", "preferred_life_time", "carrier_changes", "hello_timer",
                       "tcn_timer", "topology_change_timer", "gc_timer", "carrier_up_count", "carrier_down_count", "used"))  # fmt: skip
_UNSTABLE = ("stable_secret", "nf_conntrack_count", "/neigh/", "/random/")


def fingerprint() -> dict[str, Any]:
    """Everything of this host that could differ, but for counters, running timers and lifetimes."""
    found: dict[str, Any] = {"nft": json.loads(run("nft", "-j", "list", "ruleset"))["nftables"]}
    for netns in ("", *(line.split()[0] for line in run("ip", "netns", "list").splitlines())):
        where = ("-n", netns) if netns else ()
        # neighbours that nobody wrote come and go with packets
        for what in ("link", "address", "route show table all", "rule", "neighbour show nud permanent"):
            for family in ("-4", "-6"):
                text = run("ip", *where, "-j", "-d", family, *what.split()) or "[]"
                found[f"{netns} {family} {what}"] = _steady(json.loads(text))
    for path in sorted(Path("/proc/sys/net").rglob("*")):
        if path.is_file() and os.access(path, os.R_OK) and not any(word in str(path) for word in _UNSTABLE):
            try:
                found[str(path)] = path.read_text()
            except OSError:
                continue
    return found


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _steady(item) for name, item in value.items() if name not in _VOLATILE}
    return [_steady(item) for item in value] if isinstance(value, list) else value


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [
        f"{k}: {before.get(k)} -> {after.get(k)}" for k in sorted({*before, *after}) if before.get(k) != after.get(k)
    ]


def foreign_things() -> None:
    """What somebody else made here before."""
    add_outside()
    run("ip", "link", "add", "docker9", "up", "type", "bridge")
    run("ip", "address", "add", "172.31.0.1/16", "dev", "docker9")
    run("ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.2")
    run("ip", "neighbour", "add", "192.0.2.99", "lladdr", "02:00:00:00:00:99", "dev", "uplink", "nud", "permanent")
    run("ip", "rule", "add", "from", "198.51.100.7", "table", "100")
    run(
        "nft",
        "add table inet mine; add chain inet mine f {type filter hook forward priority 0;}; add rule inet mine f accept",
    )
    Path("/proc/sys/net/ipv4/conf/docker9/rp_filter").write_text("1")


@isolated
def test_destroy_leaves_the_host_as_it_was(tmp_path: Path) -> None:
    foreign_things()
    settle()
    before = fingerprint()
    with Scene(tmp_path) as scene:
        scene.apply(TWO)
        scene.destroy()
    assert differences(before, fingerprint()) == []
    assert not any(Path("/run/cnm").glob("*")) if Path("/run/cnm").exists() else True
    assert not list(Path("/run/netns").glob("[abcd]"))


@isolated
def test_foreign_things_are_untouched_by_apply_and_prune(tmp_path: Path) -> None:
    foreign_things()
    settle()
    keep = ("docker9", "uplink", "198.51.100", "mine", "192.0.2")
    before = [line for line in _listing() if any(word in line for word in keep)]
    with Scene(tmp_path) as scene:
        scene.apply(TWO)
        assert [line for line in _listing() if any(word in line for word in keep)] == before
        scene.apply(network("front", 1) + endpoints("front/a"))  # prunes the rest
        assert [line for line in _listing() if any(word in line for word in keep)] == before
        assert "br-back" not in run("ip", "-o", "link")


def _listing() -> list[str]:
    commands = (("ip", "-br", "link"), ("ip", "-br", "address"), ("ip", "route"), ("ip", "rule"))
    commands += (("ip", "neighbour", "show", "nud", "permanent"),)  # others come and go with packets
    return [line for command in commands for line in run(*command).splitlines()] + [
        "mine " + run("nft", "list", "table", "inet", "mine")
    ]


@isolated
def test_a_second_apply_writes_nothing(tmp_path: Path) -> None:
    """Shown from outside: strace sees every message that goes to the kernel, and every file that is opened."""
    with Scene(tmp_path) as scene:
        scene.apply(TWO)
    log = tmp_path / "strace.log"
    calls = "trace=sendto,sendmsg,openat,mount,umount2,rename,unlink,mkdir"
    cnm = str(Path(sys.executable).parent / "cnm")
    run("strace", "-f", "-o", str(log), "-e", calls, cnm, "apply", "--yes", "--node", "here", str(tmp_path))
    lines = log.read_text().splitlines()
    types = {kind for line in lines for kind in re.findall(r"nlmsg_type=([^,]+)", line) if "send" in line}
    assert len(types) >= 4, "strace shows what is asked of the kernel"
    assert {kind for kind in types if not asks_only(kind)} == set()
    writing = [line for line in lines if "openat(" in line and ("O_WRONLY" in line or "O_RDWR" in line)]
    assert [line for line in writing if '"/dev/' not in line] == []
    assert [line for line in lines if re.search(r" (mount|umount2|rename|unlink|mkdir)\(", line)] == []


def asks_only(kind: str) -> bool:
    """Whether a netlink message type is a GET: by name, or by number where strace cannot tell the protocol.
    In rtnetlink every third of four is one (RTM_GETLINK 18), in nf_tables every second of three (NFT_MSG_GETGEN)."""
    if not kind.startswith("0x"):
        return "_GET" in kind or kind == "SOCK_DIAG_BY_FAMILY"  # who listens: a question, whatever its name
    number = int(kind.split()[0], 16)
    return number & 0xFF in (1, 4, 7, 10, 13, 16, 19) if number >> 8 == 10 else number % 4 == 2


@pytest.mark.parametrize(
    "clash",
    [
        "ip link add br-front type bridge",
        "ip netns add a",
        "nft add table inet cnm",
        "ip link add br-front type bridge && ip link property add dev br-front altname cnm.somebody.br-front",
    ],
)
@isolated
def test_a_clash_is_refused_before_anything_is_touched(clash: str, tmp_path: Path) -> None:
    run("sh", "-c", clash)
    before = fingerprint()
    with Scene(tmp_path) as scene:
        scene.write(TWO)
        planned = scene.controller.plan([str(tmp_path)])
        assert planned.plan.conflicts
        with pytest.raises(ConflictError) as caught:
            scene.controller.execute(planned)
        assert caught.value.exit_status == 6
    assert differences(before, fingerprint()) == []


@isolated
def test_what_stands_in_the_way_can_be_taken_over(tmp_path: Path) -> None:
    run("ip", "link", "add", "br-front", "type", "bridge")
    with Scene(tmp_path) as scene:
        scene.write(network("front", 1) + endpoints("front/a"))
        planned = scene.controller.plan([str(tmp_path)], options=PlanOptions(adopt=True))
        assert [str(op.key) for op in planned.plan.ops() if op.action == "adopt"] == ["link/br-front"]
        assert scene.controller.execute(planned).ok
        assert scene.plan().empty
        scene.destroy()
    assert "br-front" not in run("ip", "-o", "link")


@isolated
def test_two_owners_share_a_host(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    with Scene(one) as first, Scene(two, owner="other") as second:
        first.apply(network("front", 1) + endpoints("front/a"))
        second.apply(network("back", 2) + endpoints("back/c"))
        assert first.plan().empty
        assert not first.reaches("a", second.address("back/c"))
        second.destroy()
        assert first.plan().empty
        second.write(network("front", 1))
        assert any("owner 'cnm'" in problem.message for problem in second.plan().conflicts)


@isolated
def test_drift_is_found_and_only_that_is_repaired(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.apply(TWO)
        host_end = next(
            line.split("@")[0].split()[-1] for line in run("ip", "-o", "link").splitlines() if " ve-" in line
        )
        for command in (
            "ip -n a route delete default",
            "ip -n c link set eth0 down",
            "nft flush chain inet cnm to-front",
            f"ip link set {host_end} nomaster",
            "ip -n b address add 10.1.0.99/24 dev eth0",
            "sysctl -qw net.ipv4.ip_forward=0",
            "ip link set br-back mtu 1400",
            "nft add rule inet cnm forward counter accept",
        ):
            run("sh", "-c", command)
        plan = scene.plan()
        touched = {str(op.key) for op in plan.ops()}
        assert {
            "route/@a/0.0.0.0/0",
            "link/@c/eth0",
            "nft-chain/inet/cnm/to-front",
            f"link/{host_end}",
            "link/br-back",
        } <= touched
        assert "address/@b/eth0/10.1.0.99/24" not in touched, "what a person added by hand is not ours"
        scene.apply()
        assert scene.reaches("c", scene.address("back/d"))


@isolated
def test_a_link_that_is_gone_comes_back_with_all_that_hung_on_it(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.apply(TWO)
        run("ip", "-n", "a", "link", "delete", "eth0")
        run("ip", "netns", "delete", "b")
        run("ip", "link", "delete", "br-back")
        run("nft", "flush", "ruleset")
        scene.apply()
        assert scene.reaches("a", scene.address("front/b"))
        assert scene.reaches("c", scene.address("back/d"))
        assert not scene.reaches("a", scene.address("back/c"))


@isolated
def test_forwarding_is_put_back_with_the_values_that_changed_along(tmp_path: Path) -> None:
    run("ip", "link", "add", "lan", "up", "type", "bridge")
    Path("/proc/sys/net/ipv4/conf/lan/forwarding").write_text("1")
    settle()
    before = fingerprint()
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1) + endpoints("front/a"))
        assert Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"
        scene.destroy()
    assert differences(before, fingerprint()) == []


@isolated
def test_a_default_route_from_a_router_survives_ipv6_forwarding(tmp_path: Path) -> None:
    add_outside()
    run("ip", "-6", "route", "add", "default", "via", "2001:db8::2", "dev", "uplink", "proto", "ra")
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1) + endpoints("front/a"))
        assert "proto ra" in run("ip", "-6", "route", "show", "default")
        assert Path("/proc/sys/net/ipv6/conf/uplink/accept_ra").read_text().strip() == "2"
        scene.destroy()
        assert Path("/proc/sys/net/ipv6/conf/uplink/accept_ra").read_text().strip() == "1"


@isolated
def test_a_stale_plan_is_refused(tmp_path: Path) -> None:
    manifests = tmp_path / "m"
    manifests.mkdir()
    with Scene(manifests) as scene:
        scene.write(network("front", 1) + endpoints("front/a"))
        saved = tmp_path / "plan.json"
        saved.write_text(json.dumps(plan_to_data(scene.plan())))
        saved.chmod(0o600)
        run("ip", "link", "add", "br-front", "type", "bridge")
        with pytest.raises(StaleError):
            scene.controller.read_plan(saved)
        run("ip", "link", "delete", "br-front")
        assert scene.controller.execute(scene.controller.read_plan(saved)).ok
        assert scene.plan().empty
        saved.chmod(0o666)
        with pytest.raises(UsageError, match="others can write"):
            scene.controller.read_plan(saved)


@isolated
def test_a_snapshot_gives_the_same_plan_elsewhere(tmp_path: Path) -> None:
    manifests = tmp_path / "m"
    manifests.mkdir()
    with Scene(manifests) as scene:
        scene.apply(TWO)
        run("ip", "-n", "a", "link", "set", "eth0", "down")
        here = json.dumps(plan_to_data(scene.plan()))
        snapshot = tmp_path / "snapshot.json"
        observation = scene.controller.show([str(manifests)], everything=True)
        snapshot.write_text(json.dumps(snapshot_to_data(observation)))
    offline = NetworkController()
    plan = offline.plan([str(manifests)], options=PlanOptions(snapshot=snapshot)).plan
    assert json.dumps(plan_to_data(plan)) == here
    assert offline._host is None, "an offline plan does not open the host"


@isolated
def test_nothing_at_all_is_refused_unless_meant(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1))
        (tmp_path / "all.yaml").unlink()
        with pytest.raises(ManifestError, match="no documents"):
            scene.plan()
        assert [op.action for op in scene.plan(allow_empty=True).ops()]
        (tmp_path / "node.yaml").write_text("apiVersion: cnm/v1alpha1\nkind: Node\nmetadata: {name: elsewhere}\n")
        with pytest.raises(ManifestError, match="no Node document is this host"):
            scene.plan()


@isolated
def test_a_target_prunes_nothing(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.apply(TWO)
        scene.write(network("front", 1) + endpoints("front/a", "front/e"))
        plan = scene.plan(targets=("Endpoint/front/e",))
        assert {str(op.action) for op in plan.ops()} == {"create"}
        assert {op.origin.document for op in plan.ops()} == {"Endpoint/front/e", "Sandbox/e"}


@isolated
def test_only_one_changes_a_host_at_a_time(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.write(network("front", 1))
        planned = scene.controller.plan([str(tmp_path)])
        host = scene.controller.host
        with HostLock(host.state_dir, host.identity, "cnm", "a test"), pytest.raises(LockError, match="a test"):
            scene.controller.execute(planned)
        assert scene.controller.execute(planned).ok


@isolated
def test_a_foreign_interface_in_a_sandbox_is_not_destroyed_with_it(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1) + endpoints("front/a", "front/b"))
        run("ip", "-n", "a", "link", "add", "mine", "type", "bridge")
        scene.write(network("front", 1) + endpoints("front/b"))
        conflicts = scene.plan().conflicts
        assert ["not ours" in problem.message for problem in conflicts] == [True]


@isolated
def test_marks_inside_a_foreign_namespace_prove_nothing(tmp_path: Path) -> None:
    """Whoever is root in there can write them; only the inventory counts."""
    run("ip", "netns", "add", "theirs")
    run("ip", "-n", "theirs", "link", "property", "add", "dev", "lo", "altname", "cnm.cnm.theirs")
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1) + endpoints("front/a"))
        scene.destroy()
        assert "theirs" in run("ip", "netns", "list")


@isolated
def test_sandboxes_of_every_stack(tmp_path: Path) -> None:
    run("ip", "netns", "add", "theirs")
    child = subprocess.Popen(["unshare", "-n", "sleep", "60"])
    from tests.kernel.test_fields import _wait_for_namespace

    _wait_for_namespace(child.pid)
    before = run("ip", "netns", "exec", "theirs", "sysctl", "-a", "--pattern", "net.ipv[46].conf.(all|default)")
    with Scene(tmp_path) as scene:
        scene.apply(
            network("front", 1)
            + f"""kind: Sandbox
metadata: {{name: path}}
spec: {{stack: {{path: /run/netns/theirs}}}}
---
kind: Sandbox
metadata: {{name: pid}}
spec: {{stack: {{pid: {child.pid}}}}}
---
kind: Sandbox
metadata: {{name: alone}}
spec: {{stack: none}}
---
kind: Sandbox
metadata: {{name: host-stack}}
spec: {{stack: host}}
---
kind: Sandbox
metadata: {{name: shared}}
spec: {{stack: {{container: path}}}}
---
kind: Endpoint
metadata: {{name: path}}
spec: {{network: front, sandbox: path}}
---
kind: Endpoint
metadata: {{name: pid}}
spec: {{network: front, sandbox: pid}}"""
        )
        assert scene.reaches("theirs", scene.address("front/pid"))
        assert run("ip", "-n", "alone", "-o", "link").count("\n") == 1
        assert (
            scene.controller.run_inside(
                "shared", ["ping", "-c1", "-W1", "-q", scene.address("front/pid")], [str(tmp_path)]
            )
            == 0
        )
        assert scene.controller.run_inside("host-stack", ["ip", "link", "show", "br-front"], [str(tmp_path)]) == 0
        scene.destroy()
    child.kill()
    after = run("ip", "netns", "exec", "theirs", "sysctl", "-a", "--pattern", "net.ipv[46].conf.(all|default)")
    assert after == before
    assert run("ip", "-n", "theirs", "-o", "link").count("\n") == 1


@isolated
def test_what_waits_for_something_is_pending(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        text = (
            network("front", 1)
            + "kind: Sandbox\nmetadata: {name: later}\nspec: {stack: {path: /run/netns/later}}\n---\n"
            + "kind: Endpoint\nmetadata: {name: later}\nspec: {network: front, sandbox: later}"
        )
        scene.apply(text)
        pending = scene.plan().pending
        assert all("there is no network namespace at /run/netns/later" in item.reason for item in pending)
        assert pending
        assert not scene.controller.status([str(tmp_path)]).in_sync
        run("ip", "netns", "add", "later")
        scene.apply()
        assert scene.plan().pending == ()
        assert scene.controller.status([str(tmp_path)]).in_sync


@isolated
def test_the_hosts_own_namespace_is_only_for_stack_host(tmp_path: Path) -> None:
    from reconciler.errors import ObservationError

    with Scene(tmp_path) as scene:
        scene.write(f"kind: Sandbox\nmetadata: {{name: bad}}\nspec: {{stack: {{path: /proc/{os.getpid()}/ns/net}}}}")
        with pytest.raises(ObservationError, match="stack: host"):
            scene.plan()


@isolated
def test_settings_of_somebody_elses_stack_come_and_go(tmp_path: Path) -> None:
    """A sysctl that the sandbox no longer names gets the value back that it had before us."""
    run("ip", "netns", "add", "theirs")
    mtu, ttl = "net.ipv4.ip_no_pmtu_disc", "net.ipv4.ip_default_ttl"

    def sandbox(*sysctls: str) -> str:
        return f"""kind: Sandbox
metadata: {{name: web}}
spec: {{stack: {{path: /run/netns/theirs}}, sysctls: {{{", ".join(sysctls)}}}}}"""

    def values() -> list[str]:
        return run("ip", "netns", "exec", "theirs", "sysctl", "-n", mtu, ttl, "net.ipv4.ip_forward").split()

    run("ip", "netns", "exec", "theirs", "sysctl", "-qw", "net.ipv4.ip_forward=1")
    before = run("ip", "netns", "exec", "theirs", "sysctl", "-a", "--pattern", "^net.ipv[46]")
    assert values() == ["0", "64", "1"]
    with Scene(tmp_path) as scene:
        scene.apply(sandbox(f"{mtu}: 1"))
        assert values() == ["1", "64", "0"]
        scene.apply(sandbox(f"{mtu}: 1", f"{ttl}: 33"))
        assert values() == ["1", "33", "0"]
        scene.apply(sandbox(f"{ttl}: 34"))
        assert values() == ["0", "34", "0"]
        scene.destroy()
    assert run("ip", "netns", "exec", "theirs", "sysctl", "-a", "--pattern", "^net.ipv[46]") == before
