"""The way to the person who runs cnm: found, and not cut off unasked."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

from reconciler.engine.guard import Guards
from reconciler.errors import GuardError
from reconciler.host.peers import connected_peers
from tests.kernel.private import isolated, run
from tests.kernel.scene import OUTSIDE4, OUTSIDE6, Scene, add_outside

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")

NETWORK = "kind: Network\nmetadata: {name: front}\nspec: {driver: bridge, subnets: [{cidr: SUBNET}]}"
SSH4 = {"SSH_CONNECTION": f"{OUTSIDE4} 50000 192.0.2.1 22"}
SSH6 = {"SSH_CONNECTION": f"{OUTSIDE6} 50000 2001:db8::1 22"}


def refusal(scene: Scene, text: str, **guards: object) -> str:
    scene.write(text)
    planned = scene.controller.plan([str(scene.folder)])
    try:
        scene.controller.guard(planned, Guards(**{"environ": SSH4, **guards}))  # type: ignore[arg-type]
    except GuardError as error:
        return str(error)
    return ""


def test_ssh_connection_is_believed() -> None:
    (peer,) = connected_peers({"SSH_CONNECTION": "203.0.113.7 50000 192.0.2.1 22"})
    assert (str(peer.address), str(peer.local)) == ("203.0.113.7", "192.0.2.1")
    (mapped,) = connected_peers({"SSH_CONNECTION": "::ffff:203.0.113.7 1 ::ffff:192.0.2.1 22"})
    assert str(mapped.address) == "203.0.113.7"
    assert connected_peers({"SSH_CONNECTION": "127.0.0.1 1 127.0.0.1 22"}) == ()


@isolated
def test_sudo_drops_the_variable_but_not_the_connection() -> None:
    """A child of the process that holds a TCP connection, as sudo's shell is one of sshd's."""
    run("ip", "link", "add", "uplink", "type", "bridge")
    run("ip", "link", "set", "uplink", "up")
    for cidr in ("192.0.2.1/24", "2001:db8::1/64"):
        run("ip", "address", "add", cidr, "dev", "uplink", *(("nodad",) if ":" in cidr else ()))
    code = "from reconciler.host.peers import connected_peers as c; print([str(p.address) for p in c({})], c({})[0].known_by)"
    for family, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family) as server:
            server.bind((address, 0))
            server.listen()
            with socket.create_connection(server.getsockname()[:2]) as held:
                inner = ["sh", "-c", f'exec 3>&- ; {sys.executable} -c "{code}"; true']
                done = subprocess.run(inner, capture_output=True, text=True, check=True, pass_fds=[])
                assert f"'{address}'" in done.stdout
                assert f"process {os.getpid()}" in done.stdout
                held.close()
    assert connected_peers({}) == ()


@isolated
def test_what_does_not_touch_the_way_is_let_through(tmp_path: Path) -> None:
    add_outside(routed=True)
    with Scene(tmp_path) as scene:
        text = NETWORK.replace("SUBNET", "10.0.0.0/24")
        assert refusal(scene, text) == ""
        assert refusal(scene, text, environ=SSH6) == ""
        assert refusal(scene, text, environ={}, keep_reachable=(OUTSIDE4, OUTSIDE6)) == ""
        scene.apply(text)
        assert refusal(scene, NETWORK.replace("SUBNET", "10.0.1.0/24")) == ""


@isolated
def test_a_network_that_swallows_the_peers_subnet_is_refused(tmp_path: Path) -> None:
    add_outside()
    run("ip", "route", "add", "203.0.113.0/24", "via", OUTSIDE4)
    peer = {"SSH_CONNECTION": "203.0.113.7 1 192.0.2.1 22"}
    with Scene(tmp_path) as scene:
        text = NETWORK.replace("SUBNET", "203.0.113.0/28")
        words = refusal(scene, text, environ=peer)
        assert "the way to 203.0.113.7 (your ssh session), now 203.0.113.0/24 via 192.0.2.2 dev uplink" in words
        assert "address/br-front/203.0.113.1/28: its subnet would lead to br-front instead" in words
        assert "cnm try" in words
        assert "--force" in words
        assert refusal(scene, text, environ=peer, force=True) == ""
        assert "to be kept reachable" in refusal(scene, text, environ={}, keep_reachable=("203.0.113.9",))


@isolated
def test_the_bridge_that_the_peer_is_behind_is_guarded(tmp_path: Path) -> None:
    """The person sits in a sandbox of ours: its network may not go, its cable may not be cut."""
    with Scene(tmp_path) as scene:
        text = (
            NETWORK.replace("SUBNET", "10.0.0.0/24")
            + "\n---\nkind: Sandbox\nmetadata: {name: web}\nspec: {}\n---\nkind: Endpoint\nmetadata: {name: web}\n"
            + "spec: {network: front, sandbox: web, addresses: [10.0.0.7]}"
        )
        scene.apply(text)
        peer = {"SSH_CONNECTION": "10.0.0.7 1 10.0.0.1 22"}
        assert "link/br-front is deleted" in refusal(
            scene, "kind: Sandbox\nmetadata: {name: web}\nspec: {}", environ=peer, allow_mass_delete=True
        )
        assert "link/br-front changes: mtu" in refusal(
            scene, text.replace("driver: bridge,", "driver: bridge, mtu: 1400,"), environ=peer
        )
        planned = scene.controller.plan_destroy()
        with pytest.raises(GuardError, match=r"10\.0\.0\.7"):
            scene.controller.guard(planned, Guards(environ=peer))


def test_a_learned_default_route_is_lost_with_forwarding() -> None:
    from reconciler.planner.diff import make_plan
    from reconciler.planner.plan import Observation
    from reconciler.planner.way import Way, touching
    from reconciler.resources.resource import Observed
    from reconciler.resources.sysctl import Sysctl, sysctl_key

    def sysctl(path: str, value: str) -> Sysctl:
        return Sysctl(key=sysctl_key("", path), value=value)

    forwarding, accept = "net/ipv6/conf/all/forwarding", "net/ipv6/conf/uplink/accept_ra"
    seen = Observation({s.key: Observed(s) for s in (sysctl(forwarding, "0"), sysctl(accept, "1"))})
    way = Way(
        ip_address("2001:db8:9::9"), "you", "uplink", "::/0", via="fe80::1", links=frozenset(("uplink",)), learned=True
    )

    def words(*wanted: Sysctl) -> tuple[str, ...]:
        return touching(make_plan(wanted, seen, owner="cnm"), way, seen.items)

    assert "drops the default route" in words(sysctl(forwarding, "1"))[0]
    assert words(sysctl(forwarding, "1"), sysctl(accept, "2")) == ()
    assert "turns IPv6 off" in words(sysctl("net/ipv6/conf/uplink/disable_ipv6", "1"))[0]


@isolated
def test_most_of_what_is_ours_does_not_go_unasked(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        one = NETWORK.replace("SUBNET", "10.0.0.0/24")
        more = "".join(
            f"\n---\nkind: Sandbox\nmetadata: {{name: s{n}}}\nspec: {{}}\n---\nkind: Endpoint\nmetadata: {{name: s{n}}}\n"
            f"spec: {{network: front, sandbox: s{n}}}"
            for n in range(6)
        )
        scene.apply(one + more)
        assert "of our" in refusal(scene, one, environ={})
        assert refusal(scene, one, environ={}, allow_mass_delete=True) == ""
        scene.controller.guard(scene.controller.plan_destroy(), Guards(environ={}))
