"""Ten nodes in three racks, each with a BIRD of its own, behind leaf switches that speak BGP."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.racks import Racks
from tests.kernel.routed import POOLS, calico, wait

pytestmark = pytest.mark.requires("netns", "ping", "bird", "link:veth", "link:bridge", "nft", "tcpdump")

NODES = {f"s{number}": f"n{number}" for number in range(1, 11)}  # sandbox to node
ENDPOINTS = [f"app/{sandbox}@{node}" for sandbox, node in NODES.items()]
BGP = """\
kind: BGPConfiguration
metadata: {name: default}
spec: {holdTime: 9, returnWithin: 10}"""
DOCUMENTS = [POOLS, BGP, calico()]


@pytest.fixture
def racks(tmp_path: Path) -> Iterator[Racks]:
    folder = tmp_path / "manifests"
    folder.mkdir()
    with Racks(folder, [4, 3, 3]) as scene:
        yield scene


def reach(racks: Racks, without: str = "") -> None:
    """Every endpoint reaches every other, in both families."""
    places = {sandbox: node for sandbox, node in NODES.items() if node != without}
    addresses = racks.addresses()
    targets = [address for sandbox in places for address in addresses[f"app/{sandbox}"]]
    left: list[str] = []

    def all_answer() -> bool:
        left[:] = racks.unreached(places, targets)
        return not left

    assert wait(all_answer, 40), (left[:10], len(left))


def settled(racks: Racks) -> None:
    for node in racks.nodes:
        assert racks.plan(node).empty, [str(op.key) for op in racks.plan(node).ops()]


def first_answer(text: str) -> float:
    """When the first answer came, in seconds of the epoch."""
    found = re.search(r"^\[([0-9.]+)\] \d+ bytes from", text, re.MULTILINE)
    assert found, text[-2000:]
    return float(found[1])


def test_ten_nodes_in_three_racks(racks: Racks) -> None:
    racks.declare(DOCUMENTS, ENDPOINTS)
    racks.nodes["n1"].run("cnm", "apply", "--yes", "--node", "n1", racks.folder)
    applying = [
        host.popen("cnm", "apply", "--yes", "--locked", "--node", node, racks.folder)
        for node, host in racks.nodes.items()
        if node != "n1"
    ]
    for process in applying:
        words = process.communicate()[0]
        assert process.returncode == 0, words
    # A full mesh: nine others and the leaf, in two families.
    assert wait(lambda: all(racks.established(node) == 20 for node in racks.nodes)), racks.birdc("n1", "show protocols")
    watch = racks.leaves[1].popen("tcpdump", "-n", "-l", "--immediate-mode", "-i", "to2", "not tcp and not arp")
    reach(racks)
    time.sleep(0.2)
    watch.terminate()
    heard = [line for line in watch.communicate()[0].splitlines() if "echo request" in line or "UDP" in line]
    own = {address for found in racks.addresses().values() for address in found}
    assert heard
    for line in heard:
        source, target = re.search(r"IP6? (\S+) > (\S+): ICMP", line).groups()  # type: ignore[union-attr]  # no tunnel matches
        assert {source, target} <= own, f"something is wrapped or translated: {line}"
    _a_new_endpoint_is_reached(racks)
    _what_breaks_comes_back(racks)

    # The same with two reflectors, to which alone the others speak.
    racks.declare(DOCUMENTS, ENDPOINTS, reflectors=["n1", "n5"])
    racks.apply()
    assert wait(lambda: racks.established("n10") == 6), racks.birdc("n10", "show protocols")
    reach(racks)
    racks.nodes["n5"].ip("link set up0 down")
    assert wait(lambda: racks.established("n10") == 4), racks.birdc("n10", "show protocols")
    reach(racks, without="n5")
    rack, _number = racks.place["n5"]
    racks.nodes["n5"].ip("link set up0 up")
    racks.nodes["n5"].ip(f"route add default via 198.18.{rack}.254")
    racks.nodes["n5"].ip(f"-6 address add 2001:db8:{rack}::1/64 dev up0 nodad")
    racks.nodes["n5"].ip(f"-6 route add default via 2001:db8:{rack}::fe")
    racks.apply("n5")
    reach(racks)
    settled(racks)


def _a_new_endpoint_is_reached(racks: Racks) -> None:
    """The farthest endpoint pings an address of a block that nobody has yet, while its node applies."""
    more = [*DOCUMENTS, "kind: Sandbox\nmetadata: {name: new}\nspec: {node: n1}"]
    more += ["kind: Endpoint\nmetadata: {name: new}\nspec: {network: app, sandbox: new, addresses: [10.48.200.1]}"]
    racks.declare(more, ENDPOINTS)
    ping = racks.pinging("n10", "s10", "10.48.200.1")
    time.sleep(0.3)
    begun = time.time()
    words = racks.nodes["n1"].run("cnm", "apply", "--yes", "--node", "n1", racks.folder).stdout
    applied = time.time()
    time.sleep(0.3)
    ping.send_signal(2)
    answered = first_answer(ping.communicate()[0])
    after = f"the first answer came {answered - begun:.3f} s after its start"
    print(f"\n{words.splitlines()[-1]} The command took {applied - begun:.3f} s, {after}")
    assert answered < applied + 1
    racks.declare(DOCUMENTS, ENDPOINTS)
    racks.apply("n1")


def _what_breaks_comes_back(racks: Racks) -> None:
    # A BIRD is killed: its routes stay in force with the others until the next one has said them again.
    target = racks.addresses()["app/s8"][0]
    ping = racks.pinging("n1", "s1", target)
    time.sleep(0.3)
    racks.kill_bird("n8")
    assert wait(lambda: racks.established("n1") == 18)
    reach(racks)
    assert [str(op.key) for op in racks.plan("n8").ops()] == ["process/bird"]
    racks.apply("n8")
    assert wait(lambda: racks.established("n8") == 20)
    # The cable from rack 1 to rack 3 is cut: there is a way through rack 2.
    racks.cut(1, 3)
    reach(racks)
    racks.mend(1, 3)
    reach(racks)
    ping.send_signal(2)
    words = ping.communicate()[0]
    sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", words).groups())  # type: ignore[union-attr]  # ping ends so
    print(f"\n{sent - received} of {sent} pings lost, with a BIRD killed and a cable cut")
    settled(racks)
