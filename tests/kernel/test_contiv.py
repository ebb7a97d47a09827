"""Driver contiv, end to end: real daemons, real packets; policies as flows are what the evaluator says."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path

import pytest

from reconciler.engine.reach import Reach, service
from tests.kernel import switch
from tests.kernel.lan import full_size
from tests.kernel.private import answers, isolated, run
from tests.kernel.scene import OUTSIDE4, OUTSIDE6, Scene, add_outside
from tests.kernel.switch import vsctl
from tests.kernel.test_ovs import endpoints, flood, heard, transfer
from tests.kernel.test_rates import LEAST, MBIT, MOST
from tests.lab import Host
from tests.lab.fabric import Fabric
from tests.policy.prober import Probe, Prober
from tests.policy.worlds import PORTS, Dice, Spec, plain, selector_text

pytestmark = pytest.mark.requires("netns", "ovs", "link:veth", "link:tap", "ping")

datapaths = pytest.mark.parametrize(
    "datapath",
    [pytest.param("netdev"), pytest.param("system", marks=pytest.mark.requires("ovs-datapath"))],
)


def network(name: str, number: int, options: str, more: str = "", *, ipv6: bool = True) -> str:
    six = f', {{cidr: "fd0{number}::/64"}}' if ipv6 else ""
    return (
        f"kind: Network\nmetadata: {{name: {name}}}\nspec:\n  driver: contiv\n"
        f"  subnets: [{{cidr: 10.{number}.0.0/24}}{six}]\n  options: {{{options}}}\n{more}\n---\n"
    )


@contextmanager
def scene_of(folder: Path) -> Iterator[Scene]:
    switch.start()
    with Scene(folder) as scene:
        yield scene


def flows(bridge: str = "br-contiv") -> str:
    return run(
        "ovs-ofctl", "-O", "OpenFlow14", "--names", "--no-stats", "dump-flows", f"unix:{switch.RUNTIME}/{bridge}.mgmt"
    )


@datapaths
@isolated
def test_networks_are_apart_and_members_of_one_together(datapath: str, tmp_path: Path) -> None:
    one = network("front", 1, f"vlan: 101, datapath: {datapath}")
    two = network("back", 2, f"encapsulation: vxlan, datapath: {datapath}")
    with scene_of(tmp_path) as scene:
        scene.apply(one + two + endpoints("front/a", "front/b", "back/c", "back/d"))
        for version in (4, 6):
            assert scene.reaches("a", scene.address("front/b", version))
            assert scene.reaches("c", scene.address("back/d", version))
            assert transfer("a", "b", scene.address("front/b", version))
        full_size("a", scene.address("front/b"), 1500)
        full_size("c", scene.address("back/d"), 1450)
        run("ip", "-n", "a", "route", "add", "10.2.0.0/24", "dev", "eth0")
        assert not scene.reaches("a", scene.address("back/c"))
        scene.destroy()
        assert vsctl("list-br") == ""


@datapaths
@isolated
def test_each_node_routes_between_networks_that_let_others_in(datapath: str, tmp_path: Path) -> None:
    options = f"encapsulation: vxlan, datapath: {datapath}, forwarding: routing"
    front, aside = network("front", 1, options), network("aside", 3, options)
    back = network("back", 2, options, "  allowFrom: [front]")
    with scene_of(tmp_path) as scene:
        scene.apply(front + back + aside + endpoints("front/a", "back/b", "aside/c"))
        for version, gateway in ((4, "10.1.0.1"), (6, "fd01::1")):
            a, b, c = (scene.address(f"{name}", version) for name in ("front/a", "back/b", "aside/c"))
            assert scene.reaches("a", gateway), "the gateway answers"
            assert scene.reaches("a", b)
            assert "ttl=63" in run("ip", "netns", "exec", "a", "ping", "-c1", "-W2", b)
            assert transfer("a", "b", b)
            assert not scene.reaches("b", a), "answers pass, and nothing else does"
            assert not scene.reaches("a", c)
        scene.destroy()


@pytest.mark.requires("nft")
@datapaths
@isolated
def test_the_way_out_is_the_hosts(datapath: str, tmp_path: Path) -> None:
    """By translation: one way, and to no other network of the bridge. Routed: both ways."""
    add_outside(routed=True)
    options = f"vlan: 101, datapath: {datapath}, forwarding: routing"
    back = network("back", 2, options.replace("101", "102"))
    plugged = endpoints("front/a", "back/b")
    with scene_of(tmp_path) as scene:
        scene.apply(network("front", 1, f"{options}, outgoing: nat") + back + plugged)
        for version, outside in ((4, OUTSIDE4), (6, OUTSIDE6)):
            assert until(lambda outside=outside: scene.reaches("a", outside))
            assert transfer("a", "outside", outside)
            assert not scene.reaches("outside", scene.address("front/a", version))
            assert not scene.reaches("a", scene.address("back/b", version)), "not by way of the host either"
            assert not scene.reaches("b", outside)
        full_size("a", OUTSIDE4, 1500)
        scene.apply(network("front", 1, f"{options}, outgoing: routed") + back + plugged)
        for version, outside in ((4, OUTSIDE4), (6, OUTSIDE6)):
            assert until(lambda version=version: scene.reaches("outside", scene.address("front/a", version)))
            assert transfer("outside", "a", scene.address("front/a", version))
            assert scene.reaches("a", outside)
        scene.apply(network("front", 1, options) + back + plugged)
        assert not scene.reaches("a", OUTSIDE4)
        scene.destroy()
        assert vsctl("list-br") == ""


@isolated
def test_an_endpoint_sends_under_its_own_addresses_only(tmp_path: Path) -> None:
    with scene_of(tmp_path) as scene:
        scene.apply(network("front", 1, "vlan: 101, datapath: netdev") + endpoints("front/a", "front/b", "front/c"))
        a, b = scene.address("front/a"), scene.address("front/b")
        assert scene.reaches("a", b)
        run("ip", "-n", "a", "address", "add", "10.1.0.99/24", "dev", "eth0")
        assert not answers("ip", "netns", "exec", "a", "ping", "-c1", "-W1", "-I", "10.1.0.99", b)
        run("ip", "-n", "c", "address", "add", f"{a}/24", "dev", "eth0")  # somebody else's
        assert not answers("ip", "netns", "exec", "c", "ping", "-c1", "-W1", "-I", a, b)
        run("ip", "-n", "c", "address", "del", f"{a}/24", "dev", "eth0")
        run("ip", "-n", "b", "link", "set", "eth0", "address", "02:00:00:00:00:99")
        assert not scene.reaches("b", a)
        scene.apply()
        assert scene.reaches("b", a)


# -- policies ------------------------------------------------------------------------------------------------------

ROLES = ("web", "db", "batch")


def group_of(name: str, role: str) -> str:
    return (
        f'kind: EndpointGroup\nmetadata: {{name: {name}}}\nspec: {{network: front, selector: role == "{role}"}}\n---\n'
    )


def world(default: str) -> str:
    text = network("front", 1, "vlan: 101, datapath: netdev")
    text += f"kind: Tenant\nmetadata: {{name: shop}}\nspec: {{networks: [front], policyDefault: {default}}}\n---\n"
    text += "".join(group_of(role, role) for role in ROLES)
    for number in range(6):
        role, stage = ROLES[number % 3], ("blue", "green")[number // 3]
        text += (
            f"kind: Sandbox\nmetadata: {{name: s{number}, labels: {{role: {role}, stage: {stage}}}}}\n"
            f"spec: {{ports: [{{name: http, port: {PORTS[number % 2]}}}]}}\n---\n"
            f"kind: Endpoint\nmetadata: {{name: s{number}}}\nspec: {{network: front, sandbox: s{number}}}\n---\n"
        )
    for name, order, end in (("security", 10, "pass"), ("application", 20, "deny")):
        text += f"kind: Tier\nmetadata: {{name: {name}}}\nspec: {{order: {order}, defaultAction: {end}}}\n---\n"
    return text


def expressible(spec: Spec) -> Spec:
    """Without what flows cannot say."""
    for way in ("ingress", "egress"):
        for rule in spec.get(way, ()):
            rule.pop("notIcmp", None)
            rule.pop("notProtocol", None)
            rule["action"] = rule["action"].replace("log", "allow")
    return spec


def documents(policies: dict[str, Spec]) -> str:
    return "---\n".join(
        f"kind: Policy\nmetadata: {{name: {name}}}\nspec: {json.dumps(plain(spec))}\n"
        for name, spec in policies.items()
    )


def expected(scene: Scene, probes: list[Probe]) -> set[Probe]:
    reach = Reach(scene.controller.validate([str(scene.folder)]).topology)
    at = {endpoint.name: endpoint for endpoint in reach.endpoints}
    found = set()
    for probe in probes:
        what = service("icmp" if probe.protocol == "icmp" else f"{probe.port}/{probe.protocol}")
        if reach.ask(at[probe.source], at[probe.destination], probe.version, what).allowed:
            found.add(probe)
    return found


@pytest.mark.parametrize("default", ["allow", "deny"])
@isolated
def test_the_matrix_is_what_packets_do(default: str, tmp_path: Path) -> None:
    """And again after each of some random changes of the policies: TCP, UDP and ICMP, IPv4 and IPv6."""
    dice = Dice(7 if default == "allow" else 8, ["10.1.0.0/30", "10.1.0.0/24", "fd01::/126"], ())
    names = [f"s{number}" for number in range(6)]
    probes = [
        Probe(source, destination, version, protocol, port)
        for source, destination in permutations(names, 2)
        for version in (4, 6)
        for protocol, ports in (("icmp", (0,)), ("tcp", PORTS[:2]), ("udp", PORTS[:2]))
        for port in ports
    ]
    policies: dict[str, Spec] = {f"p{number}": expressible(dice.policy()) for number in range(3)}
    if default == "deny":
        everything = [{"action": "allow"}]
        policies["out"] = {"tier": "default", "order": 99, "types": ["egress"], "egress": everything}
        policies["in"] = {"tier": "default", "order": 99, "selector": 'stage == "blue"', "ingress": everything}
    with scene_of(tmp_path) as scene:
        scene.apply(world(default) + documents(policies))
        where = {name: {version: scene.address(f"front/{name}", version) for version in (4, 6)} for name in names}
        told_apart = 0
        with Prober(where, PORTS[:2]) as prober:
            for change in range(6):
                said = expected(scene, probes)
                told_apart += 0 < len(said) < len(probes)
                arrived = prober.arrived(probes, 0.7)
                wrong = [f"passed: {p}" for p in sorted(arrived - said)] + [
                    f"lost: {p}" for p in sorted(said - arrived)
                ]
                assert wrong == [], documents(policies)
                policies[f"p{change % 4}"] = expressible(dice.policy())
                scene.apply(world(default) + documents(policies))
        assert told_apart >= 3, "the policies tell something apart"


@isolated
def test_a_policy_holds_at_once_and_answers_pass(tmp_path: Path) -> None:
    allow = [{"action": "allow", "protocol": "tcp", "source": {"selector": 'cnm/group == "web"'}}]
    policy: dict[str, Spec] = {"db": {"selector": 'cnm/group == "db"', "ingress": allow}}
    with scene_of(tmp_path) as scene:
        scene.apply(world("allow") + documents(policy))
        web, db = scene.address("front/s0"), scene.address("front/s1")
        assert transfer("s0", "s1", db)
        assert not scene.reaches("s0", db)
        assert scene.reaches("s1", web), "what the database opens itself is answered"
        policy["db"]["ingress"] = []
        policy["db"]["types"] = ["ingress"]
        scene.apply(world("allow") + documents(policy))
        assert not transfer("s0", "s1", db, 1000)
        assert selector_text(None) == "all()"


@isolated
def test_a_staged_policy_counts_and_enforces_nothing(tmp_path: Path) -> None:
    """In its place in the order: what a policy before it decides does not come to it, what comes behind it is enforced."""
    web, db = {"selector": 'cnm/group == "web"'}, 'cnm/group == "db"'
    policies: dict[str, Spec] = {
        "first": {"order": 1, "selector": db, "ingress": [{"action": "allow", "protocol": "udp"}]},
        "rehearsed": {"order": 2, "selector": db, "staged": True, "types": ["ingress"], "ingress": [
            {"action": "allow", "protocol": "tcp"}, {"action": "deny", "source": web}]},
        "last": {"order": 3, "selector": db, "ingress": [{"action": "allow", "source": web}]},
    }  # fmt: skip

    def counted() -> dict[str, int]:
        """Packets that the staged policy's rules met, by rule: as the documentation says how to ask."""
        ask = (
            'ovs-ofctl dump-flows "$1" cookie=0x$(printf Policy/rehearsed | sha256sum | cut -c1-4)/0xffff |'
            r" sed -n 's/.*n_packets=\([0-9]*\),.*priority=[0-9]*,\(tcp\|ip\),.*/\2 \1/p'"
        )
        told = run("sh", "-c", ask, "sh", f"unix:{switch.RUNTIME}/br-contiv.mgmt").split()
        return {rule: int(number) for rule, number in zip(told[::2], told[1::2], strict=True)}

    def at_rest() -> dict[str, int]:
        """What passes by the datapath's cache is counted when ovs-vswitchd next looks there, twice a second."""
        seen, now = counted(), {}
        deadline = time.monotonic() + 20
        while seen != now and time.monotonic() < deadline:
            time.sleep(1.2)
            seen, now = now, counted()
        return now

    with scene_of(tmp_path) as scene:
        scene.apply(world("allow") + documents(policies))
        target = scene.address("front/s1")
        assert scene.reaches("s0", target), "what it would deny passes"
        assert not scene.reaches("s2", target), "what comes behind it holds"
        assert transfer("s0", "s1", target)
        before = at_rest()
        assert before["ip"] >= 1, before
        assert before["tcp"] >= 10, before
        assert flood("s0", "s1", target) > MBIT, "decided before it"
        assert at_rest() == before
        policies["rehearsed"]["staged"] = False
        scene.apply(world("allow") + documents(policies))
        assert not scene.reaches("s0", target)
        assert transfer("s0", "s1", target)


