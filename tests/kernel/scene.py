"""A host with manifests, for tests that send packets."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from reconciler.engine.controller import NetworkController
from reconciler.engine.result import PlanOptions, Report
from reconciler.planner.plan import Plan
from tests.kernel.private import answers, run

OUTSIDE4, OUTSIDE6 = "192.0.2.2", "2001:db8::2"  # a host beyond the uplink
# Five within a second; it ends with the first answer, or the first error.
PING = ("ping", "-n", "-q", "-c1", "-i0.2", "-w1")
_HEAD = "apiVersion: cnm/v1alpha1\n"


class Scene:
    """Manifests in a folder, and the controller that applies them to this namespace."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.controller = NetworkController(node="here", **options)

    def __enter__(self) -> Scene:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.controller.close()

    def write(self, text: str) -> None:
        """Replace the manifests. Documents are separated by ``---``; apiVersion is added."""
        parts = textwrap.dedent(text).strip().split("\n---\n")
        (self.folder / "all.yaml").write_text("---\n".join(f"{_HEAD}{part}\n" for part in parts))

    def plan(self, **options: object) -> Plan:
        return self.controller.plan([str(self.folder)], options=PlanOptions(**options)).plan  # type: ignore[arg-type]

    def apply(self, text: str | None = None) -> Report:
        """Apply and hold that it worked."""
        if text is not None:
            self.write(text)
        report = self.controller.execute(self.controller.plan([str(self.folder)]))
        assert report.ok, (report.failed, report.skipped, report.left)
        assert self.plan().empty
        return report

    def destroy(self) -> None:
        assert self.controller.execute(self.controller.plan_destroy(), purpose="destroy").ok

    def address(self, endpoint: str, version: int = 4) -> str:
        """The address of ``network/endpoint``."""
        network, name = endpoint.split("/")
        topology = self.controller.validate([str(self.folder)]).topology
        view = next(e for e in topology.network(network).endpoints if e.name == name)
        return str(next(address.ip for address in view.addresses if address.version == version))

    def reaches(self, sandbox: str, address: str) -> bool:
        """Whether one of five pings from a sandbox is answered."""
        return answers("ip", "netns", "exec", sandbox, *PING, address)


def add_outside(*, routed: bool = False) -> None:
    """A host beyond this host's uplink, as a namespace: it knows no way back to our networks, unless ``routed``."""
    run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "far")
    run("ip", "netns", "add", "outside")
    run("ip", "link", "set", "far", "netns", "outside")
    # Without a usable link-local address the kernel sends no neighbour solicitations: do not wait for one.
    Path("/proc/sys/net/ipv6/conf/uplink/accept_dad").write_text("0")
    run("ip", "netns", "exec", "outside", "sysctl", "-qw", "net.ipv6.conf.far.accept_dad=0")
    for address, dev, netns in (("192.0.2.1/24", "uplink", ""), ("2001:db8::1/64", "uplink", ""),
                                (f"{OUTSIDE4}/24", "far", "outside"), (f"{OUTSIDE6}/64", "far", "outside")):  # fmt: skip
        inside = ("-n", netns) if netns else ()
        nodad = ("nodad",) if ":" in address else ()
        run("ip", *inside, "address", "add", address, "dev", dev, *nodad)
    run("ip", "link", "set", "uplink", "up")
    run("ip", "-n", "outside", "link", "set", "far", "up")
    if routed:
        run("ip", "-n", "outside", "route", "add", "default", "via", "192.0.2.1")
        run("ip", "-n", "outside", "-6", "route", "add", "default", "via", "2001:db8::1")


def settle(patience: float = 30.0) -> None:
    """Wait until no address of this host and its namespaces is tentative (RFC 4862, 5.4), so that what it looks like
    changes no more by itself. Raises AssertionError after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while "tentative" in run("ip", "-6", "address") + run("ip", "-all", "netns", "exec", "ip", "-6", "address"):
        assert time.monotonic() < deadline, "addresses stay tentative"
        time.sleep(0.1)
