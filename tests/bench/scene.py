"""What every contender builds, reads and takes away: endpoints on bridges, each in a namespace of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter, sleep
from typing import ClassVar, NamedTuple

PREFIX = 20  # a subnet for each bridge, of 4,094 addresses


class Bridge(NamedTuple):
    name: str
    gateway: str
    subnet: str


class Endpoint(NamedTuple):
    """``host`` is its interface's name on the host, ``netns`` its namespace in /run/netns; inside it is eth0."""

    host: str
    netns: str
    bridge: int
    address: str
    gateway: str


@dataclass(frozen=True)
class Scene:
    """``size`` endpoints spread evenly over ``width`` bridges. Other drivers' scenes change what their names say."""

    size: int
    width: int

    node: ClassVar[str] = "bench"

    @property
    def title(self) -> str:
        return f"{self.size:,} endpoints on {self.width} bridge{'' if self.width == 1 else 's'}"

    @property
    def family(self) -> str:
        """Scenes that differ in size only: growth is fitted through them."""
        return f"endpoints on {self.width} bridge{'' if self.width == 1 else 's'}"

    def prepare(self) -> None:
        """Make what the host has before anybody works: called once, inside the host."""

    @cached_property
    def bridges(self) -> tuple[Bridge, ...]:
        return tuple(
            Bridge(f"b{n}", f"10.{16 + n // 16}.{n % 16 * 16}.1", f"10.{16 + n // 16}.{n % 16 * 16}.0/{PREFIX}")
            for n in range(self.width)
        )

    @cached_property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(self._endpoints())

    def _endpoints(self) -> Iterator[Endpoint]:
        for n in range(self.size):
            bridge, number = n % self.width, n // self.width + 2
            first = int(self.bridges[bridge].gateway.split(".")[2])
            stem = self.bridges[bridge].gateway.rsplit(".", 2)[0]
            address = f"{stem}.{first + number // 256}.{number % 256}"
            yield Endpoint(f"v{n}", f"e{n}", bridge, address, self.bridges[bridge].gateway)

    def make_namespaces(self) -> float:
        """Seconds that `ip netns add` takes, all in one batch."""
        clock = perf_counter()
        ip_batch("\n".join(f"netns add {endpoint.netns}" for endpoint in self.endpoints))
        return perf_counter() - clock

    def works(self) -> None:
        """Raise RuntimeError unless the first and the last endpoint reach their gateway. The kernel announces
        carriers a hundred a round (net/core/link_watch.c), so with many endpoints the last needs a while."""
        for endpoint in (self.endpoints[0], self.endpoints[-1]):
            ping = ["ping", "-c1", "-W1", "-q", endpoint.gateway]
            for _ in range(60):
                done = subprocess.run(
                    ["nsenter", f"--net=/run/netns/{endpoint.netns}", *ping],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                if done.returncode == 0:
                    break
            else:
                raise RuntimeError(f"{endpoint.netns} does not reach its gateway: {done.stdout}{done.stderr}")

    def write_manifests(self, folder: Path) -> None:
        """The same for cnm: a file of networks, and a file of sandboxes and endpoints for each bridge."""
        folder.mkdir(parents=True)
        networks = [document("Network", bridge.name, self.network(bridge)) for bridge in self.bridges]
        (folder / "networks.yaml").write_text("---\n".join(networks))
        for number, bridge in enumerate(self.bridges):
            documents = []
            for endpoint in self.endpoints[number :: self.width]:
                documents.append(document("Sandbox", endpoint.netns, self.sandbox(endpoint)))
                labels = self.labels(int(endpoint.netns[1:]))
                documents.append(document("Endpoint", endpoint.netns, self.endpoint(endpoint, bridge), labels))
            (folder / f"{bridge.name}.yaml").write_text("---\n".join(documents))
        for name, text in self.more():
            (folder / name).write_text(text)

    def network(self, bridge: Bridge) -> str:
        return f"{{driver: bridge, subnets: [{{cidr: {bridge.subnet}}}]}}"

    def sandbox(self, endpoint: Endpoint) -> str:
        return f"{{stack: {{path: /run/netns/{endpoint.netns}}}}}"

    def endpoint(self, endpoint: Endpoint, bridge: Bridge) -> str:
        return f"{{network: {bridge.name}, sandbox: {endpoint.netns}, addresses: [{endpoint.address}]}}"

    def labels(self, number: int) -> str:
        """Of the endpoint with this number; "" for none."""
        return ""

    def more(self) -> Iterable[tuple[str, str]]:
        """Further files."""
        return ()


def document(kind: str, name: str, spec: str, labels: str = "") -> str:
    metadata = f"{{name: {name}, labels: {labels}}}" if labels else f"{{name: {name}}}"
    return f"apiVersion: cnm/v1alpha1\nkind: {kind}\nmetadata: {metadata}\nspec: {spec}\n"


def ip_batch(lines: str, *, netns: str = "") -> None:
    """Run ip(8) over many lines. Raises CalledProcessError."""
    where = ["-n", netns] if netns else []
    subprocess.run(["ip", *where, "-batch", "-"], input=lines + "\n", text=True, check=True, capture_output=True)


def wait_for_the_dead() -> None:
    """Wait until the kernel has ended the namespaces that others left. It ends them one after the other, for minutes where
    10,000 were left, and holds up whoever makes links meanwhile (cleanup_net in net/core/net_namespace.c): one more is
    left, and it is over when the link into that one is gone."""
    ip_batch("netns add last\nlink add last0 type veth peer name last1 netns last\nnetns delete last")
    while os.path.exists("/proc/sys/net/ipv4/conf/last0"):  # noqa: PTH110 - asked every moment
        sleep(0.1)
