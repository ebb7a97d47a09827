"""A local network beyond this host's interface ``uplink``, for drivers whose endpoints ride on that."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import CnmError
from tests.kernel.private import answers, run
from tests.kernel.scene import Scene
from tests.lab.fingerprint import Fingerprint, take

LAN4, LAN6 = "10.1.0.254", "fd01::fe"  # a host on it
HOST4, HOST6 = "10.1.0.253", "fd01::fd"  # this host
LAN_MAC = "02:00:00:00:00:fe"


def add_lan(*, hairpin: bool = False, mtu: int = 1500, addresses: bool = True) -> None:
    """A switch as namespace ``lan``, with this host's ``uplink`` plugged in and a host of its own, both of
    10.1.0.0/24 and fd01::/64. ``hairpin``: it sends frames back out of the port they came in by (IEEE 802.1Qbg)."""
    run("ip", "netns", "add", "lan")
    ends = ("uplink", "type", "veth", "peer", "name", "port")
    run("ip", "link", "add", *ends, "mtu", str(mtu), "netns", "lan")
    run("ip", "link", "set", "uplink", "mtu", str(mtu))
    run("ip", "-n", "lan", "link", "add", "sw0", "address", LAN_MAC, "type", "bridge", "mcast_snooping", "0")
    run("ip", "-n", "lan", "link", "set", "port", "master", "sw0")
    if hairpin:
        run("ip", "-n", "lan", "link", "set", "port", "type", "bridge_slave", "hairpin", "on")
    for dev, inside in (("port", ("-n", "lan")), ("sw0", ("-n", "lan")), ("uplink", ())):
        # No address may come by itself while we look, and without a link-local one nothing is solicited.
        run("ip", *inside, "link", "set", dev, "addrgenmode", "none", "up")
    plug("sw0", "lan", "fe80::fe")
    plug("uplink", "", "fe80::fd")
    if addresses:
        plug("sw0", "lan", LAN4, LAN6)
        plug("uplink", "", HOST4, HOST6)


def plug(dev: str, netns: str, *addresses: str) -> None:
    """Addresses that can be used at once."""
    inside = ("-n", netns) if netns else ()
    for address in addresses:
        length, nodad = ("64", ["nodad"]) if ":" in address else ("24", [])
        run("ip", *inside, "address", "add", f"{address}/{length}", "dev", dev, *nodad)


def on(name: str, driver: str, options: str, *endpoints: str, number: int = 1, spec: str = "") -> str:
    """A network of both families on 10.NUMBER.0.0/24, and its endpoints: ``SANDBOX`` or ``SANDBOX {options}``, each in
    a sandbox of that name, with addresses .11, .12, ... in order."""
    parts = [
        f"kind: Network\nmetadata: {{name: {name}}}\nspec:\n  driver: {driver}\n"
        f'  subnets: [{{cidr: 10.{number}.0.0/24, range: 10.{number}.0.0/25}}, {{cidr: "fd0{number}::/64"}}]\n'
        f"  options: {options}\n{spec}"
    ]
    for place, text in enumerate(endpoints, start=11):
        sandbox, _, more = text.partition(" ")
        parts.append(f"kind: Sandbox\nmetadata: {{name: {sandbox}}}")
        parts.append(
            f"kind: Endpoint\nmetadata: {{name: {sandbox}}}\nspec:\n  network: {name}\n  sandbox: {sandbox}\n"
            f'  addresses: [10.{number}.0.{place}, "fd0{number}::{place}"]\n  options: {more or "{}"}'
        )
    return "\n---\n".join(parts) + "\n"


def both(*documents: str) -> str:
    return "---\n".join(documents)


def reach(source: str, *targets: str) -> bool:
    """Whether all of the targets answer to a sandbox; of no targets at all that would be nothing said. A machine
    that is busy gets a few tries."""
    assert targets
    return all(any(_pings(source, target) for _ in range(5)) for target in targets)


def silent(source: str, *targets: str) -> bool:
    """Whether none of them answers."""
    assert targets
    return not any(_pings(source, target) for target in targets)


def _pings(source: str, target: str) -> bool:
    enter = ("ip", "netns", "exec", source) if source else ()
    return answers(*enter, "ping", "-c2", "-i0.2", "-W0.7", "-q", target)


def full_size(source: str, target: str, mtu: int) -> None:
    """A packet of ``mtu`` bytes passes unbroken, one of a byte more is refused."""
    headers = 28 if "." in target else 48
    ping = ("ip", "netns", "exec", source, "ping", "-c1", "-W1", "-M", "do", "-s")
    assert answers(*ping, str(mtu - headers), target), f"{mtu} bytes to {target}"
    assert not answers(*ping, str(mtu - headers + 1), target), f"{mtu + 1} bytes to {target}"


def everything() -> Fingerprint:
    """This host and all named namespaces."""
    folder = Path("/run/netns")
    return take(["", *sorted(path.name for path in folder.iterdir())] if folder.is_dir() else [""])


def refused(scene: Scene, manifests: str, *words: str) -> None:
    """Planning says so, with these words; nothing is touched."""
    scene.write(manifests)
    before = run("ip", "-d", "-o", "address"), run("ip", "netns", "list")
    with pytest.raises(CnmError) as raised:
        scene.controller.execute(scene.controller.plan([str(scene.folder)]))
    for word in words:
        assert word in str(raised.value), f"{word!r} is not said: {raised.value}"
    assert (run("ip", "-d", "-o", "address"), run("ip", "netns", "list")) == before