# -- rates ---------------------------------------------------------------------------------------------------------


@pytest.mark.requires("tcpdump")
@datapaths
@isolated
def test_a_profile_holds_its_groups_rates_and_dscp(datapath: str, tmp_path: Path) -> None:
    text = network("front", 1, f"vlan: 101, datapath: {datapath}")
    text += "kind: Tenant\nmetadata: {name: shop}\nspec: {networks: [front]}\n---\n"
    text += 'kind: EndpointGroup\nmetadata: {name: slow}\nspec: {network: front, selector: cnm/endpoint == "a", profile: bronze}\n---\n'
    text += (
        "kind: Profile\nmetadata: {name: bronze}\nspec: {send: {rate: 4mbit}, receive: {rate: 8mbit}, dscp: 46}\n---\n"
    )
    with scene_of(tmp_path) as scene:
        scene.apply(text + endpoints("front/a", "front/b"))
        assert LEAST < flood("a", "b", scene.address("front/b", 6)) / (4 * MBIT) < MOST
        assert LEAST < flood("b", "a", scene.address("front/a")) / (8 * MBIT) < MOST
        with heard("b", "icmp") as words:
            assert scene.reaches("a", scene.address("front/b"))
            assert "tos 0xb8" in words()
        scene.apply(text.replace(", profile: bronze", "") + endpoints("front/a", "front/b"))
        assert flood("a", "b", scene.address("front/b")) > 2 * 4 * MBIT, "no limit is left"
        assert "meter" not in flows()


