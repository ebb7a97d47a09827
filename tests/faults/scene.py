"""A host, what stands on it, and steps that fail or kill."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from errno import EIO
from pathlib import Path

from reconciler.engine.controller import NetworkController
from reconciler.engine.observe import observe
from reconciler.engine.result import Planned, Report
from reconciler.host import rtnl
from reconciler.planner.diff import make_plan
from reconciler.resources.link import Link, link_key
from reconciler.resources.resource import Resource
from reconciler.topology.view import NodeFacts
from tests.contract.sample import Sample
from tests.kernel.private import run

EVERY = bool(os.environ.get("CNM_SOAK"))  # make soak: every point; else a few of each, always the same
FEW = 3
LANE = bool(os.environ.get("CNM_LANE"))  # each takes a second or two there: one half-way, and the last one

Picture = dict[str, object]


class Steps:
    """Counts the steps that a host announces; from the ``at``-th on, ``times`` of them meet ``errno``, or the process
    is killed there. ``within`` False: netlink requests do not count singly, only what the kernel works through in one
    go even when the process is killed."""

    def __init__(
        self, at: int = 0, *, times: int = 1, kill: bool = False, errno: int = EIO, within: bool = True
    ) -> None:
        self.at, self.times, self.kill, self.errno, self.within = at, times, kill, errno, within
        self.seen: list[str] = []

    def __call__(self, sort: str, what: str) -> None:
        if sort == "netlink" and not self.within:
            return
        self.seen.append(f"{sort} {what}")
        if not self.at or not self.at <= len(self.seen) < self.at + self.times:
            return
        if self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(self.errno, "this step was made to fail")

    @property
    def reached(self) -> bool:
        return bool(self.at) and len(self.seen) >= self.at


class Stand:
    """Resources on a host, reached by whole runs of the controller."""

    def __init__(self, sample: Sample) -> None:
        if sample.setup:
            run("sh", "-c", sample.setup)
        self.universe = [*sample.base, sample.spec, *sample.beside, *sample.variants]

    def go(self, desired: Sequence[Resource], steps: Steps | None = None) -> Report:
        """One run, from plan to commit or back."""
        with NetworkController(step=steps or Steps()) as controller:
            observation = observe(controller.host, desired, NodeFacts())
            plan = make_plan(desired, observation, owner="cnm")
            assert not plan.conflicts, plan.conflicts
            return controller.execute(Planned(plan, observation, tuple(desired)))

    def reach(self, desired: Sequence[Resource]) -> None:
        report = self.go(desired)
        assert report.ok, (report.failed, report.left, report.reason)

    def rest(self, desired: Sequence[Resource]) -> list[str]:
        """What a plan still finds to do."""
        with NetworkController() as controller:
            return [
                op.id for op in make_plan(desired, observe(controller.host, desired, NodeFacts()), owner="cnm").ops()
            ]

    def picture(self) -> Picture:
        """All that can be seen of this host, ours and foreign, and all that is remembered of it."""
        with NetworkController() as controller:
            host = controller.host
            found: Picture = {}
            host.root.look()
            functions = {
                link_key("", raw.name) for raw in host.root.links if "vf" in raw.switch_port
            }  # their representors
            for wanted in (self.universe, ()):  # the second look is that of one who wants nothing
                for key, seen in observe(host, wanted, NodeFacts()).items.items():
                    data = seen.resource.data()
                    if (data.get("type") in ("veth", "tun") or key in functions) and not seen.owner:
                        # Of what nobody declares, a pair's end or what a switch or its daemon makes, it is drawn.
                        del data["mac"]
                    if data.get("type") in ("macvtap", "ipvtap"):
                        del data["info"]["device"]  # its node in /dev comes a while after it
                    if seen.resource.setting and "sysctls" in data:
                        del data["sysctls"]  # which of them are read depends on who looks; ``rest`` compares the values
                    found[str(key)] = (data, seen.owner)
            inventory = host.inventory
            found["names"] = sorted(path.name for path in Path("/run/netns").glob("*"))
            found["remembered"] = (sorted(inventory.netns), sorted(inventory.made), dict(inventory.sources))
            found["settings"] = dict(inventory.settings)
            found["secrets"] = dict(inventory.secrets)
            found["journal"] = sorted(path.name for path in Path("/run/cnm").glob("journal-*"))
            return found


def transitions(sample: Sample) -> Iterator[tuple[str, list[Resource], list[Resource]]]:
    """(name, what stands, what is wanted): made, changed in each way, removed."""
    whole = [*sample.base, sample.spec, *sample.beside]
    yield "create", [], whole
    for number, variant in enumerate(sample.variants, start=1):
        pair = not isinstance(variant, Link) or variant.peer is not None
        base = [r for r in sample.base if pair or r.made_by() is None]
        yield f"change {number}", whole, [*base, variant]
    yield "delete", whole, []


def chosen(total: int) -> Iterable[int]:
    """Which of the points 1 to ``total`` are tried."""
    if EVERY or total <= FEW:
        return range(1, total + 1)
    if LANE:
        return (1 + total // 2, total)
    return sorted({1 + total * n // FEW for n in range(FEW)} | {total})


def one_request_a_datagram() -> None:
    """The finest grain at which a kill can cut netlink requests apart: an interface and its mark stay together."""
    rtnl._CHUNK = 1


def differences(before: Picture, after: Picture) -> list[str]:
    return [
        f"{k}: {before.get(k)} -> {after.get(k)}" for k in sorted({*before, *after}) if before.get(k) != after.get(k)
    ]
