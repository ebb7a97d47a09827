"""Driver ovs between hosts: each with daemons of its own, tunnels in a mesh that follows from the manifests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel.overlay import DUAL, Cluster
from tests.kernel.switch import START
from tests.kernel.test_ovs import datapaths
from tests.lab import difference

pytestmark = pytest.mark.requires("netns", "nft", "ovs", "link:veth", "link:tap", "link:bridge", "ping")

# Tunnels of the userspace datapath leave by a bridge of that datapath which holds the underlay's address: the site's own.
_UNDERLAY = """
ovs-vsctl add-br phy -- set bridge phy datapath_type=netdev other_config:hwaddr=02:00:00:00:01:0{number}
ovs-vsctl add-port phy up0
ip address flush dev up0
ip address add 192.0.2.{number}/24 dev phy
ip link set phy addrgenmode none
ip link set phy up
"""


@datapaths
def test_three_hosts_are_one_network(datapath: str, tmp_path: Path) -> None:
    with Cluster(tmp_path, ["n1", "n2", "n3"]) as cluster:
        for number, node in enumerate(cluster.fabric.names, start=1):
            cluster.fabric[node].run("sh", "-c", START)
            if datapath == "netdev":
                cluster.fabric[node].run("sh", "-ec", _UNDERLAY.format(number=number))
        before = {node: cluster.fabric[node].fingerprint() for node in cluster.fabric.names}
        nets = [
            f"kind: Network\nmetadata: {{name: {name}}}\nspec: {{driver: ovs, {subnets}, "
            f"options: {{datapath: {datapath}, bridge: sw, vlan: {vlan}, mesh: {{type: {kind}, key: {vlan}}}}}}}"
            for name, subnets, vlan, kind in (
                ("app", DUAL, 10, "vxlan"),
                ("other", 'subnets: [{cidr: 10.6.0.0/24}, {cidr: "fd06::/64"}]', 20, "geneve"),
            )
        ]
        places = ["app/a@n1", "app/b@n2", "app/c@n3", "other/d@n1", "other/e@n2"]
        cluster.write(nets, places)
        cluster.apply()
        for version, most in ((4, 1450 - 28), (6, 1450 - 48)):
            for far in ("app/b", "app/c"):
                assert cluster.reaches("n1", "a", cluster.address(far, version), size=most)
            assert not cluster.reaches("n1", "a", cluster.address("app/b", version), size=most + 1)
            assert cluster.reaches("n2", "b", cluster.address("app/c", version)), "the mesh has no loops, and no gaps"
            assert cluster.reaches("n1", "d", cluster.address("other/e", version))
        # The VLAN, and the key on the wire, keep them apart: an address of the other subnet helps nobody.
        cluster.fabric["n1"].ip("-n d address add 10.5.0.99/24 dev eth0")
        assert not cluster.reaches("n2", "b", "10.5.0.99")
        # A node that has no endpoint any more is no peer.
        cluster.write(nets, [place for place in places if not place.startswith("app/c")])
        cluster.apply()
        assert cluster.fabric["n1"].run("ovs-vsctl", "list-ports", "sw").stdout.count("tu-") == 2
        assert cluster.reaches("n1", "a", cluster.address("app/b"))
        for node in cluster.fabric.names:
            cluster.destroy(node)
            assert difference(before[node], cluster.fabric[node].fingerprint()) == []
