"""Encrypted overlays, end to end: what crosses the wire is ESP, whatever happens, or nothing."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.kernel.overlay import Cluster, network
from tests.lab import difference

pytestmark = pytest.mark.requires("netns", "nft", "ping", "link:bridge", "link:veth", "link:vxlan", "esp", "tcpdump")

ICMP = {4: 28, 6: 48}  # IP and ICMP header of an echo request
PLACES = ["app/a@n1", "app/b@n2"]
KEYS = {key_id: secrets.token_hex(32) for key_id in ("one", "two", "three")}


class Encrypted(Cluster):
    """A cluster whose hosts share a key file."""

    @property
    def file(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.keys")

    def keys(self, *ids: str) -> None:
        self.file.touch(0o600)
        self.file.write_text("".join(f"{key_id} {KEYS[key_id]}\n" for key_id in ids))

    def declare(self, roles: str, more: str = "") -> None:
        """``roles`` like ``primary: one, next: two``."""
        options = f"{{encryption: {{keyFile: {self.file}, {roles}}}{more}}}"
        self.write([network(options=options)], PLACES)


def in_the_clear(lines: list[str]) -> list[str]:
    """What is neither ESP nor the underlay's own ARP, neighbour discovery and multicast listener reports (behind a
    hop-by-hop header, so that no filter on the next header sees them)."""
    own = ("ARP", "ICMP6, neighbor", "ICMP6, multicast listener")
    return [line for line in lines if "ESP(" not in line and not any(word in line for word in own)]


@pytest.mark.parametrize(("underlay", "mtu"), [("ipv4", 1416), ("ipv6", 1396)])
def test_only_esp_is_on_the_wire_also_while_keys_rotate(underlay: str, mtu: int, tmp_path: Path) -> None:
    more = f", underlay: {underlay}"
    with Encrypted(tmp_path, ["n1", "n2"]) as cluster:
        before = {node: cluster.fabric[node].fingerprint() for node in ("n1", "n2")}
        cluster.keys("one")
        cluster.declare("primary: one", more)
        cluster.apply()
        with cluster.watching("n2", "not icmp6 or ip6[40] == 128") as heard:
            for version in (4, 6):
                far = cluster.address("app/b", version)
                assert cluster.reaches("n1", "a", far, size=mtu - ICMP[version])
                assert not cluster.reaches("n1", "a", far, size=mtu - ICMP[version] + 1)
            cluster.keys("one", "two")
            with (
                cluster.pinging("n1", "a", cluster.address("app/b")) as there,
                cluster.pinging("n2", "b", cluster.address("app/a", 6)) as back,
            ):
                for roles in ("primary: one, next: two", "previous: one, primary: two", "primary: two"):
                    cluster.declare(roles, more)
                    cluster.apply()
        assert len([line for line in heard if "ESP(" in line]) > there.sent
        assert in_the_clear(heard) == []
        print(f"{there.lost} of {there.sent} and {back.lost} of {back.sent} packets lost in the rotation")
        assert there.lost == back.lost == 0
        assert "one" not in cluster.fabric["n1"].run("cnm", "show", "--observed", check=False).stdout
        for node in ("n1", "n2"):
            cluster.destroy(node)
            assert cluster.fabric[node].ip("xfrm state") == cluster.fabric[node].ip("xfrm policy") == ""
            assert difference(before[node], cluster.fabric[node].fingerprint()) == []


@pytest.mark.parametrize("mischief", ["absent", "others can read it", "no such id", "too short", "a link"])
def test_without_a_usable_key_the_network_stays_down_and_says_so(mischief: str, tmp_path: Path) -> None:
    with Encrypted(tmp_path, ["n1", "n2"]) as cluster:
        cluster.keys("one")
        if mischief == "absent":
            cluster.file.unlink()
        elif mischief == "others can read it":
            cluster.file.chmod(0o640)
        elif mischief == "no such id":
            cluster.keys("two")
        elif mischief == "too short":
            cluster.file.write_text("one 00112233\n")
        else:
            real = cluster.file.rename(cluster.file.with_suffix(".real"))
            cluster.file.symlink_to(real)
        cluster.declare("primary: one")
        cluster.apply()
        pending = {str(item.key): item.reason for item in cluster.plan("n1").pending}
        assert f"no usable key 'one' in {cluster.file}" in pending["link/vx-4096"]
        assert "link/br-app" in pending
        assert cluster.fabric["n1"].run("ip", "link", "show", "vx-4096", check=False).returncode != 0
        with cluster.watching("n2", "udp or esp") as heard:
            assert not cluster.reaches("n1", "a", cluster.address("app/b"))
        assert heard == []
        cluster.file.unlink(missing_ok=True)
        cluster.keys("one")
        cluster.apply()
        assert cluster.reaches("n1", "a", cluster.address("app/b"))


def test_nothing_goes_in_the_clear_when_others_tear_at_it(tmp_path: Path) -> None:
    with Encrypted(tmp_path, ["n1", "n2"]) as cluster:
        cluster.keys("one")
        cluster.declare("primary: one")
        cluster.apply()
        far = cluster.address("app/b")
        for command in (
            ("ip", "xfrm", "state", "flush"),
            ("ip", "xfrm", "policy", "flush"),
            ("nft", "flush", "ruleset"),
        ):
            with cluster.watching("n2", "udp") as heard:
                cluster.fabric["n1"].run(*command)
                reached = cluster.reaches("n1", "a", far)
            assert heard == []
            assert reached is (command[0] == "nft"), command
            assert not cluster.plan("n1").empty
            cluster.apply("n1")
            assert cluster.reaches("n1", "a", far)


def test_frames_in_the_clear_are_not_taken_in(tmp_path: Path) -> None:
    """n3 sends to the very port and VNI, without ESP; also when one of the two fences is down."""
    with Encrypted(tmp_path, ["n1", "n2", "n3"]) as cluster:
        cluster.keys("one")
        cluster.declare("primary: one")
        cluster.apply("n1", "n2")
        stranger = cluster.fabric["n3"]
        stranger.ip("link add vx type vxlan id 4096 dstport 14789 local 192.0.2.3 remote 192.0.2.1 nolearning")
        stranger.ip("address add 10.5.0.9/24 dev vx")
        mac = cluster.fabric["n1"].ip("-br link show eth0", netns="a").split()[2]
        stranger.ip(f"neighbour add {cluster.address('app/a')} dev vx lladdr {mac}")
        stranger.ip("link set vx up")
        for fence in (None, ("ip", "xfrm", "policy", "flush"), ("nft", "flush", "ruleset")):
            if fence is not None:
                cluster.fabric["n1"].run(*fence)
            with cluster.watching_inside("n1", "a", "icmp") as heard:
                stranger.run("ping", "-c2", "-i0.2", "-W0.5", cluster.address("app/a"), check=False)
            assert heard == []
            cluster.apply("n1")


def test_a_rotation_that_fails_half_way_goes_back_to_the_key_that_was(tmp_path: Path) -> None:
    with Encrypted(tmp_path, ["n1", "n2"]) as cluster:
        cluster.keys("one", "two")
        cluster.declare("primary: one")
        cluster.apply()
        host = cluster.fabric["n1"]
        before = host.ip("xfrm state list nokeys"), host.ip("xfrm policy")
        cluster.declare("primary: two")
        text = (tmp_path / "all.yaml").read_text()
        wrong = "{network: app, sandbox: a, sysctls: {net.ipv4.conf.IFNAME.nonsense: 1}}"
        (tmp_path / "all.yaml").write_text(text.replace("{network: app, sandbox: a}", wrong))
        done = host.run("cnm", "apply", "--yes", "--node", "n1", tmp_path, check=False)
        assert done.returncode != 0
        assert "nonsense" in done.stdout + done.stderr
        assert (host.ip("xfrm state list nokeys"), host.ip("xfrm policy")) == before
        assert cluster.reaches("n1", "a", cluster.address("app/b"))


def test_no_key_is_in_any_plan_snapshot_or_file_of_ours(tmp_path: Path) -> None:
    with Encrypted(tmp_path, ["n1", "n2"]) as cluster:
        cluster.keys("one", "two")
        cluster.declare("primary: one")
        cluster.apply()
        host = cluster.fabric["n1"]
        kernel = host.ip("xfrm state")
        loaded = {word[2:] for word in kernel.split() if word.startswith("0x") and len(word) > 40}
        assert loaded, kernel
        cluster.declare("primary: two")
        plan, seen = tmp_path.with_name("plan.json"), tmp_path.with_name("seen.json")
        host.run("cnm", "plan", "--node", "n1", "-o", plan, tmp_path, check=False)
        host.run("cnm", "show", "--observed", "--node", "n1", "-o", seen, tmp_path)
        host.run("cnm", "apply", "--yes", "-v", "--node", "n1", tmp_path)
        state = host.run("sh", "-c", "cat /run/cnm/*").stdout
        for text in (plan.read_text(), seen.read_text(), state):
            for secret in (*KEYS.values(), *loaded):
                assert secret not in text
                assert secret.upper() not in text
        assert "xfrm-state" in seen.read_text()
