"""Several hosts that apply the same manifests: a scene for networks that span hosts."""

from __future__ import annotations

import re
import subprocess
import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from reconciler.engine.controller import NetworkController
from reconciler.planner.plan import Plan
from tests.kernel.scene import PING
from tests.lab.fabric import Fabric

_TCPDUMP = ("tcpdump", "-n", "-l", "-U", "--immediate-mode", "-i")
_HEAD = "apiVersion: cnm/v1alpha1\n"
DUAL = 'subnets: [{cidr: 10.5.0.0/24}, {cidr: "fd05::/64"}]'


def network(name: str = "app", subnets: str = DUAL, options: str = "{}", more: str = "") -> str:
    return f"kind: Network\nmetadata: {{name: {name}}}\nspec: {{driver: overlay, {subnets}, options: {options}{more}}}"


def endpoint(place: str) -> list[str]:
    """``network/name@node``: a sandbox with an endpoint of the same name."""
    net, _, rest = place.partition("/")
    name, _, node = rest.partition("@")
    return [
        f"kind: Sandbox\nmetadata: {{name: {name}}}\nspec: {{node: {node}}}",
        f"kind: Endpoint\nmetadata: {{name: {name}}}\nspec: {{network: {net}, sandbox: {name}}}",
    ]


class Cluster:
    """Hosts of a fabric and one folder of manifests, which all of them read."""

    def __init__(self, folder: Path, nodes: Sequence[str], *, mtu: int = 1500) -> None:
        self.folder = folder
        self.fabric = Fabric(nodes, mtu=mtu)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.fabric.__exit__(kind, error, trace)

    def write(self, documents: Iterable[str], endpoints: Iterable[str] = ()) -> None:
        """Replace the manifests: Node documents come by themselves."""
        texts = [*self.fabric.node_documents(), *documents]
        for place in endpoints:
            texts += endpoint(place)
        (self.folder / "all.yaml").write_text("---\n".join(f"{_HEAD}{textwrap.dedent(text)}\n" for text in texts))

    def plan(self, node: str) -> Plan:
        """What apply would do on a node. Nothing is remembered from call to call but what the host itself has."""
        with self.fabric[node].entered(), NetworkController(node=node) as controller:
            return controller.plan([str(self.folder)]).plan

    def apply(self, *nodes: str) -> None:
        """On these nodes (default: all), one after the other, and hold that nothing is left to do."""
        for node in nodes or self.fabric.names:
            with self.fabric[node].entered(), NetworkController(node=node) as controller:
                report = controller.execute(controller.plan([str(self.folder)]))
                assert report.ok, (node, [str(error) for error in report.failed], report.left)
                assert controller.plan([str(self.folder)]).plan.empty

    def destroy(self, node: str) -> None:
        with self.fabric[node].entered(), NetworkController(node=node) as controller:
            assert controller.execute(controller.plan_destroy()).ok

    def address(self, place: str, version: int = 4) -> str:
        """The address of ``network/endpoint``."""
        net, name = place.split("/")
        with NetworkController(node=self.fabric.names[0]) as controller:
            topology = controller.validate([str(self.folder)]).topology
        view = next(e for e in topology.network(net).endpoints if e.name == name)
        return str(next(address.ip for address in view.addresses if address.version == version))

    def reaches(self, node: str, sandbox: str, address: str, *, size: int = 56) -> bool:
        """Whether one of five pings, none of which may be cut into fragments, is answered."""
        command = (*PING, "-s", str(size), "-M", "do", address)
        return self.fabric[node].run(*command, netns=sandbox, check=False).returncode == 0

    @contextmanager
    def pinging(self, node: str, sandbox: str, address: str, *, interval: float = 0.01) -> Iterator[Pinging]:
        """Ping through the block, a packet each ``interval`` seconds; afterwards it is known how many were lost."""
        command = ("ping", "-n", f"-i{interval}", "-W1", address)
        process = self.fabric[node].popen(*command, netns=sandbox)
        ping = Pinging()
        try:
            time.sleep(0.3)
            yield ping
            time.sleep(0.3)
        finally:
            process.send_signal(2)
            text = process.communicate()[0]
        found = re.search(r"(\d+) packets transmitted, (\d+) received", text)
        assert found, text
        ping.sent, ping.received = int(found[1]), int(found[2])

    @contextmanager
    def watching(self, port: str, expression: str) -> Iterator[list[str]]:
        """What tcpdump sees on the cable to a host during the block, a line a packet, once it has ended."""
        with self._tcpdump(self.fabric.switch.argv(*_TCPDUMP, port, expression)) as heard:
            yield heard

    @contextmanager
    def watching_inside(self, node: str, sandbox: str, expression: str) -> Iterator[list[str]]:
        """The same at the interface of a sandbox."""
        with self._tcpdump(self.fabric[node].argv(*_TCPDUMP, "eth0", expression, netns=sandbox)) as heard:
            yield heard

    @contextmanager
    def _tcpdump(self, command: Sequence[str]) -> Iterator[list[str]]:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        while "listening on" not in (line := process.stderr.readline()):
            assert line, "tcpdump ended"
        heard: list[str] = []
        try:
            yield heard
            time.sleep(0.3)
        finally:
            process.terminate()
            heard += filter(None, process.communicate()[0].splitlines())


class Pinging:
    """``sent`` and ``received`` are set when the block has ended. The last packet may still be on its way."""

    sent = received = 0

    @property
    def lost(self) -> int:
        return max(0, self.sent - self.received - 1)