@pytest.mark.requires("tcpdump")
@isolated
def test_on_a_fabric_each_group_has_its_own_vlan(tmp_path: Path) -> None:
    """The leaf tells groups apart, so also what two groups of one node say to each other goes there."""
    text = network("front", 1, "datapath: netdev, uplink: up0", ipv6=False) + endpoints(
        "front/web", "front/web2", "front/db"
    )
    text += """
---
kind: AciFabric
metadata: {name: dc1}
spec: {apics: ["https://192.0.2.1"], user: cnm, passwordFile: /run/none, physicalDomain: servers}
---
kind: Tenant
metadata: {name: shop}
spec: {networks: [front], fabric: dc1}
---
kind: EndpointGroup
metadata: {name: web}
spec: {network: front, selector: cnm/endpoint starts with "web", vlan: 101}
---
kind: EndpointGroup
metadata: {name: db}
spec: {network: front, selector: cnm/endpoint == "db", vlan: 102}
"""
    run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "leaf")
    run("ip", "link", "set", "leaf", "up")
    run("ip", "link", "set", "up0", "up")
    with scene_of(tmp_path) as scene:
        scene.apply(text)  # what concerns the fabric waits: nobody has its password
        assert {key.key.kind for key in scene.plan().pending} == {"fabric", "mo"}
        assert scene.reaches("web", scene.address("front/web2"))
        for sender, receiver, tag in (("web", "db", 101), ("db", "web", 102)):
            argv = ("timeout", "10", "tcpdump", "-lnei", "leaf", "-c1", "icmp or (vlan and icmp)")
            with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listener:
                assert listener.stderr is not None
                assert listener.stdout is not None
                assert any("listening" in line for line in listener.stderr)
                assert not scene.reaches(sender, scene.address(f"front/{receiver}")), "nobody is at the leaf"
                assert f"vlan {tag}," in listener.stdout.read()


