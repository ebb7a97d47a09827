"""A local network beyond this host's interface ``uplink``, for drivers whose endpoints ride on that."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import CnmError
from tests.kernel.private import answers, run
from tests.kernel.scene import PING, Scene
from tests.lab.fingerprint import Fingerprint, take

LAN4, LAN6 = "10.1.0.254", "fd01::fe"  # a host on it
HOST4, HOST6 = "10.1.0.253", "fd01::fd"  # this host
LAN_MAC = "02:00:00:00:00:fe"


def each_with(name: str, drivers: Sequence[str], values: Sequence[object], few: Sequence[tuple[str, object]]) -> Any:
    """A test of every driver with every value where CNM_SOAK is set, else of those few pairs that show each once."""
    pairs = list(product(drivers, values)) if os.environ.get("CNM_SOAK") else few
    return pytest.mark.parametrize(("driver", name), pairs)


def add_lan(*, hairpin: bool = False, mtu: int = 1500, addresses: bool = True) -> None:
    """A switch as namespace ``lan``, with this host's ``uplink`` plugged in and a host of its own, both of
    10.1.0.0/24 and fd01::/64. ``hairpin``: it sends frames back out of the port they came in by (IEEE 802.1Qbg)."""
    # No address may come by itself while we look, and without a link-local one nothing is solicited.
    here = f"""\
        netns add lan
        link add uplink mtu {mtu} type veth peer name port mtu {mtu} netns lan
        link set uplink addrgenmode none up
        address add fe80::fd/64 dev uplink nodad
    """
    there = f"""\
        link add sw0 address {LAN_MAC} type bridge mcast_snooping 0
        link set port master sw0
        link set port type bridge_slave hairpin {"on" if hairpin else "off"}
        link set port addrgenmode none up
        link set sw0 addrgenmode none up
        address add fe80::fe/64 dev sw0 nodad
    """
    if addresses:
        here += f"address add {HOST4}/24 dev uplink\naddress add {HOST6}/64 dev uplink nodad\n"
        there += f"address add {LAN4}/24 dev sw0\naddress add {LAN6}/64 dev sw0 nodad\n"
    run("ip", "-batch", "-", stdin=here)
    run("ip", "-n", "lan", "-batch", "-", stdin=there)
    for place, name in (("lan", "port"), ("lan", "sw0"), ("", "uplink")):
        _until_up(place, name)


def _until_up(netns: str, dev: str, patience: float = 10.0) -> None:
    """The kernel makes up its mind about a link a while after its cable is in (net/core/link_watch.c)."""
    inside = ("-n", netns) if netns else ()
    deadline = time.monotonic() + patience
    while " state UP " not in run("ip", *inside, "-o", "link", "show", dev):
        assert time.monotonic() < deadline, f"{dev} does not come up"
        time.sleep(0.02)


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
    return answers(*enter, *PING, target)


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
    before = _addresses(), run("ip", "netns", "list")
    with pytest.raises(CnmError) as raised:
        scene.controller.execute(scene.controller.plan([str(scene.folder)]))
    for word in words:
        assert word in str(raised.value), f"{word!r} is not said: {raised.value}"
    assert (_addresses(), run("ip", "netns", "list")) == before


def _addresses() -> str:
    """This host's; without how long they are still valid, which passes by itself."""
    return re.sub(r"[0-9]+sec", "", run("ip", "-d", "-o", "address"))
