"""What befalls a switch: its daemons die, its database is lost, somebody takes a port out. A plan sees it, apply mends it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel import switch
from tests.kernel.private import isolated, run
from tests.kernel.scene import Scene
from tests.kernel.switch import RUNTIME, vsctl
from tests.kernel.test_ovs import datapaths, endpoints, eventually, network, ops, scene_of

pytestmark = pytest.mark.requires("netns", "nft", "ovs", "link:veth", "link:tap", "ping")

_RATES = "rates: {send: {rate: 40mbit}, dscp: 10}"
_OPTIONS = "bridge: sw, vlan: 10, mirrors: [{name: tap, all: true, outputVlan: 99}]"


def manifests(datapath: str) -> str:
    return network("front", 1, _OPTIONS, datapath) + endpoints(
        f"front/a {_RATES}", "front/b", "front/c interface: in-c, options: {port: internal}"
    )


def well(scene: Scene) -> bool:
    return all(scene.reaches("a", scene.address(f"front/{name}")) for name in ("b", "c"))


def heal(scene: Scene) -> list[str]:
    """Apply; what it had to do."""
    plan = scene.plan()
    assert plan.conflicts == ()
    found = [op.id for op in plan.ops()]
    scene.apply()
    eventually(lambda: well(scene))
    return found


@datapaths
@isolated
def test_daemons_that_are_killed(datapath: str, tmp_path: Path) -> None:
    """The database outlives its server; flows, meters and, in userspace, taps do not outlive ovs-vswitchd."""
    with scene_of(tmp_path) as scene:
        scene.apply(manifests(datapath))
        assert well(scene)
        switch.kill("ovs-vswitchd")
        waits = scene.plan()
        assert all("Open vSwitch does not run" in pending.reason for pending in waits.pending)
        switch.start_daemon()
        found = heal(scene)
        assert "create:ovs-flow/sw/3/100/in_port=" in " ".join(found)
        assert not [step for step in found if "ovs-bridge" in step or "ovs-mirror" in step], "the rows are there"
        switch.kill("ovsdb-server")
        waits = scene.plan()
        assert waits.pending
        assert all("Open vSwitch does not run" in pending.reason for pending in waits.pending)
        if datapath == "system":  # in userspace what has no core of its own to poll it stands still until it comes back
            assert scene.reaches("a", scene.address("front/b")), "the kernel goes on without the database"
        switch.start_database()
        eventually(lambda: not scene.plan().pending)
        assert heal(scene) == []
        switch.kill("ovs-vswitchd", signal=15)  # as a package's upgrade does it
        switch.kill("ovsdb-server", signal=15)
        switch.start_database()
        switch.start_daemon()
        heal(scene)
        scene.destroy()
        assert vsctl("list-br") == ""


@datapaths
@isolated
def test_a_database_that_is_lost(datapath: str, tmp_path: Path) -> None:
    with scene_of(tmp_path) as scene:
        scene.apply(manifests(datapath))
        for name in ("ovs-vswitchd", "ovsdb-server"):
            switch.kill(name)
        (RUNTIME / "conf.db").unlink()
        switch.start()
        found = heal(scene)
        assert {"create:ovs-bridge/sw", "create:ovs-mirror/sw/tap"} <= set(found)
        assert [step for step in found if step.startswith("delete:")] in ([], ["delete:link/@c/in-c"]), (
            "its tap was left"
        )


def _port_deleted() -> None:
    vsctl("del-port", *[name for name in vsctl("list-ports", "sw").split() if name.startswith("ve-")][:1])


def _bridge_deleted() -> None:
    vsctl("del-br", "sw")


def _link_deleted() -> None:
    run("ip", "link", "delete", _veth())


def _link_made_anew() -> None:
    """Under the same name and with our mark, so that only its number tells it from the one that the switch knew."""
    name = _veth()
    about = json.loads(run("ip", "-j", "-d", "link", "show", name))[0]
    netns = (
        "a"
        if run("ip", "-n", "a", "-o", "link", "show", "eth0").split("@if")[1].split(":")[0] == str(about["ifindex"])
        else "b"
    )
    run("ip", "link", "delete", name)
    run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", netns)
    for altname in about["altnames"]:
        run("ip", "link", "property", "add", "dev", name, "altname", altname)
    run("ip", "-n", netns, "link", "property", "add", "dev", "eth0", "altname", "cnm.cnm.eth0")
    run("ip", "link", "set", name, "up")


def _tag_changed() -> None:
    vsctl("set", "port", _veth(), "tag=77")


def _flows_deleted() -> None:
    run("ovs-ofctl", "del-flows", "sw")


def _meters_deleted() -> None:
    run("ovs-ofctl", "-O", "OpenFlow13", "del-meters", "sw")


def _rows_changed() -> None:
    vsctl("set", "bridge", "sw", "fail_mode=secure", "stp_enable=true", "other_config:mac-table-size=55")
    vsctl("clear", "bridge", "sw", "mirrors")
    run("ovs-ofctl", "del-flows", "sw")


def _veth() -> str:
    return next(line.split()[1].split("@")[0] for line in run("ip", "-o", "link").splitlines() if " ve-" in line)


HARM: dict[str, Callable[[], None]] = {
    name.removeprefix("_"): harm
    for name, harm in list(globals().items())
    if name.endswith(("_deleted", "_anew", "_changed")) and callable(harm)
}


@datapaths
@isolated
def test_what_others_do_to_it_is_seen_and_mended(datapath: str, tmp_path: Path) -> None:
    with scene_of(tmp_path) as scene:
        scene.apply(manifests(datapath))
        assert well(scene)
        for name, harm in HARM.items():
            if name == "meters_deleted" and datapath == "system":
                continue
            harm()
            assert ops(scene), f"{name}: not seen"
            assert heal(scene), name
            assert ops(scene) == [], name


@isolated
def test_what_ovs_vswitchd_could_not_do_fails_with_its_words_and_is_undone(tmp_path: Path) -> None:
    """The name that its tap should have is taken: the database takes the row all the same."""
    switch.start()
    run("ip", "link", "add", "t0", "type", "veth", "peer", "name", "t1")
    run("ip", "link", "property", "add", "dev", "t0", "altname", "in-c")
    with Scene(tmp_path) as scene:
        scene.write(
            network("front", 1, "bridge: sw")
            + endpoints("front/a", "front/c interface: in-c, options: {port: internal}")
        )
        before = run("ovsdb-client", "dump", "Open_vSwitch", "Bridge")
        report = scene.controller.execute(scene.controller.plan([str(tmp_path)]))
        assert not report.ok
        assert "in-c" in " ".join(map(str, report.failed))
        assert report.rollback is not None
        assert report.rollback.complete, report.rollback
        assert run("ovsdb-client", "dump", "Open_vSwitch", "Bridge") == before


@isolated
def test_a_dead_row_is_no_proof(tmp_path: Path) -> None:
    """ovs-vswitchd's own status counts: an interface that it could not open is drift while the row looks fine."""
    with scene_of(tmp_path) as scene:
        scene.apply(network("front", 1, "bridge: sw") + endpoints("front/a", "front/b"))
        vsctl("--no-wait", "set", "interface", _veth(), "type=tap")
        eventually(lambda: any("ovs-port" in step for step in ops(scene)))
        scene.apply()
        assert scene.reaches("a", scene.address("front/b"))
