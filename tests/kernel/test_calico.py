"""Routed networks: endpoints of several hosts reach each other under their own addresses, told of by BGP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.routed import POOLS, Routed, calico, wait
from tests.lab import difference
from tests.lab.capability import missing

pytestmark = pytest.mark.requires("netns", "ping", "bird", "link:veth")

DRIVERS = ("calico",)


@pytest.fixture
def routed(tmp_path: Path) -> Iterator[Routed]:
    folder = tmp_path / "manifests"
    folder.mkdir()
    with Routed(folder, ["n1", "n2", "n3"]) as cluster:
        yield cluster


@pytest.mark.requires("tcpdump")
def test_endpoints_reach_each_other_without_a_tunnel(routed: Routed) -> None:
    before = routed.fabric["n1"].fingerprint()
    routed.declare(["app/a@n1", "app/b@n2", "app/c@n3"])
    routed.apply()
    for version in (4, 6):
        for node, sandbox, far in (("n1", "a", "app/b"), ("n2", "b", "app/c"), ("n3", "c", "app/a")):
            address = routed.address(far, version)
            assert wait(lambda n=node, s=sandbox, a=address: routed.reaches(n, s, a)), far
    assert routed.reaches("n1", "a", routed.address("app/b"), size=1500 - 28), "nothing is wrapped around it"
    with routed.watching("n2", "icmp") as heard:
        assert routed.reaches("n1", "a", routed.address("app/b"))
    own = f"IP {routed.address('app/a')} > {routed.address('app/b')}: ICMP echo request"
    assert any(own in line for line in heard), heard
    with routed.fabric["n1"].events() as events:
        routed.apply("n1")
    assert events.lines == []
    routed.destroy("n1")
    assert wait(lambda: difference(before, routed.fabric["n1"].fingerprint()) == []), difference(
        before, routed.fabric["n1"].fingerprint()
    )


LEAF = """\
kind: BGPPeer
metadata: {name: leaf}
spec: {node: n1, address: 192.0.2.9, asn: 65003, passwordFile: /run/leaf.password, ttlSecurity: true}"""
# A router that is not ours, beside the BIRD of n3.
OTHER = """\
router id 192.0.2.9;
protocol device {{}}
protocol direct {{ ipv4; }}
protocol kernel {{ ipv4 {{ export all; }}; }}
protocol bgp n1 {{
  local 192.0.2.9 as 65003; neighbor 192.0.2.1 as {asn}; password "{password}"; ttl security yes;
  strict bind yes; connect delay time 1; connect retry time 1; error wait time 1, 1;
  ipv4 {{ import all; export none; }};
}}
"""


def start_other(routed: Routed, *, password: str = "secret", asn: int = 64512, text: str = OTHER) -> None:
    host = routed.fabric["n3"]
    host.ip("address add 192.0.2.9/24 dev up0")
    host.run("sh", "-c", "cat > /run/other.conf", input=text.format(password=password, asn=asn))
    host.run("bird", "-c", "/run/other.conf", "-s", "/run/other.ctl")


def write_password(routed: Routed, password: str, mode: str = "600") -> None:
    script = f"umask 077; echo '{password}' > /run/leaf.password; chmod {mode} /run/leaf.password"
    routed.fabric["n1"].run("sh", "-c", script)


def status(routed: Routed, name: str) -> str:
    """The lines of cnm status about a session of n1."""
    done = routed.fabric["n1"].run("cnm", "status", "--node", "n1", routed.folder, check=False)
    lines = done.stdout.splitlines()
    return "\n".join(line for line in lines if name in line) or done.stdout + done.stderr


def test_a_peer_with_a_password(routed: Routed) -> None:
    """It waits for the file, says what the router says, and comes up when both are right."""
    routed.declare(["app/a@n1"], [POOLS, calico(), LEAF])
    assert "no usable password in /run/leaf.password" in routed.plan("n1").pending[0].reason
    write_password(routed, "secret", mode="644")
    assert routed.plan("n1").pending, "others could read it"
    write_password(routed, "wrong")
    start_other(routed)
    routed.apply("n1")
    assert wait(lambda: "BIRD says: Connect" in status(routed, "peer.leaf"), 10), status(routed, "peer.leaf")
    assert routed.established("n1") == 0
    assert routes(routed, "n1")["peer.leaf"] == {"learned": [], "exported": [], "complete": True}
    write_password(routed, "secret")
    assert [str(op.key) for op in routed.plan("n1").ops()] == ["bird/own"]
    routed.apply("n1")
    assert wait(lambda: "Established" in status(routed, "peer.leaf")), status(routed, "peer.leaf")
    address = routed.address("app/a")
    assert wait(lambda: routed.fabric["n3"].run("ping", "-c1", "-W1", address, check=False).returncode == 0)
    config = routed.fabric["n1"].run("sh", "-c", "cd /run/cnm/*/bird; stat -c '%a %U' bird.conf; stat -c %U .").stdout
    mode, owner, folder = config.split()
    assert (mode, owner) == ("600", folder)
    write_password(routed, "another")
    shown = routed.fabric["n1"].run("cnm", "plan", "--json", "--node", "n1", routed.folder, check=False).stdout
    assert "bird/own" in shown
    assert "secret" not in shown
    assert 'another"' not in shown


def routes(routed: Routed, node: str, *options: str) -> dict[str, dict[str, Any]]:
    """Those of each session, as cnm status --json tells of them."""
    done = routed.fabric[node].run(
        "cnm", "status", "--routes", "--json", *options, "--node", node, routed.folder, check=False
    )
    rows = [row for row in json.loads(done.stdout)["rows"] if row["kind"] == "Session"]
    assert all("routes" in row for row in rows), rows
    return {row["name"]: row["routes"] for row in rows}


def test_status_tells_what_each_session_learned_and_exported(routed: Routed) -> None:
    """With attributes: of two routes to one prefix the better one is told apart, filters have been, and what is much is cut."""
    bgp = (
        "kind: BGPConfiguration\nmetadata: {name: default}\nspec:\n  communities: {ours: '64512:1:2'}\n  advertisements:\n"
        "  - {cidr: 10.48.0.0/16, communities: ['64512:100', ours]}\n  - {cidr: 198.51.100.0/24, originate: true}"
    )
    leaf = LEAF.replace(", passwordFile: /run/leaf.password, ttlSecurity: true", ", imports: [{RULE}]").replace(
        "RULE", "action: change, prefixes: [{cidr: 203.0.113.0/24}], localPref: 250, addCommunities: ['64512:7']"
    )
    routed.declare(["app/a@n1", "app/b@n2", "app/c@n3"], [POOLS, bgp, calico(), leaf])
    other = OTHER.replace("export none", "export where source = RTS_STATIC").replace(
        ' password "{password}"; ttl security yes;', ""
    )
    told = [f"203.0.113.0/{length}" for length in (24, 25)] + [f"100.64.{n}.0/24" for n in range(110)]
    other += "protocol static {{ ipv4; " + "".join(f"route {prefix} unreachable; " for prefix in told) + "}}\n"
    start_other(routed, text=other)
    routed.apply()
    assert wait(lambda: routed.established("n1") == 5)

    def seen(prefix: str, way: str = "learned", session: str = "node.n2.ipv4") -> list[dict[str, Any]]:
        return [route for route in routes(routed, "n1", "-v")[session][way] if route["prefix"] == prefix]

    block = routed.address("app/b").rsplit(".", 1)[0] + ".16/28"
    assert wait(lambda: bool(seen(block) and seen("198.51.100.0/24", session="node.n3.ipv4")), 10)
    common = {"dev": "up0", "best": True, "as_path": "", "local_pref": 100, "communities": ["64512:100", "64512:1:2"]}
    assert seen(block) == [{"prefix": block, "next_hop": "192.0.2.2", **common}]
    both = [seen("198.51.100.0/24", session=f"node.n{number}.ipv4") for number in (2, 3)]
    assert [(one["next_hop"], one["best"]) for (one,) in both] == [("192.0.2.2", False), ("192.0.2.3", False)]
    own = seen("10.48.0.0/28", "exported")
    assert [(one["communities"], one["next_hop"]) for one in own] == [(["64512:100", "64512:1:2"], "")]
    six = routes(routed, "n1")["node.n2.ipv6"]
    assert [(one["prefix"], one["next_hop"]) for one in six["learned"]] == [("fd48::40/122", "2001:db8::2")]
    assert [one["prefix"] for one in six["exported"]] == ["fd48::/122"]
    foreign = {"dev": "up0", "best": True, "as_path": "65003", "next_hop": "192.0.2.9"}
    first, second = (seen(prefix, session="peer.leaf")[0] for prefix in told[:2])
    assert first == {"prefix": told[0], **foreign, "local_pref": 250, "communities": ["64512:7"]}
    assert second == {"prefix": told[1], **foreign, "local_pref": 100, "communities": []}
    assert not seen(told[0], "exported"), "what was learned is not told on"
    few, many = routes(routed, "n1")["peer.leaf"], routes(routed, "n1", "-v")["peer.leaf"]
    assert (len(few["learned"]), few["complete"]) == (100, False)
    assert (len(many["learned"]), many["complete"]) == (112, True)
    done = routed.fabric["n1"].run("cnm", "status", "--routes", "--node", "n1", routed.folder)
    words = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert (
        f"node.n2.ipv4 learned {block} 192.0.2.2 dev up0 local preference 100 communities 64512:100 64512:1:2" in words
    )
    assert "node.n1.ipv4" not in done.stdout
    assert "Session peer.leaf: learned more than these 100 (-v shows them)" in words
    done = routed.fabric["n1"].run("cnm", "status", "--node", "n1", routed.folder)
    assert block not in done.stdout, "not asked for"


def test_another_as_than_the_peer_thinks(routed: Routed) -> None:
    routed.declare(["app/a@n1"], [POOLS, calico(), LEAF])
    write_password(routed, "secret")
    start_other(routed, asn=64999)
    routed.apply("n1")
    assert wait(lambda: "Bad peer AS" in status(routed, "peer.leaf")), status(routed, "peer.leaf")


def test_a_cut_is_noticed_by_bfd(routed: Routed) -> None:
    """Long before the hold time of 90 seconds; and a session that is mended comes back."""
    bgp = "kind: BGPConfiguration\nmetadata: {name: default}\nspec: {bfd: {interval: 100, multiplier: 5}}"
    leaf = LEAF.replace(", passwordFile: /run/leaf.password, ttlSecurity: true", ", bfd: {interval: 50}")
    other = OTHER.replace("strict bind", "bfd; strict bind").replace(' password "{password}"; ttl security yes;', "")
    start_other(routed, text=f"{other}protocol bfd {{{{}}}}\n")
    routed.declare(["app/a@n1", "app/b@n2"], [POOLS, calico(), bgp, leaf])
    routed.apply("n1", "n2")
    assert wait(lambda: routed.established("n1") == 3)
    assert wait(lambda: routed.birdc("n1", "show bfd sessions").count(" Up ") == 3)
    assert wait(lambda: routed.reaches("n1", "a", routed.address("app/b")))
    routed.fabric.switch.ip("link set n2 down")
    assert wait(lambda: routed.established("n1") == 1, 10), "the leaf's is left"
    assert wait(lambda: "BFD session down" in status(routed, "node.n2.ipv4"), 10), status(routed, "node.n2.ipv4")
    routed.fabric.switch.ip("link set n2 up")
    assert wait(lambda: routed.established("n1") == 3, 60)
    assert wait(lambda: routed.reaches("n1", "a", routed.address("app/b")))
    routed.fabric.switch.ip("link set n3 down")
    assert wait(lambda: "Established" not in status(routed, "peer.leaf"), 10)
    assert wait(lambda: routed.plan("n1").empty)


def test_a_configuration_that_takes_a_session_down_is_undone(routed: Routed) -> None:
    bgp = "kind: BGPConfiguration\nmetadata: {name: default}\nspec: {returnWithin: 3}"
    routed.declare(["app/a@n1"], [POOLS, calico(), LEAF, bgp])
    write_password(routed, "secret")
    start_other(routed)
    routed.apply("n1")
    assert wait(lambda: "Established" in status(routed, "peer.leaf"))
    before = routed.fabric["n1"].run("sh", "-c", "cat /run/cnm/*/bird/bird.conf").stdout
    write_password(routed, "wrong")
    done = routed.fabric["n1"].run("cnm", "apply", "--yes", "--node", "n1", routed.folder, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "peer.leaf: " in done.stdout + done.stderr
    assert "not up again within 3 s" in done.stdout + done.stderr
    assert routed.fabric["n1"].run("sh", "-c", "cat /run/cnm/*/bird/bird.conf").stdout == before
    assert wait(lambda: routed.established("n1") == 1)


def test_what_bird_refuses_changes_nothing(routed: Routed, tmp_path: Path) -> None:
    """No manifest can say something that BIRD does not read; a saved plan that somebody edited can."""
    host = routed.fabric["n1"]
    routed.declare(["app/a@n1", "app/b@n2"])
    routed.apply("n1", "n2")
    assert wait(lambda: routed.established("n1") == 2)
    before = host.run("sh", "-c", "cat /run/cnm/*/bird/bird.conf").stdout
    leaf = LEAF.replace(", passwordFile: /run/leaf.password", "")
    routed.declare(["app/a@n1", "app/b@n2", "app/c@n3"], [POOLS, calico(), leaf])
    saved = tmp_path / "plan.json"
    host.run("cnm", "plan", "-o", saved, "--node", "n1", routed.folder, check=False)
    saved.write_text(saved.read_text().replace('"BGPPeer leaf\\";', '"BGPPeer leaf\\"; hold thyme 90;'))
    done = host.run("cnm", "apply", "--yes", "--node", "n1", saved, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    assert re.search(r"bird: line \d+:\d+ syntax error, unexpected CF_SYM_UNDEFINED", done.stdout + done.stderr), (
        done.stderr
    )
    assert host.run("sh", "-c", "cat /run/cnm/*/bird/bird.conf").stdout == before
    assert routed.established("n1") == 2


@pytest.mark.requires("root")  # /etc/bird is the machine's root's
def test_a_bird_of_the_hosts_own_gets_an_include_file(routed: Routed) -> None:
    host = routed.fabric["n1"]
    theirs = (
        "router id 192.0.2.1;\nprotocol device {}\nprotocol direct { ipv4; ipv6; }\n"
        "protocol kernel { scan time 10; ipv4 { export where source = RTS_BGP; }; }\n"
        "protocol kernel { scan time 10; ipv6 { export where source = RTS_BGP; }; }\n"
        'include "/etc/bird/cnm.conf";\n'
    )
    host.run("sh", "-c", "touch /etc/bird/cnm.conf; mkdir -p /run/bird; cat > /etc/bird/bird.conf", input=theirs)
    host.run("bird", "-c", "/etc/bird/bird.conf", "-s", "/run/bird/bird.ctl")
    routed.declare(["app/a@n1", "app/b@n2"], bgp={"n1": "{bird: {includeFile: /etc/bird/cnm.conf}}"})
    routed.apply("n1", "n2")
    for version in (4, 6):
        address = routed.address("app/b", version)
        assert wait(lambda a=address: routed.reaches("n1", "a", a)), version
    told = routes(routed, "n1")["node.n2.ipv4"]
    ways = {way: [(one["prefix"], one["next_hop"]) for one in told[way]] for way in ("learned", "exported")}
    assert ways == {"learned": [("10.48.0.16/28", "192.0.2.2")], "exported": [("10.48.0.0/28", "")]}
    assert host.run("cat", "/etc/bird/bird.conf").stdout == theirs
    _its_own_file_is_broken(routed, theirs)
    routed.destroy("n1")
    assert "cnm_announced" not in host.run("birdc", "show", "protocols").stdout
    assert "device1" in host.run("birdc", "show", "protocols").stdout


def _its_own_file_is_broken(routed: Routed, theirs: str) -> None:
    """Somebody edits it, and has not loaded it: BIRD refuses the whole, says where, and goes on as it was."""
    host = routed.fabric["n1"]
    before = host.run("cat", "/etc/bird/cnm.conf").stdout
    host.run("sh", "-c", "cat > /etc/bird/bird.conf", input=theirs + "protocol kernel { scan thyme 10; }\n")
    leaf = LEAF.replace(", passwordFile: /run/leaf.password", "")
    routed.declare(
        ["app/a@n1", "app/b@n2"], [POOLS, calico(), leaf], bgp={"n1": "{bird: {includeFile: /etc/bird/cnm.conf}}"}
    )
    done = host.run("cnm", "apply", "--yes", "--node", "n1", routed.folder, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "bird: /etc/bird/bird.conf:7:" in done.stdout + done.stderr, done.stderr
    assert "syntax error" in done.stdout + done.stderr
    assert host.run("cat", "/etc/bird/cnm.conf").stdout == before
    assert routed.reaches("n1", "a", routed.address("app/b"))
    assert "peer.leaf" not in host.run("birdc", "show protocols").stdout
    host.run("sh", "-c", "cat > /etc/bird/bird.conf", input=theirs)
    routed.apply("n1")
    assert "peer.leaf" in host.run("birdc", "show protocols").stdout


def test_a_borrowed_address_is_announced_by_itself(routed: Routed) -> None:
    """n2 may have one block of four; the address that it borrows is n1's block's, and others find it at n2."""
    small = POOLS.replace("blockSize: 28", "blockSize: 30, maxBlocksPerNode: 1")
    names = ["app/a@n1", *[f"app/b{number}@n2" for number in range(5)], "app/c@n3"]
    routed.declare(names, [small, calico()])
    routed.apply()
    borrowed = routed.address("app/b4")
    assert wait(lambda: routed.reaches("n3", "c", borrowed))

    def told() -> list[list[str]]:
        return [line.split()[:3] for line in routed.fabric["n3"].ip("route show proto bird").splitlines()]

    assert wait(lambda: sum("/30" in to for to, *_via in told()) == 2), "two blocks"
    assert [via for to, *via in told() if to == borrowed] == [["via", "192.0.2.2"]]
    assert wait(lambda: routed.reaches("n1", "a", borrowed))
    routed.declare(["app/a@n1", "app/c@n3"], [small, calico()])
    routed.apply()
    assert "10.48.0.4/30" not in (routed.folder / "cnm.lock").read_text(), "a block without an address is given back"


@pytest.mark.requires("link:vxlan", "tcpdump")
@pytest.mark.parametrize(
    ("tunnel", "taken", "wrapped"),
    [
        ("vxlan", 50, "VXLAN"),
        pytest.param("ipip", 20, "IP 198.51.100.3 > 192.0.2.1: IP 10.48.", marks=pytest.mark.requires("link:ipip")),
    ],
)
def test_tunnels_only_where_a_router_is_between(routed: Routed, tunnel: str, taken: int, wrapped: str) -> None:
    """n3 is moved behind a router: to it through a tunnel, to n2 as it is."""
    host = routed.fabric["n3"]
    host.ip("address flush dev up0")
    host.ip("address add 198.51.100.3/24 dev up0")
    host.ip("route add default via 198.51.100.254")
    for node in ("n1", "n2"):
        routed.fabric[node].ip("route add 198.51.100.0/24 via 192.0.2.254")
    routed.fabric.switch.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    routed.fabric.switch.ip("address add 192.0.2.254/24 dev sw")
    routed.fabric.switch.ip("address add 198.51.100.254/24 dev sw")
    six = '"fd48::/112", encapsulation: always'
    pools = POOLS.replace("blockSize: 28", f"encapsulation: cross-subnet, tunnel: {tunnel}")
    pools = pools.replace('"fd48::/112"', f'{six}, networks: "!has(ipip)"')
    routed.declare(
        ["app/a@n1", "app/b@n2", "app/c@n3"], [pools, calico(labels="{ipip: one}" if tunnel == "ipip" else "{}")]
    )
    path = routed.folder / "all.yaml"
    path.write_text(path.read_text().replace("[192.0.2.3, ", "[198.51.100.3, "))
    routed.apply()
    seen = "icmp or udp port 4789 or ip proto 4"
    with routed.watching("n1", seen) as heard:
        assert wait(lambda: routed.reaches("n1", "a", routed.address("app/b")))
    assert not any(wrapped in line for line in heard), heard
    with routed.watching("n1", seen) as heard:
        assert wait(lambda: routed.reaches("n1", "a", routed.address("app/c"), size=1500 - taken - 28))
    assert any(wrapped in line for line in heard), heard
    assert not routed.reaches("n1", "a", routed.address("app/c"), size=1500 - taken - 27)
    for version in (4, 6) if tunnel == "vxlan" else (4,):
        for node, sandbox, far in (("n1", "a", "app/b"), ("n2", "b", "app/c"), ("n3", "c", "app/a")):
            address = routed.address(far, version)
            assert wait(lambda n=node, s=sandbox, a=address: routed.reaches(n, s, a)), far
    for node in routed.fabric.names:
        assert routed.plan(node).empty


def test_a_kernel_without_ipip_is_told_of(routed: Routed) -> None:
    pools = POOLS.split("---")[0].replace("blockSize: 28", "encapsulation: always, tunnel: ipip")
    routed.declare(["app/a@n1", "app/b@n2"], [pools, calico()])
    done = routed.fabric["n1"].run("cnm", "plan", "--node", "n1", routed.folder, check=False)
    lacking = missing("link:ipip")
    assert done.returncode == (1 if lacking else 2), done.stderr
    said = "network app (driver calico) needs link:ipip: the kernel has no ipip interfaces"
    assert (said in done.stderr) == bool(lacking), done.stderr


@pytest.mark.requires("nft", "tcpdump")
def test_who_leaves_and_under_which_address(routed: Routed) -> None:
    """Outgoing NAT for what leaves the pools; nobody sends under somebody else's address."""
    nat = POOLS.replace("blockSize: 28", "natOutgoing: true")
    routed.declare(["app/a@n1", "app/b@n2"], [nat, calico()])
    routed.apply("n1", "n2")
    own, far = routed.address("app/a"), routed.address("app/b")
    with routed.watching("n1", "icmp") as heard:
        assert wait(lambda: routed.reaches("n1", "a", "192.0.2.3"))
    assert any("192.0.2.1 > 192.0.2.3: ICMP echo request" in line for line in heard), heard
    with routed.watching("n1", "icmp") as heard:
        assert wait(lambda: routed.reaches("n1", "a", far))
    assert any(f"{own} > {far}: ICMP echo request" in line for line in heard), heard
    for address, length, target in (("10.48.99.9", 32, far), ("fd48::9999", 128, routed.address("app/b", 6))):
        routed.fabric["n1"].ip(f"address add {address}/{length} dev eth0 {'nodad' if length == 128 else ''}", netns="a")
        with routed.watching("n1", f"host {address}") as heard:
            routed.fabric["n1"].run("ping", "-c2", "-i0.2", "-W0.3", "-I", address, target, netns="a", check=False)
        assert heard == [], "somebody else's address"


