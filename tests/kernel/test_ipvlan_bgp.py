"""Driver ipvlan in mode l3: the way back to endpoints is told of by BGP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import CnmError
from tests.kernel.routed import Routed, wait
from tests.lab import difference

pytestmark = pytest.mark.requires("netns", "ping", "bird", "link:veth", "link:ipvlan")

# A router that is not ours, as a host of its own: it knows nothing but what it is told.
ROUTER = """\
router id 192.0.2.9;
protocol device {}
protocol direct { ipv4; ipv6; }
protocol kernel { ipv4 { export all; }; }
protocol kernel { ipv6 { export all; }; }
protocol bgp n1v4 { local 192.0.2.9 as 65003; neighbor 192.0.2.1 as 64512; connect retry time 1; ipv4 { import all; export none; }; }
protocol bgp n2v4 { local 192.0.2.9 as 65003; neighbor 192.0.2.2 as 64512; connect retry time 1; ipv4 { import all; export none; }; }
protocol bgp n1v6 { local 2001:db8::9 as 65003; neighbor 2001:db8::1 as 64512; connect retry time 1; ipv6 { import all; export none; }; }
"""
PEERS = """\
kind: BGPPeer
metadata: {name: router4}
spec: {address: 192.0.2.9, asn: 65003}
---
apiVersion: cnm/v1alpha1
kind: BGPPeer
metadata: {name: router6}
spec: {address: "2001:db8::9", asn: 65003}"""


def network(announce: str, mode: str = "l3") -> str:
    subnets = '[{cidr: 10.5.0.0/24}, {cidr: "fd05::/64"}]'
    options = f"{{parent: up0, mode: {mode}, announce: {announce}}}"
    return f"kind: Network\nmetadata: {{name: app}}\nspec: {{driver: ipvlan, subnets: {subnets}, options: {options}}}"


@pytest.fixture
def routed(tmp_path: Path) -> Iterator[Routed]:
    folder = tmp_path / "manifests"
    folder.mkdir()
    with Routed(folder, ["n1", "n2", "n3"]) as cluster:
        yield cluster


def learned(routed: Routed) -> set[str]:
    """The prefixes to which the router has routes by BGP."""
    host = routed.fabric["n3"]
    lines = host.ip("route show proto bird").splitlines() + host.ip("-6 route show proto bird").splitlines()
    return {line.split()[0] for line in lines if line.startswith(("10.5.", "fd05:"))}


def test_a_router_learns_the_way_back_and_reaches_endpoints(routed: Routed) -> None:
    """Each endpoint's address while two nodes have some; the subnets when one node has all."""
    router = routed.fabric["n3"]  # which no node applies anything on
    router.ip("address add 192.0.2.9/24 dev up0")
    router.ip("address add 2001:db8::9/64 dev up0 nodad")
    router.run("sh", "-c", "cat > /run/router.conf", input=ROUTER)
    router.run("bird", "-c", "/run/router.conf", "-s", "/run/router.ctl")
    before = routed.fabric["n1"].fingerprint()
    routed.declare(["app/a@n1", "app/b@n2"], [network("endpoints"), PEERS])
    routed.apply("n1", "n2")
    a, b = routed.address("app/a"), routed.address("app/b")
    a6 = routed.address("app/a", 6)
    assert wait(lambda: learned(routed) == {a, b, a6}), learned(routed)
    for address in (a, b, a6):
        assert wait(lambda address=address: router.run("ping", "-c1", "-W1", address, check=False).returncode == 0), (
            address
        )  # type: ignore[misc]
    assert wait(lambda: routed.reaches("n1", "a", b)), "by what the nodes tell each other"
    routed.declare(["app/a@n1", "app/b@n1"], [network("subnets", "l3s"), PEERS])
    routed.apply("n2", "n1")
    assert wait(lambda: learned(routed) == {"10.5.0.0/24", "fd05::/64"}), learned(routed)
    assert wait(lambda: router.run("ping", "-c1", "-W1", routed.address("app/b"), check=False).returncode == 0)
    routed.destroy("n1")
    assert wait(lambda: not learned(routed)), learned(routed)
    # What neighbours learn comes and goes.
    left = difference(before, routed.fabric["n1"].fingerprint())
    assert [line for line in left if ": neighbour/" not in line] == []


def test_what_nobody_could_route_is_refused(routed: Routed) -> None:
    both = ["app/a@n1", "app/b@n2"]
    for documents, endpoints, why in (
        (network("subnets"), both, "gets what is for the others"),
        (network("endpoints", "l2"), both, "nobody needs a route"),
        (network("endpoints").replace("parent: up0, ", ""), both, "leads nowhere"),
    ):
        routed.declare(endpoints, [documents])
        with pytest.raises(CnmError, match=why):
            routed.plan("n1")
    routed.write([network("endpoints")], both)
    with pytest.raises(CnmError, match="speaks no BGP"):
        routed.plan("n1")
