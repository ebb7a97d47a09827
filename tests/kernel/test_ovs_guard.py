"""The guard on Open vSwitch, tried as root inside a sandbox: by flows, on either datapath."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel.private import answers, isolated, run
from tests.kernel.switch import vsctl
from tests.kernel.test_ovs import datapaths, endpoints, network, ops, scene_of
from tests.policy.test_guard import Wire, attempts, rightful

pytestmark = pytest.mark.requires("netns", "ovs", "link:veth", "link:tap", "ping")


def plugged(first: str = "") -> str:
    """a, b and c, where a has ``first`` in its spec."""
    return endpoints(
        *(
            f'front/{name} addresses: [10.1.0.{number}, "fd01::{number}"]{first if name == "a" else ""}'
            for number, name in enumerate("abc", start=11)
        )
    )


@pytest.mark.parametrize("driver", ["ovs", "contiv"])
@datapaths
@isolated
def test_what_root_inside_tries(datapath: str, driver: str, tmp_path: Path) -> None:
    front = network("front", 1, "vlan: 101", datapath).replace("driver: ovs", f"driver: {driver}")
    with scene_of(tmp_path) as scene:
        scene.apply(front + plugged())
        # The kernel's datapath asks ovs-vswitchd about the first frame of a kind, and passes others meanwhile.
        wire = Wire(scene, late=0.2 if datapath == "system" else 0.0)
        a, b, c = (wire.at[name] for name in "abc")
        tried = attempts(a, b, c)
        for _ in range(
            2
        ):  # what is dropped first teaches the datapath nothing wrong about what is not, nor the reverse
            assert [name for name, frame in tried.items() if wire.passes(frame)] == []
            assert [name for name, frame in rightful(a, b).items() if not wire.passes(frame)] == []
        # Without its guard all of it passes: it was the guard, and nothing else, that held it.
        scene.apply(front + plugged(", guard: false"))
        silent = {name for name, frame in tried.items() if not wire.passes(frame)}
        assert silent <= {"a VLAN tag", "priority tag, another address"}, "a packet socket hears a tag beside the frame"
        scene.apply(front + plugged(", etherTypes: [35020]"))
        assert [name for name, frame in tried.items() if wire.passes(frame)] == ["LLDP"]


@isolated
def test_flows_that_somebody_took_are_put_back_and_a_port_made_anew_is_guarded(tmp_path: Path) -> None:
    def forged() -> bool:
        ping = ("ip", "netns", "exec", "a", "ping", "-c1", "-W1", "-I", "10.1.0.99", scene.address("front/b"))
        answered = answers(*ping)
        # What is not answered is asked again, a second later and for the same sender, as long as somebody waits for it.
        run("ip", "-n", "a", "neighbour", "flush", "dev", "eth0")
        return answered

    with scene_of(tmp_path) as scene:
        front = network("front", 1, "bridge: sw, vlan: 7")
        scene.apply(front + endpoints("front/a", "front/b guard: false"))
        run("ip", "-n", "a", "address", "add", "10.1.0.99/24", "dev", "eth0")
        assert not forged()
        run("ovs-ofctl", "del-flows", "sw")
        run("ovs-ofctl", "add-flow", "sw", "priority=0,actions=NORMAL")
        assert forged()
        scene.apply()
        assert not forged()
        vsctl("del-port", "sw", port_of("a"))
        scene.apply()
        assert scene.reaches("a", scene.address("front/b"))
        assert not forged()
        scene.destroy()


@isolated
def test_trunks_others_bridges_and_controllers_flows_have_no_guard(tmp_path: Path) -> None:
    """Frames of a trunk are other networks'; on a bridge whose flows are not ours there is no flow of ours at all."""
    with scene_of(tmp_path) as scene:
        scene.apply(network("front", 1, "bridge: sw") + endpoints("front/a options: {trunks: [10]}", "front/b"))
        assert f"in_port={port_of('a')}" not in run("ovs-ofctl", "--names", "dump-flows", "sw").replace('"', "")
        assert f"in_port={port_of('b')}" in run("ovs-ofctl", "--names", "dump-flows", "sw").replace('"', "")
        scene.apply(network("front", 1, "bridge: sw, failMode: secure") + endpoints("front/a", "front/b"))
        assert run("ovs-ofctl", "dump-flows", "sw").count("actions=") == 0
        run("ovs-ofctl", "add-flow", "sw", "actions=NORMAL")
        assert scene.reaches("a", scene.address("front/b"))
        assert ops(scene) == []
        scene.destroy()


def port_of(endpoint: str) -> str:
    return vsctl("--bare", "--columns=name", "find", "port", f"external_ids:cnm-endpoint=front/{endpoint}")