# -- drift ---------------------------------------------------------------------------------------------------------


@isolated
def test_what_is_taken_away_is_put_back_and_what_is_foreign_stays(tmp_path: Path) -> None:
    with scene_of(tmp_path) as scene:
        scene.apply(network("front", 1, "vlan: 101, datapath: netdev") + endpoints("front/a", "front/b"))
        address, whole = scene.address("front/b"), flows()

        def again(*more: str) -> None:
            assert not scene.plan().empty, more
            scene.apply()
            assert scene.reaches("a", address), more

        bridge = f"unix:{switch.RUNTIME}/br-contiv.mgmt"
        run("ovs-ofctl", "-O", "OpenFlow14", "del-flows", bridge)
        again("flows")
        assert flows() == whole
        run("ovs-ofctl", "-O", "OpenFlow14", "add-flow", bridge, "table=0,priority=1,dl_type=0x9999,actions=drop")
        scene.apply()
        assert "0x9999" in flows(), "not ours to remove"
        run("ovs-vsctl", "del-port", "br-contiv", vsctl("list-ports", "br-contiv").split()[0])
        again("port")
        switch.kill("ovs-vswitchd")
        switch.start_daemon()
        again("ovs-vswitchd")
        switch.kill("ovs-vswitchd")
        switch.kill("ovsdb-server")
        (switch.RUNTIME / "conf.db").unlink()
        switch.start()
        again("database")
        run("ip", "link", "delete", "dev", port_of("a"))
        again("veth")
        scene.destroy()
        assert vsctl("list-br") == ""


