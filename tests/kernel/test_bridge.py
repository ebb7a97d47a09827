"""Driver bridge, end to end: who reaches whom, with real packets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel.private import answers, isolated, run
from tests.kernel.scene import OUTSIDE4, OUTSIDE6, Scene, add_outside, settle

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth", "ping")


def network(name: str, number: int, options: str = "{}", more: str = "") -> str:
    return f"""\
kind: Network
metadata: {{name: {name}}}
spec:
  subnets: [{{cidr: 10.{number}.0.0/24}}, {{cidr: "fd0{number}::/64"}}]
  options: {options}
{more}
---
"""


def endpoints(*places: str) -> str:
    """``network/sandbox`` each: a sandbox with an endpoint of the same name."""
    sandboxes = {place.split("/")[1] for place in places}
    parts = [f"kind: Sandbox\nmetadata: {{name: {name}}}" for name in sorted(sandboxes)]
    for place in places:
        net, sandbox = place.split("/")
        parts.append(f"kind: Endpoint\nmetadata: {{name: {sandbox}}}\nspec: {{network: {net}, sandbox: {sandbox}}}")
    return "\n---\n".join(parts)


both_hooks = pytest.mark.parametrize("hooks", ["0", "1"], ids=["bridge-nf-call=0", "bridge-nf-call=1"])


def set_hooks(value: str) -> None:
    """Whether frames inside a bridge pass the IP hooks: this kernel begins with 1, most hosts have 0."""
    for name in ("iptables", "ip6tables"):
        path = Path(f"/proc/sys/net/bridge/bridge-nf-call-{name}")
        if path.exists():
            path.write_text(value)


@both_hooks
@isolated
def test_networks_are_apart_and_endpoints_of_one_together(hooks: str, tmp_path: Path) -> None:
    set_hooks(hooks)
    with Scene(tmp_path) as scene:
        scene.apply(
            network("front", 1) + network("back", 2) + endpoints("front/a", "front/b", "back/c", "front/d", "back/d")
        )
        for version in (4, 6):
            assert scene.reaches("a", scene.address("front/b", version))
            assert scene.reaches("d", scene.address("back/c", version))
            assert scene.reaches("d", scene.address("front/a", version))
            assert not scene.reaches("a", scene.address("back/c", version))
            assert not scene.reaches("c", scene.address("front/a", version))


@both_hooks
@isolated
def test_a_dual_homed_sandbox_does_not_route(hooks: str, tmp_path: Path) -> None:
    """Also where the host's own values, which a new namespace takes over, say that it shall."""
    set_hooks(hooks)
    for path in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv4/conf/all/route_localnet"):
        Path("/proc/sys", path).write_text("1")
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1) + network("back", 2) + endpoints("front/a", "back/c", "front/d", "back/d"))
        for version, family in ((4, "-4"), (6, "-6")):
            back = f"{'10.2.0.0/24' if version == 4 else 'fd02::/64'}"
            front = f"{'10.1.0.0/24' if version == 4 else 'fd01::/64'}"
            run("ip", "-n", "a", family, "route", "add", back, "via", scene.address("front/d", version))
            run("ip", "-n", "c", family, "route", "add", front, "via", scene.address("back/d", version))
            assert not scene.reaches("a", scene.address("back/c", version))
        sysctls = run(
            "ip",
            "netns",
            "exec",
            "d",
            "cat",
            "/proc/sys/net/ipv4/ip_forward",
            "/proc/sys/net/ipv4/conf/all/route_localnet",
        )
        assert sysctls.split() == ["0", "0"]


@both_hooks
@isolated
def test_allow_from_is_one_way(hooks: str, tmp_path: Path) -> None:
    set_hooks(hooks)
    with Scene(tmp_path) as scene:
        scene.apply(
            network("front", 1) + network("back", 2, more="  allowFrom: [front]") + endpoints("front/a", "back/c")
        )
        for version in (4, 6):
            assert scene.reaches("a", scene.address("back/c", version))
            assert not scene.reaches("c", scene.address("front/a", version))
        scene.apply(network("front", 1) + network("back", 2) + endpoints("front/a", "back/c"))
        assert not scene.reaches("a", scene.address("back/c"))


@both_hooks
@isolated
def test_without_inter_container_communication_nobody_reaches_anybody(hooks: str, tmp_path: Path) -> None:
    set_hooks(hooks)
    add_outside()
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1, "{interContainer: false}") + endpoints("front/a", "front/b"))
        for version, gateway in ((4, "10.1.0.1"), (6, "fd01::1")):
            assert not scene.reaches("a", scene.address("front/b", version))
            # not through the gateway either
            length = "32" if version == 4 else "128"
            run(
                "ip",
                "-n",
                "a",
                f"-{version}",
                "route",
                "add",
                f"{scene.address('front/b', version)}/{length}",
                "via",
                gateway,
            )
            assert not scene.reaches("a", scene.address("front/b", version))
            assert scene.reaches("a", OUTSIDE4 if version == 4 else OUTSIDE6)


@isolated
def test_nat_to_the_outside_and_nobody_in(tmp_path: Path) -> None:
    add_outside()
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1) + endpoints("front/a"))
        assert scene.reaches("a", OUTSIDE4)
        assert scene.reaches("a", OUTSIDE6)
        run("ip", "-n", "outside", "route", "add", "10.1.0.0/24", "via", "192.0.2.1")
        run("ip", "-n", "outside", "-6", "route", "add", "fd01::/64", "via", "2001:db8::1")
        assert not scene.reaches("outside", scene.address("front/a"))
        assert not scene.reaches("outside", scene.address("front/a", 6))


