"""The picture that watching holds: after any changes it is what a look at everything would give."""

from __future__ import annotations

import os
import random
import select
import time
from pathlib import Path

import pytest

from reconciler.engine.observe import observe, read_facts
from reconciler.engine.watch.life import Life
from reconciler.engine.watch.picture import Dirty, Picture
from reconciler.host.monitor import Monitor
from tests.kernel.private import isolated, run
from tests.kernel.scene import Scene, settle

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")

SCENE = """\
kind: Network
metadata: {name: front}
spec: {subnets: [{cidr: 10.1.0.0/24}, {cidr: "fd01::/64"}]}
"""
ROUNDS = int(os.environ.get("CNM_PICTURE_ROUNDS", "60"))


def scene(count: int) -> str:
    parts = [SCENE]
    for number in range(count):
        parts.append(f"kind: Sandbox\nmetadata: {{name: s{number}}}\n")
        parts.append(f"kind: Endpoint\nmetadata: {{name: s{number}}}\nspec: {{network: front, sandbox: s{number}}}\n")
    return "\n---\n".join(part.strip() for part in parts)


def disturb(rng: random.Random, count: int) -> str:
    """One change by somebody else; what was done, in words."""
    sandbox = f"s{rng.randrange(count)}"
    inside = rng.choice([("-n", sandbox), ()])
    links = [line.split()[0].partition("@")[0] for line in run("ip", *inside, "-br", "link", check=False).splitlines()]
    dev = rng.choice([name for name in links if name != "lo"] or ["lo"])
    fresh = f"x{rng.randrange(1000)}"
    commands = [
        ("ip", *inside, "link", "set", dev, "down"),
        ("ip", *inside, "link", "set", dev, "up"),
        ("ip", *inside, "link", "delete", dev),
        ("ip", *inside, "link", "set", dev, "mtu", str(rng.randrange(1300, 1400))),
        ("ip", *inside, "link", "set", dev, "name", fresh),
        ("ip", *inside, "link", "set", dev, "netns", f"s{rng.randrange(count)}"),
        ("ip", *inside, "link", "add", fresh, "type", "bridge"),
        ("ip", *inside, "link", "add", fresh, "type", "veth", "peer", "name", f"p{fresh}"),
        ("ip", "link", "add", fresh, "type", "veth", "peer", "name", "eth7", "netns", sandbox),
        ("ip", *inside, "address", "add", f"192.0.2.{rng.randrange(1, 250)}/24", "dev", dev),
        ("ip", *inside, "address", "flush", "dev", dev),
        ("ip", *inside, "route", "add", "198.51.100.0/24", "dev", dev),
        ("ip", *inside, "route", "flush", "table", "main"),
        ("ip", *inside, "neighbour", "add", "192.0.2.99", "lladdr", "02:00:00:00:00:09", "dev", dev),
        ("ip", *inside, "neighbour", "flush", "nud", "permanent"),
        ("ip", "link", "set", dev, "nomaster"),
        ("ip", "netns", "delete", sandbox),
        ("ip", "netns", "add", sandbox),
        ("nft", "delete", "table", "inet", "cnm"),
        ("nft", "add", "table", "inet", fresh),
    ]
    command = rng.choice(commands)
    run(*command, check=False)
    return " ".join(command)


@isolated
def test_a_picture_kept_by_events_is_what_a_look_at_everything_gives(tmp_path: Path) -> None:
    seed = int(os.environ.get("CNM_PICTURE_SEED", "0")) or random.randrange(1 << 30)
    rng, count = random.Random(seed), 6
    with Scene(tmp_path) as scene_:
        scene_.apply(scene(count))
        settle()
        host = scene_.controller.host
        planned = scene_.controller.plan([str(tmp_path)])
        monitor = Monitor(host.root)
        picture = Picture(host, monitor, "here")
        desired = {resource.key: resource for resource in planned.desired}
        picture.want(desired, desired)
        picture.refresh(Dirty(everything=True))
        poller = select.epoll()
        life = Life(host, poller.register, poller.unregister)
        life.want(desired, desired)
        life.follow()

        def listen() -> None:
            dirty = Dirty()
            picture.note(monitor.heard(), dirty)
            dirty.spaces |= life.changed([fd for fd, _mask in poller.poll(0)])
            picture.refresh(dirty)

        done: list[str] = []
        for number in range(ROUNDS):
            done += [disturb(rng, count) for _ in range(rng.randrange(1, 4))]
            time.sleep(0.05)  # a namespace dies in the background
            listen()
            deadline = time.monotonic() + 5
            while True:
                facts = read_facts(host, "here")
                truth = observe(host, planned.desired, facts).items
                wrong = {k: (picture.items.get(k), truth.get(k)) for k in picture.items.keys() | truth.keys()
                         if picture.items.get(k) != truth.get(k) and k.kind != "sysctl"}  # fmt: skip
                if not wrong or time.monotonic() > deadline:
                    break
                # Addresses that were tentative come and go by themselves; an interface is off the list a while before
                # its end is told (unregister_netdevice_many_notify in net/core/dev.c waits for readers in between).
                time.sleep(0.02)
                listen()
            assert not wrong, f"seed {seed}, round {number}: {done[-4:]}\n{wrong}"
        assert picture.looks < ROUNDS // 2, "events are enough, but where an interface of the host is renamed"