def test_every_endpoint_is_announced_to_the_leaf(routed: Routed) -> None:
    """Contiv's L3 mode: /32 and /128, with tenants and policies as they are."""
    tenant = "kind: Tenant\nmetadata: {name: shop}\nspec: {networks: [app]}"
    closed = (
        "kind: Policy\nmetadata: {name: closed}\n"
        "spec: {selector: cnm/sandbox == 'a2', ingress: [{action: allow, protocol: tcp}]}"
    )
    leaf = LEAF.replace(", passwordFile: /run/leaf.password, ttlSecurity: true", "")
    routed.declare(["app/a@n1", "app/a2@n1"], [POOLS, calico(options="{announce: endpoints}"), leaf, tenant, closed])
    host = routed.fabric["n3"]
    host.ip("address add 192.0.2.9/24 dev up0")
    text = OTHER.format(password="", asn=64512).replace('password ""; ttl security yes;', "")
    host.run("sh", "-c", "cat > /run/other.conf", input=text)
    host.run("bird", "-c", "/run/other.conf", "-s", "/run/other.ctl")
    routed.apply("n1")
    own = {routed.address("app/a"), routed.address("app/a2")}

    def learned() -> set[str]:
        return {line.split()[0] for line in host.ip("route show proto bird").splitlines() if line.startswith("10.48.")}

    assert wait(lambda: learned() == own), learned()
    answered = [host.run("ping", "-c1", "-W1", routed.address(f"app/{name}"), check=False) for name in ("a", "a2")]
    assert [done.returncode for done in answered] == [0, 1], "a policy is about the second one"