@pytest.mark.parametrize(
    ("options", "outward", "inward"),
    [
        ("{gatewayMode: {ipv4: nat-unprotected, ipv6: nat-unprotected}}", True, True),
        ("{gatewayMode: {ipv4: routed, ipv6: routed}}", True, False),
        ("{gatewayMode: {ipv4: routed, ipv6: routed}, trustedInterfaces: [uplink]}", True, True),
        ("{masquerade: false}", True, False),
    ],
)
@isolated
def test_gateway_modes(options: str, outward: bool, inward: bool, tmp_path: Path) -> None:
    """``routed`` and ``masquerade: false`` keep the source address: the outside has a way back here."""
    add_outside(routed=True)
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1, options) + endpoints("front/a"))
        for version, outside in ((4, OUTSIDE4), (6, OUTSIDE6)):
            assert scene.reaches("a", outside) is outward
            assert scene.reaches("outside", scene.address("front/a", version)) is inward


@isolated
def test_snat_leaves_under_the_address_that_was_said(tmp_path: Path) -> None:
    add_outside()
    run("ip", "address", "add", "192.0.2.77/32", "dev", "uplink")
    run("ip", "netns", "exec", "outside", "nft", "add table ip t; add chain ip t i {type filter hook input priority 0;};"
        "add rule ip t i ip saddr 192.0.2.77 icmp type echo-request counter accept;")  # fmt: skip
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1, "{snat: {ipv4: 192.0.2.77}}") + endpoints("front/a"))
        assert scene.reaches("a", OUTSIDE4)
        assert "packets 0 " not in run("ip", "netns", "exec", "outside", "nft", "list", "table", "ip", "t")


@isolated
def test_an_internal_network_has_no_way_out_and_none_in(tmp_path: Path) -> None:
    add_outside(routed=True)
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1, more="  internal: true") + endpoints("front/a", "front/b"))
        assert scene.reaches("a", scene.address("front/b"))
        assert "default" not in run("ip", "-n", "a", "route")
        run("ip", "-n", "a", "route", "add", "default", "via", "10.1.0.1")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        assert not scene.reaches("a", OUTSIDE4)
        assert not scene.reaches("outside", scene.address("front/a"))


@isolated
def test_an_isolated_network_has_no_gateway_address(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        options = "{gatewayMode: {ipv4: isolated, ipv6: isolated}}"
        scene.apply(network("front", 1, options, "  internal: true") + endpoints("front/a", "front/b"))
        assert scene.reaches("a", scene.address("front/b", 6))
        assert run("ip", "-o", "address", "show", "dev", "br-front") == ""


@isolated
def test_an_existing_bridge_is_used_as_it_is(tmp_path: Path) -> None:
    run("ip", "link", "add", "lan", "type", "bridge")
    run("ip", "link", "set", "lan", "addrgenmode", "none")  # an address in the making would change by itself
    run("ip", "link", "set", "lan", "up")
    run("ip", "address", "add", "10.1.0.1/24", "dev", "lan")
    settle()
    before = run("ip", "-d", "-o", "link", "show", "lan"), run("ip", "-o", "address", "show", "lan")
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1, "{bridge: lan, existing: true}") + endpoints("front/a", "front/b"))
        assert scene.reaches("a", scene.address("front/b"))
        assert scene.reaches("a", "10.1.0.1")
        scene.destroy()
    assert run("ip", "-o", "address", "show", "lan") == before[1]
    assert "lan" in run("ip", "-o", "link", "show", "lan")


@isolated
def test_addresses_are_usable_when_apply_returns(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1) + endpoints("front/a", "front/b"))
        addresses = run("ip", "-n", "a", "-6", "address") + run("ip", "-6", "address", "show", "br-front")
        assert "tentative" not in addresses
        assert answers("ip", "netns", "exec", "a", "ping", "-c1", "-W1", scene.address("front/b", 6))


@pytest.mark.parametrize("version", [4, 6])
@isolated
def test_networks_of_one_family(version: int, tmp_path: Path) -> None:
    add_outside()
    cidr = "10.1.0.0/24" if version == 4 else "fd01::/64"
    with Scene(tmp_path) as scene:
        scene.apply(
            f'kind: Network\nmetadata: {{name: front}}\nspec: {{subnets: [{{cidr: "{cidr}"}}]}}\n---\n'
            + endpoints("front/a", "front/b")
        )
        assert scene.reaches("a", scene.address("front/b", version))
        assert scene.reaches("a", OUTSIDE4 if version == 4 else OUTSIDE6)
        other = run("ip", "-n", "a", f"-{10 - version}", "address", "show", "dev", "eth0")
        assert other == ""


@isolated
def test_full_size_packets_at_the_mtu(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.apply(network("front", 1, more="  mtu: 1400") + endpoints("front/a", "front/b"))
        target = scene.address("front/b")
        ping = ("ip", "netns", "exec", "a", "ping", "-c1", "-W1", "-M", "do")
        assert answers(*ping, "-s", str(1400 - 28), target)
        assert not answers(*ping, "-s", str(1400 - 27), target)
