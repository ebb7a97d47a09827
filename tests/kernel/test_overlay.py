"""Driver overlay, end to end: hosts that know each other by manifests alone, with real packets."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import UnsupportedError
from reconciler.topology.derive import mac_of
from tests.kernel.overlay import DUAL, Cluster, network
from tests.lab import difference

pytestmark = pytest.mark.requires("netns", "nft", "ping", "link:bridge", "link:veth", "link:vxlan")

ICMP = {4: 28, 6: 48}  # IP and ICMP header of an echo request


def test_a_clean_start_and_end_and_the_largest_packet(tmp_path: Path) -> None:
    with Cluster(tmp_path, ["n1", "n2"]) as cluster:
        before = {node: cluster.fabric[node].fingerprint() for node in ("n1", "n2")}
        for underlay, mtu in (("ipv4", 1450), ("ipv6", 1430)):
            options = f"{{underlay: {underlay}}}"
            cluster.write([network(options=options)], ["app/a@n1", "app/b@n2", "app/c@n1"])
            cluster.apply()
            for version in (4, 6):
                far = cluster.address("app/b", version)
                assert cluster.reaches("n1", "a", far, size=mtu - ICMP[version])
                assert not cluster.reaches("n1", "a", far, size=mtu - ICMP[version] + 1)
                assert cluster.reaches("n2", "b", cluster.address("app/c", version))
                assert cluster.reaches("n1", "a", cluster.address("app/c", version))
        for node in ("n1", "n2"):
            cluster.destroy(node)
            assert difference(before[node], cluster.fabric[node].fingerprint()) == []


def test_networks_are_apart_also_between_hosts(tmp_path: Path) -> None:
    second = 'subnets: [{cidr: 10.6.0.0/24}, {cidr: "fd06::/64"}]'
    with Cluster(tmp_path, ["n1", "n2"]) as cluster:
        cluster.write([network(), network("other", second)], ["app/a@n1", "app/b@n2", "other/c@n1", "other/d@n2"])
        cluster.apply()
        for version in (4, 6):
            assert cluster.reaches("n1", "c", cluster.address("other/d", version))
            assert not cluster.reaches("n1", "c", cluster.address("app/b", version))
            assert not cluster.reaches("n1", "c", cluster.address("app/a", version))


def test_several_subnets_are_segments_with_a_router_on_every_node(tmp_path: Path) -> None:
    subnets = 'subnets: [{cidr: 10.5.0.0/30}, {cidr: "fd05::/64"}, {cidr: 10.6.0.0/24}, {cidr: "fd06::/64"}]'
    with Cluster(tmp_path, ["n1", "n2"]) as cluster:
        # The first IPv4 subnet has room for one endpoint: the others go to the second, in both families.
        cluster.write([network(subnets=subnets, more=", internal: true")], ["app/a@n1", "app/b@n2", "app/c@n1"])
        cluster.apply()
        assert cluster.address("app/a") == "10.5.0.2"
        assert cluster.address("app/b", 6).startswith("fd06::")
        assert 'app/10.5.0.0/30: ["4096"]\n  app/10.6.0.0/24: ["4097"]' in (tmp_path / "cnm.lock").read_text()
        for version in (4, 6):
            for far in ("app/b", "app/c"):
                assert cluster.reaches("n1", "a", cluster.address(far, version))
            assert cluster.reaches("n2", "b", cluster.address("app/a", version))
            assert cluster.reaches("n2", "b", cluster.address("app/c", version))


def test_the_gateway_is_on_every_node_under_one_mac_address(tmp_path: Path) -> None:
    with Cluster(tmp_path, ["n1", "n2"]) as cluster:
        cluster.write([network()], ["app/a@n1", "app/b@n2"])
        cluster.apply()
        macs = set()
        for node, sandbox in (("n1", "a"), ("n2", "b")):
            for gateway in ("10.5.0.1", "fd05::1"):
                assert cluster.reaches(node, sandbox, gateway)
            macs.add(cluster.fabric[node].ip("neighbour show 10.5.0.1", netns=sandbox).split()[4])
            # Out into the world under the node's own address: the switch knows no way back to the network.
            cluster.fabric.switch.run("ip", "address", "replace", "192.0.2.99/24", "dev", "sw")
            assert cluster.reaches(node, sandbox, "192.0.2.99")
        assert len(macs) == 1


@pytest.mark.requires("tcpdump")
def test_no_broadcast_crosses_the_underlay_unless_asked_for(tmp_path: Path) -> None:
    with Cluster(tmp_path, ["n1", "n2"]) as cluster:
        for options, crosses in (("{}", False), ("{flood: true}", True)):
            cluster.write([network(options=options)], ["app/a@n1", "app/b@n2"])
            cluster.apply()
            with cluster.watching("n2", "udp port 4789") as heard:
                for sandbox, group in (("a", "10.5.0.77"), ("a", "fd05::77")):
                    assert not cluster.reaches("n1", sandbox, group)  # nobody has it: who-has is a broadcast
                cluster.fabric["n1"].run("ip", "neighbour", "flush", "all", netns="a")
            assert bool([line for line in heard if "10.5.0.77" in line or "fd05::77" in line]) is crosses, heard
            assert cluster.reaches("n1", "a", cluster.address("app/b"))


DRIFT = [
    "bridge fdb replace MAC dev vx-4096 dst 192.0.2.66 self static",
    "bridge fdb delete MAC dev vx-4096 master",
    "bridge fdb delete MAC dev vx-4096 self",
    "bridge fdb replace MAC dev vx-4096 master dynamic",
    "bridge fdb replace MAC dev PORT master static",
    "bridge fdb add 02:00:00:00:00:99 dev vx-4096 dst 192.0.2.66 self permanent",
    "bridge fdb append 00:00:00:00:00:00 dev vx-4096 dst 192.0.2.66 self permanent",
    "ip neighbour replace FAR dev br-app lladdr 02:00:00:00:00:99 nud permanent",
    "ip neighbour replace FAR dev br-app lladdr 02:00:00:00:00:99 nud reachable",
    "ip link set vx-4096 type vxlan local 192.0.2.66",
    "ip link set vx-4096 type bridge_slave learning on neigh_suppress off",
    "ip link set vx-4096 down",
    "ip link delete vx-4096",
    "ip link delete br-app",
]


def test_drift_is_repaired_and_nothing_else_touched(tmp_path: Path) -> None:
    with Cluster(tmp_path, ["n1", "n2"]) as cluster:
        cluster.write([network()], ["app/a@n1", "app/b@n2"])
        cluster.apply()
        host, far = cluster.fabric["n1"], cluster.address("app/b")
        assert cluster.reaches("n1", "a", far)
        mac = mac_of("endpoint", "app", "b")
        port = host.run("bridge", "fdb", "show", "br", "br-app", "state", "static").stdout
        port = next(line for line in port.splitlines() if " dev ve-" in line).split()[2]
        before = host.run("bridge", "fdb").stdout
        for command in DRIFT:
            host.run(*command.replace("MAC", mac).replace("PORT", port).replace("FAR", far).split())
            assert not cluster.plan("n1").empty, command
            cluster.apply("n1")
            assert cluster.reaches("n1", "a", far), command
        after = host.run("bridge", "fdb").stdout
        static = [sorted(line for line in text.splitlines() if " static" in line) for text in (before, after)]
        assert [line.replace(port, "PORT") for line in static[0]] == [line.replace(port, "PORT") for line in static[1]]


def test_what_a_routing_daemon_learned_is_its_own(tmp_path: Path) -> None:
    with Cluster(tmp_path, ["n1", "n2"]) as cluster:
        cluster.write([network()], ["app/a@n1", "app/b@n2"])
        cluster.apply()
        host = cluster.fabric["n1"]
        entry = ("02:00:00:00:00:77", "dev", "vx-4096", "dst", "192.0.2.2", "self", "extern_learn")
        host.run("bridge", "fdb", "add", *entry)
        host.run("bridge", "fdb", "add", "02:00:00:00:00:77", "dev", "vx-4096", "master", "extern_learn")
        assert cluster.plan("n1").empty
        assert host.run("bridge", "fdb").stdout.count("02:00:00:00:00:77") == 2


def test_a_restart_of_cnm_loses_nothing(tmp_path: Path) -> None:
    """Also one that forgot everything."""
    with Cluster(tmp_path, ["n1", "n2"]) as cluster:
        cluster.write([network()], ["app/a@n1", "app/b@n2", "app/c@n2"])
        cluster.apply()
        host = cluster.fabric["n1"]
        with cluster.pinging("n1", "a", cluster.address("app/b")) as ping:
            with host.events() as heard:
                cluster.apply("n1")
            host.run("sh", "-c", "rm -f /run/cnm/*.json")
            changed = {op.key.kind for op in cluster.plan("n1").ops()}
        assert heard.lines == []
        assert ping.lost == 0
        assert changed <= {"sysctl", "netns"}, "whose these are is only in the inventory"
        cluster.write([network()], ["app/a@n1", "app/b@n2"])
        stale = [str(op.key) for op in cluster.plan("n1").ops() if op.action == "delete"]
        assert len([key for key in stale if key.startswith("fdb/vx-4096/")]) == 1
        assert len([key for key in stale if key.startswith("neighbour/br-app/")]) == 3


def test_on_a_kernel_without_esp_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.engine.doctor.esp", lambda: "the kernel has no ESP")
    with Cluster(tmp_path, ["n1", "n2"]) as cluster:
        cluster.write([network(options="{encryption: {keyFile: /run/keys, primary: one}}")], ["app/a@n1", "app/b@n2"])
        before = cluster.fabric["n1"].fingerprint()
        with pytest.raises(UnsupportedError, match="needs esp: the kernel has no ESP"):
            cluster.apply("n1")
        assert difference(before, cluster.fabric["n1"].fingerprint()) == []


@pytest.mark.parametrize("version", [4, 6])
def test_an_endpoint_moves_to_another_node_while_it_is_pinged(version: int, tmp_path: Path) -> None:
    with Cluster(tmp_path, ["n1", "n2", "n3"]) as cluster:
        nets = [network(subnets=DUAL)]
        cluster.write(nets, ["app/a@n1", "app/b@n2", "app/c@n3"])
        cluster.apply()
        with cluster.pinging("n1", "a", cluster.address("app/b", version)) as ping:
            cluster.write(nets, ["app/a@n1", "app/b@n3", "app/c@n3"])
            cluster.apply("n3", "n1", "n2")
        print(f"IPv{version}: {ping.lost} of {ping.sent} packets lost in the move")
        assert ping.received > ping.sent / 2
        assert ping.lost < ping.sent / 3
        assert cluster.reaches("n3", "b", cluster.address("app/c", version))


def test_three_nodes_with_a_hundred_endpoints_each(tmp_path: Path) -> None:
    places = [f"app/e{number:03}@n{number % 3 + 1}" for number in range(300)]
    subnets = 'subnets: [{cidr: 10.5.0.0/16}, {cidr: "fd05::/64"}]'
    with Cluster(tmp_path, ["n1", "n2", "n3"]) as cluster:
        cluster.write([network(subnets=subnets)], places)
        cluster.apply()
        addresses = {version: [] for version in (4, 6)}
        for number in range(300):
            addresses[4].append(f"10.5.{(number + 2) // 256}.{(number + 2) % 256}")
            addresses[6].append(f"fd05::{number + 2:x}")
        for version in (4, 6):
            for number in range(0, 300, 7):
                node, sandbox = f"n{number % 3 + 1}", f"e{number:03}"
                targets = addresses[version][(number + 1) % 300 : (number + 1) % 300 + 5]
                script = "for to; do ping -n -c1 -W1 -q $to >/dev/null || exit 1; done"
                done = cluster.fabric[node].run("sh", "-c", script, "sh", *targets, netns=sandbox, check=False)
                assert done.returncode == 0, (sandbox, targets)
        static = cluster.fabric["n1"].run("bridge", "fdb", "show", "dev", "vx-4096").stdout
        assert static.count(" self static") == 200
        assert "extern_learn" not in static
