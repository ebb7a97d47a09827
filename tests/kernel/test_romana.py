"""Driver romana, end to end: racks of hosts with a router each, with real packets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from reconciler.engine.controller import NetworkController
from reconciler.errors import ManifestError
from tests.kernel.overlay import Cluster
from tests.kernel.routed import Routed, wait
from tests.lab import difference
from tests.lab.fabric import UPLINK, Fabric
from tests.lab.host import Host

pytestmark = pytest.mark.requires("netns", "nft", "ping", "link:bridge", "link:veth")

RACKS = (("a1", "a2"), ("b1",), ("c1",))
PLACES = ("app/w@a1", "app/x@a2", "app/y@b1", "app/z@c1")
_WAY = re.compile(r"([0-9a-f.:]+/[0-9]+(?:, [0-9a-f.:]+/[0-9]+)*)  via ([0-9a-f.:]+)$")


class Racks(Fabric):
    """Hosts in racks, an Ethernet each, and one router that all racks are on: ``switch``. The k-th host of rack r is
    198.18.r.k and 2001:db8:r::k, the router .254 and ::fe there, and the default route of all."""

    def __init__(self, racks: Sequence[Sequence[str]]) -> None:
        self._stack = ExitStack()
        self.racks = racks
        self.names = tuple(name for members in racks for name in members)
        with ExitStack() as undo:
            undo.callback(self._stack.close)
            self.switch = self._stack.enter_context(Host("router"))
            six = "net.ipv6.conf"
            self.switch.run("sysctl", "-qw", "net.ipv4.ip_forward=1", f"{six}.all.forwarding=1", f"{six}.default.accept_dad=0")  # fmt: skip
            self.hosts = {name: self._stack.enter_context(Host(name)) for name in self.names}
            for rack, members in enumerate(racks, start=1):
                self.switch.ip(f"link add rack{rack} type bridge mcast_snooping 0")
                self.switch.ip(f"address add 198.18.{rack}.254/24 dev rack{rack}")
                self.switch.ip(f"address add 2001:db8:{rack}::fe/64 dev rack{rack} nodad")
                self.switch.ip(f"link set rack{rack} up")
                for number, name in enumerate(members, start=1):
                    host = self.hosts[name]
                    self.switch.ip(f"link add {name} type veth peer name {UPLINK} netns {host.pid}")
                    self.switch.ip(f"link set {name} master rack{rack} up")
                    host.run("sysctl", "-qw", f"{six}.{UPLINK}.accept_dad=0")
                    host.ip(f"address add 198.18.{rack}.{number}/24 dev {UPLINK}")
                    host.ip(f"address add 2001:db8:{rack}::{number}/64 dev {UPLINK} nodad")
                    host.ip(f"link set {UPLINK} up")
                    host.ip(f"route add default via 198.18.{rack}.254")
                    host.ip(f"-6 route add default via 2001:db8:{rack}::fe")
            undo.pop_all()

    def node_documents(self) -> list[str]:
        return [
            f"kind: Node\nmetadata: {{name: {name}, labels: {{rack: r{rack}}}}}\n"
            f'spec: {{addresses: [198.18.{rack}.{number}, "2001:db8:{rack}::{number}"]}}'
            for rack, members in enumerate(self.racks, start=1)
            for number, name in enumerate(members, start=1)
        ]


class Centre(Cluster):
    """Racks that apply the same manifests, and a router whose owner types in what ``cnm graph --addresses`` says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fabric = Racks(RACKS)

    def tell_router(self) -> None:
        router = self.fabric.switch
        for family in ("-4", "-6"):
            router.ip(f"{family} route flush proto static")
        printed = router.run("cnm", "graph", "--addresses", "--node", "a1", self.folder).stdout
        found = [line for line in map(_WAY.search, printed.splitlines()) if line]
        assert found, printed
        for line in found:
            for prefix in line[1].split(", "):
                router.ip(f"route add {prefix} via {line[2]} proto static")

    def unreached(self, *sandboxes: str) -> list[str]:
        """``FROM ADDRESS`` of what sandboxes (default: all) do not reach, of all endpoints' addresses of both families."""
        with NetworkController(node="a1") as controller:
            view = controller.validate([str(self.folder)]).topology.network("app")
        far = " ".join(str(address.ip) for endpoint in view.endpoints for address in endpoint.addresses)
        script = f"for a in {far}; do {{ ping -n -q -c1 -W3 $a >/dev/null || echo $a; }} & done; wait"
        places = {e.name: e.sandbox.node for e in view.endpoints if not sandboxes or e.name in sandboxes}
        running = {name: self.fabric[node].popen("sh", "-c", script, netns=name) for name, node in places.items()}
        return [f"{name} {line}" for name, one in running.items() for line in one.communicate()[0].splitlines()]