def port_of(netns: str) -> str:
    """The host's end of a sandbox's eth0."""
    (end,) = json.loads(run("ip", "-n", netns, "-j", "link", "show", "eth0"))
    return next(link["ifname"] for link in json.loads(run("ip", "-j", "link")) if link["ifindex"] == end["link_index"])


# -- several hosts -------------------------------------------------------------------------------------------------

NODES = ("one", "two", "three")


def until(what: Callable[[], bool], patience: float = 10.0) -> bool:
    deadline = time.monotonic() + patience
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def pings(host: Host, sandbox: str, address: str) -> bool:
    argv = ("ip", "netns", "exec", sandbox, "ping", "-c1", "-W1", "-q", address)
    return host.run(*argv, check=False).returncode == 0


def on_nodes(fabric: Fabric, text: str) -> str:
    parts = [*fabric.node_documents(), *text.strip().removesuffix("---").split("\n---\n")]
    return "---\n".join(f"apiVersion: cnm/v1alpha1\n{part.strip()}\n" for part in parts if part.strip())


def placed(*places: str) -> str:
    """``network/name@node ADDRESS``."""
    text = ""
    for place in places:
        where, address = place.split(" ")
        net, _, rest = where.partition("/")
        name, _, node = rest.partition("@")
        text += f"kind: Sandbox\nmetadata: {{name: {name}}}\nspec: {{node: {node}}}\n---\n"
        text += f"kind: Endpoint\nmetadata: {{name: {name}}}\nspec: {{network: {net}, sandbox: {name}, addresses: [{address}]}}\n---\n"
    return text


@pytest.mark.parametrize("encapsulation", ["vlan", "vxlan"])
def test_a_network_over_several_hosts(encapsulation: str, tmp_path: Path) -> None:
    options = "vlan: 101, uplink: up0" if encapsulation == "vlan" else "encapsulation: vxlan"
    other = "vlan: 102, uplink: up0" if encapsulation == "vlan" else "encapsulation: vxlan"
    text = network("front", 1, f"{options}, datapath: netdev", ipv6=False)
    text += network("back", 2, f"{other}, datapath: netdev", ipv6=False)
    text += placed("front/a@one 10.1.0.11", "front/b@two 10.1.0.12", "front/c@three 10.1.0.13", "back/d@two 10.2.0.12")
    with Fabric(NODES, mtu=1600) as fabric:
        (tmp_path / "all.yaml").write_text(on_nodes(fabric, text))
        for number, name in enumerate(NODES, start=1):
            host = fabric[name]
            host.run("sh", "-c", switch.START)
            if encapsulation == "vxlan":  # userspace tunnels leave by a bridge that has the underlay's address
                host.run("sh", "-ec", f"""
                    ovs-vsctl add-br br-phy -- set bridge br-phy datapath_type=netdev -- add-port br-phy up0
                    ip address flush dev up0
                    ip address add 192.0.2.{number}/24 dev br-phy
                    ip link set br-phy up mtu 1600
                """)  # fmt: skip
            host.run("cnm", "apply", "--yes", "--node", name, tmp_path)
            assert "No changes." in host.run("cnm", "plan", "--node", name, tmp_path).stdout
        assert until(lambda: pings(fabric["one"], "a", "10.1.0.12"))
        assert until(lambda: pings(fabric["three"], "c", "10.1.0.11"))
        fabric["one"].run("ip", "-n", "a", "route", "add", "10.2.0.0/24", "dev", "eth0")
        assert not pings(fabric["one"], "a", "10.2.0.12")
        size = 1472 if encapsulation == "vlan" else 1422
        fabric["one"].run("ip", "netns", "exec", "a", "ping", "-c1", "-W2", "-M", "do", "-s", str(size), "10.1.0.12")
