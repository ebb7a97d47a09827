"""Several private hosts on one Ethernet: an underlay for networks that span hosts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from tests.lab.host import Host

UPLINK = "up0"


class Fabric:
    """``names`` are the hosts, each with an interface ``up0`` on a switch: the n-th has 192.0.2.n and 2001:db8::n.

    ``switch`` is the host that the cables meet in, where traffic between them can be watched; its ports are named
    after the hosts.
    """

    def __init__(self, names: Sequence[str], *, mtu: int = 1500) -> None:
        self._stack = ExitStack()
        self.names = tuple(names)
        with ExitStack() as undo:
            undo.callback(self._stack.close)
            self.switch = self._stack.enter_context(Host("switch"))
            self.switch.ip("link add sw type bridge mcast_snooping 0")
            self.switch.ip("link set sw up")
            self.hosts = {name: self._stack.enter_context(Host(name)) for name in names}
            for number, (name, host) in enumerate(self.hosts.items(), start=1):
                self.switch.ip(f"link add {name} mtu {mtu} type veth peer name {UPLINK} mtu {mtu} netns {host.pid}")
                self.switch.ip(f"link set {name} master sw up")
                host.run("sysctl", "-qw", f"net.ipv6.conf.{UPLINK}.accept_dad=0")
                host.ip(f"address add 192.0.2.{number}/24 dev {UPLINK}")
                host.ip(f"address add 2001:db8::{number}/64 dev {UPLINK} nodad")
                host.ip(f"link set {UPLINK} up")
            undo.pop_all()

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    def node_documents(self) -> list[str]:
        """A Node document for each host."""
        return [
            f'kind: Node\nmetadata: {{name: {name}}}\nspec: {{addresses: [192.0.2.{number}, "2001:db8::{number}"]}}'
            for number, name in enumerate(self.names, start=1)
        ]