def network(order: Sequence[int] = (1, 2, 3), more: str = "") -> str:
    groups = [f'{{name: r{n}, labels: {{rack: r{n}}}, routers: [198.18.{n}.254, "2001:db8:{n}::fe"]}}' for n in order]
    return (
        'kind: Network\nmetadata: {name: app}\nspec: {driver: romana, subnets: [{cidr: 10.1.0.0/24}, {cidr: "fd01::/64"}], '
        f"options: {{groups: [{', '.join(groups)}]{more}}}}}"
    )


def routes(host: Host) -> list[str]:
    """What is ours on the host, but for its own endpoints."""
    lines = [line for family in ("-4", "-6") for line in host.ip(f"{family} route show proto 147").splitlines()]
    return sorted(
        line.partition(" metric")[0].replace(f" dev {UPLINK}", "").strip() for line in lines if " ve-" not in line
    )


@pytest.mark.requires("tcpdump")
def test_packets_cross_racks_as_they_are_and_nothing_stays_behind(tmp_path: Path) -> None:
    with Centre(tmp_path) as centre:
        before = {node: host.fingerprint() for node, host in centre.fabric.hosts.items()}
        centre.write([network()], PLACES)
        centre.apply()
        centre.tell_router()
        assert routes(centre.fabric["a1"]) == [
            "10.1.0.128/26 via 198.18.1.254",
            "10.1.0.32/27 via 198.18.1.2",
            "10.1.0.64/26 via 198.18.1.254",
            "fd01::2000:0:0:0/67 via 2001:db8:1::2",
            "fd01::4000:0:0:0/66 via 2001:db8:1::fe",
            "fd01::8000:0:0:0/66 via 2001:db8:1::fe",
            "unreachable 10.1.0.0/24",
            "unreachable fd01::/64 dev lo",
        ]
        with centre.watching("c1", "icmp or icmp6") as heard:
            assert centre.unreached() == []
        near, far, six = centre.address("app/w"), centre.address("app/z"), centre.address("app/z", 6)
        assert any(f"IP {near} > {far}: ICMP echo request" in line for line in heard)
        assert any(f"IP6 {centre.address('app/w', 6)} > {six}: ICMP6, echo request" in line for line in heard)
        assert centre.reaches("a1", "w", centre.address("app/z"), size=1500 - 28)
        for node in centre.fabric.names:
            assert centre.plan(node).empty
            centre.destroy(node)
            assert difference(before[node], centre.fabric[node].fingerprint()) == []


def test_what_nobody_has_is_answered_at_once(tmp_path: Path) -> None:
    with Centre(tmp_path) as centre:
        centre.write([network()], PLACES)
        centre.apply()
        centre.tell_router()
        for address in ("10.1.0.77", "fd01:0:0:0:4000::77"):  # in rack 2, which b1 has all of
            command = ("ping", "-n", "-c1", "-W3", address)
            done = centre.fabric["a1"].run(*command, netns="w", check=False)
            assert "nreachable" in done.stdout, done.stdout


def test_one_endpoint_more_changes_one_route_here_and_none_elsewhere(tmp_path: Path) -> None:
    with Centre(tmp_path) as centre:
        centre.write([network()], PLACES)
        centre.apply()
        centre.tell_router()
        centre.write([network()], [*PLACES, "app/w2@a1"])
        with centre.fabric["a1"].events() as heard:
            centre.apply("a1")
        others = [
            line for line in heard.lines if " via 198.18." in line or " via 2001:db8:" in line or "unreachable" in line
        ]
        assert others == [], "routes that stay are not touched"
        for node in ("a2", "b1", "c1"):
            assert centre.plan(node).empty
        assert centre.reaches("c1", "z", centre.address("app/w2"))
        assert centre.reaches("c1", "z", centre.address("app/w2", 6))


DRIFT = [
    "ip route delete 10.1.0.64/26",
    "ip route replace 10.1.0.64/26 via 198.18.1.2 proto 147",
    "ip route flush proto 147",
    "ip -6 route flush proto 147",
    "ip -n w neighbour delete 169.254.1.1 dev eth0",
    "ip -n w neighbour replace 169.254.1.1 dev eth0 lladdr 02:00:00:00:00:99 nud permanent",
    "ip -n w route delete default",
    "ip -n w address flush dev eth0 scope global",
    "sysctl -qw net.ipv4.ip_forward=0",
]


def test_drift_is_repaired_and_foreign_routes_are_left(tmp_path: Path) -> None:
    with Centre(tmp_path) as centre:
        centre.write([network()], PLACES)
        centre.apply()
        centre.tell_router()
        host = centre.fabric["a1"]
        host.ip("route add 203.0.113.0/24 via 198.18.1.254")
        for line in DRIFT:
            host.run("sh", "-c", line)
            assert not centre.plan("a1").empty, line
            centre.apply("a1")
            assert centre.unreached("w") == [], line
        assert "203.0.113.0/24" in host.ip("route show")


def test_a_changed_topology_moves_all_or_nobody(tmp_path: Path) -> None:
    with Centre(tmp_path) as centre:
        centre.write([network()], PLACES)
        centre.apply()
        centre.tell_router()
        lock, was = (tmp_path / "cnm.lock").read_bytes(), routes(centre.fabric["a1"])
        more = [f"app/m{number}@b1" for number in range(40)]
        centre.write([network((3, 1, 2), ", room: 8")], [*PLACES, *more])  # racks of 32 addresses: not for 41
        with pytest.raises(ManifestError, match="no IPv4 address is left for endpoint"):
            centre.apply()
        assert (tmp_path / "cnm.lock").read_bytes() == lock
        assert routes(centre.fabric["a1"]) == was
        centre.write([network((3, 1, 2))], PLACES)
        centre.apply()
        centre.tell_router()
        assert centre.address("app/z") == "10.1.0.1"
        assert centre.address("app/w").startswith("10.1.0.6")
        assert centre.unreached() == []


def test_policies_hold_for_routed_endpoints(tmp_path: Path) -> None:
    policy = """
        kind: Policy
        metadata: {name: from-z}
        spec:
          selector: tier == 'web'
          ingress: [{action: allow, source: {selector: tier == 'z'}}]
    """
    with Centre(tmp_path) as centre:
        centre.write([network(), policy], PLACES)
        text = (tmp_path / "all.yaml").read_text()
        for name, tier in (("w", "web"), ("z", "z")):
            head = f"kind: Endpoint\nmetadata: {{name: {name}"
            text = text.replace(f"{head}}}", f"{head}, labels: {{tier: {tier}}}}}")
        (tmp_path / "all.yaml").write_text(text)
        centre.apply()
        centre.tell_router()
        for version in (4, 6):
            assert centre.reaches("c1", "z", centre.address("app/w", version))
            assert not centre.reaches("b1", "y", centre.address("app/w", version))
            assert not centre.reaches("a2", "x", centre.address("app/w", version))


@pytest.mark.requires("bird")
def test_by_bgp_a_node_announces_its_parts_and_no_endpoint(tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    labels = {"n1": "{rack: r1}", "n2": "{rack: r1}", "n3": "{rack: r2}"}
    told = network((1, 2), ", routing: bgp")
    with Routed(folder, list(labels)) as cluster:
        before = cluster.fabric["n1"].fingerprint()
        cluster.declare(["app/x@n1", "app/y@n2", "app/z@n3"], [told], labels=labels)
        cluster.apply()
        learned = ["10.1.0.128/25 via 192.0.2.3", "10.1.0.64/26 via 192.0.2.2"]
        assert wait(lambda: by_bird(cluster.fabric["n1"]) == learned), by_bird(cluster.fabric["n1"])
        for version in (4, 6):
            for far in ("app/y", "app/z"):
                address = cluster.address(far, version)
                assert wait(lambda a=address: cluster.reaches("n1", "x", a)), address  # type: ignore[misc]
        cluster.declare(["app/x@n1", "app/y@n2", "app/y2@n2", "app/z@n3"], [told], labels=labels)
        cluster.apply()
        assert cluster.reaches("n1", "x", cluster.address("app/y2")), "the route was there before it"
        assert by_bird(cluster.fabric["n1"]) == learned
        cluster.destroy("n1")
        assert wait(lambda: difference(before, cluster.fabric["n1"].fingerprint()) == [])


def by_bird(host: Host) -> list[str]:
    lines = host.ip("-4 route show proto bird").splitlines()
    return sorted(" ".join(line.split()[:3]) for line in lines)
