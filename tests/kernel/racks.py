"""A small data centre: nodes in racks, a leaf switch in each that routes, and the leaves in a ring.

The leaves are plain BIRDs, configured here by hand as a data centre's switches are: AS 65001 and up, one each. They learn
from their nodes (AS 64512) and tell each other; to the nodes they tell nothing.
"""

from __future__ import annotations

import subprocess
import tempfile
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from reconciler.engine.controller import NetworkController
from reconciler.planner.plan import Plan
from tests.kernel.overlay import endpoint
from tests.lab.host import Host

_HEAD = "apiVersion: cnm/v1alpha1\n"
_LEAF = """\
router id 198.18.{rack}.254;
protocol device {{}}
protocol direct {{ ipv4; ipv6; }}
protocol kernel {{ scan time 10; ipv4 {{ export where source = RTS_BGP; }}; }}
protocol kernel {{ scan time 10; ipv6 {{ export where source = RTS_BGP; }}; }}
template bgp node {{
  local as {asn}; graceful restart yes; direct; error wait time 1, 2;
}}
protocol bgp nodes4 from node {{ neighbor range 198.18.{rack}.0/24 as 64512; dynamic name "four"; ipv4 {{ import all; export none; }}; }}
protocol bgp nodes6 from node {{ neighbor range 2001:db8:{rack}::/64 as 64512; dynamic name "six"; ipv6 {{ import all; export none; }}; }}
"""
_SPINE = """\
protocol bgp leaf{other}v{v} {{
  local {local} as {asn}; neighbor {peer} as {peer_asn}; connect delay time 1; connect retry time 2; error wait time 1, 2; check link yes;
  ipv{v} {{ import all; export where source = RTS_BGP || net ~ [ {own} ]; next hop self; }};
}}
"""


def leaf_name(rack: int) -> str:
    return f"leaf{rack}"


class Racks:
    """``racks`` are the numbers of nodes in each; nodes are n1, n2, ... over all racks. Node k of rack r is
    198.18.r.k and 2001:db8:r::k, its leaf .254 and ::fe."""

    def __init__(self, folder: Path, racks: Sequence[int]) -> None:
        self.folder = folder
        self.place: dict[str, tuple[int, int]] = {}
        self._stack = ExitStack()
        self._scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="cnm-racks.")))
        with ExitStack() as undo:
            undo.callback(self._stack.close)
            self.leaves = {rack: self._leaf(rack) for rack in range(1, len(racks) + 1)}
            self.nodes: dict[str, Host] = {}
            for rack, count in enumerate(racks, start=1):
                for number in range(1, count + 1):
                    self._node(f"n{len(self.nodes) + 1}", rack, number)
            self._ring()
            undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # -- the cables ----------------------------------------------------------------------------------------

    def _leaf(self, rack: int) -> Host:
        leaf = self._stack.enter_context(Host(leaf_name(rack)))
        leaf.run(
            "sysctl",
            "-qw",
            "net.ipv4.ip_forward=1",
            "net.ipv6.conf.all.forwarding=1",
            "net.ipv6.conf.default.accept_dad=0",
        )
        leaf.ip("link add rack type bridge mcast_snooping 0")
        leaf.ip("link set rack up")
        leaf.ip(f"address add 198.18.{rack}.254/24 dev rack")
        leaf.ip(f"address add 2001:db8:{rack}::fe/64 dev rack nodad")
        return leaf

    def _node(self, name: str, rack: int, number: int) -> None:
        node = self._stack.enter_context(Host(name))
        leaf = self.leaves[rack]
        leaf.ip(f"link add {name} type veth peer name up0 netns {node.pid}")
        leaf.ip(f"link set {name} master rack up")
        node.run("sysctl", "-qw", "net.ipv6.conf.up0.accept_dad=0")
        node.ip(f"address add 198.18.{rack}.{number}/24 dev up0")
        node.ip(f"address add 2001:db8:{rack}::{number:x}/64 dev up0 nodad")
        node.ip("link set up0 up")
        node.ip(f"route add default via 198.18.{rack}.254")
        node.ip(f"-6 route add default via 2001:db8:{rack}::fe")
        self.nodes[name] = node
        self.place[name] = (rack, number)

    def _ring(self) -> None:
        texts = {rack: _LEAF.format(rack=rack, asn=65000 + rack) for rack in self.leaves}
        for a in self.leaves:
            for b in range(a + 1, len(self.leaves) + 1):
                one, other = self.leaves[a], self.leaves[b]
                one.ip(f"link add to{b} type veth peer name to{a} netns {other.pid}")
                for host, here, there, end in ((one, a, b, 1), (other, b, a, 2)):
                    host.ip(f"address add 198.18.{100 + 10 * a + b}.{end}/30 dev to{there}")
                    host.ip(f"address add 2001:db8:{a}{b}::{end}/64 dev to{there} nodad")
                    host.ip(f"link set to{there} up")
                    for v, form, own in (
                        (4, f"198.18.{100 + 10 * a + b}.{{}}", f"198.18.{here}.0/24"),
                        (6, f"2001:db8:{a}{b}::{{}}", f"2001:db8:{here}::/64"),
                    ):
                        texts[here] += _SPINE.format(
                            other=there, v=v, local=form.format(end), peer=form.format(3 - end), own=own,
                            asn=65000 + here, peer_asn=65000 + there,
                        )  # fmt: skip
        for rack, text in texts.items():
            path = self._scratch / f"{leaf_name(rack)}.conf"
            path.write_text(text)
            self.leaves[rack].run("bird", "-c", path, "-s", self._scratch / f"{leaf_name(rack)}.ctl")

    def cut(self, a: int, b: int) -> None:
        """The cable between two leaves is pulled."""
        self.leaves[a].ip(f"link set to{b} down")

    def mend(self, a: int, b: int) -> None:
        self.leaves[a].ip(f"link set to{b} up")

    # -- manifests -----------------------------------------------------------------------------------------

    def declare(self, documents: Iterable[str], endpoints: Iterable[str], reflectors: Sequence[str] = ()) -> None:
        """Node documents, and a BGPPeer for each leaf, come by themselves."""
        texts = []
        for name, (rack, number) in self.place.items():
            bgp = "{routeReflector: true, clusterId: 198.18.0.1}" if name in reflectors else "{}"
            addresses = f'[198.18.{rack}.{number}, "2001:db8:{rack}::{number:x}"]'
            texts.append(
                f"kind: Node\nmetadata: {{name: {name}, labels: {{rack: r{rack}}}}}\n"
                f"spec: {{addresses: {addresses}, bgp: {bgp}}}"
            )
        for rack in self.leaves:
            for version, address in ((4, f"198.18.{rack}.254"), (6, f"2001:db8:{rack}::fe")):
                texts.append(
                    f"kind: BGPPeer\nmetadata: {{name: leaf{rack}v{version}}}\n"
                    f'spec: {{nodes: "rack == \'r{rack}\'", address: "{address}", asn: {65000 + rack}, imports: [{{action: reject}}]}}'
                )
        texts += documents
        for place in endpoints:
            texts += endpoint(place)
        (self.folder / "all.yaml").write_text("---\n".join(f"{_HEAD}{textwrap.dedent(text)}\n" for text in texts))

    def plan(self, node: str) -> Plan:
        with self.nodes[node].entered(), NetworkController(node=node) as controller:
            return controller.plan([str(self.folder)]).plan

    def apply(self, *nodes: str) -> None:
        """On these nodes (default: all), one after the other."""
        for node in nodes or self.nodes:
            with self.nodes[node].entered(), NetworkController(node=node) as controller:
                report = controller.execute(controller.plan([str(self.folder)]))
                assert report.ok, (node, [str(error) for error in report.failed], report.left)

    def addresses(self) -> Mapping[str, tuple[str, ...]]:
        """``network/endpoint`` -> its addresses."""
        with NetworkController(node="n1") as controller:
            topology = controller.validate([str(self.folder)]).topology
        return {
            f"{network.name}/{one.name}": tuple(str(address.ip) for address in one.addresses)
            for network in topology.networks
            for one in network.endpoints
        }

    # -- what holds ----------------------------------------------------------------------------------------

    def unreached(self, places: Mapping[str, str], addresses: Iterable[str]) -> list[str]:
        """``FROM ADDRESS`` of all pings that were not answered within two seconds. ``places``: sandbox to node."""
        each = "ping -n -q -c1 -W2 $a >/dev/null || echo $a"
        script = f"for a in {' '.join(addresses)}; do {{ {each}; }} & done; wait"
        running = {
            sandbox: self.nodes[node].popen("sh", "-c", script, netns=sandbox) for sandbox, node in places.items()
        }
        return [f"{sandbox} {line}" for sandbox, one in running.items() for line in one.communicate()[0].splitlines()]

    def birdc(self, node: str, command: str) -> str:
        """What the BIRD of a node answers."""
        return (
            self.nodes[node]
            .run("sh", "-c", f"PATH=$PATH:/usr/sbin birdc -s /run/cnm/*/bird/bird.ctl '{command}'")
            .stdout
        )

    def established(self, node: str) -> int:
        return self.birdc(node, "show protocols").count("Established")

    def kill_bird(self, node: str) -> None:
        """SIGKILL: it says nothing to anybody."""
        self.nodes[node].run("sh", "-c", "kill -KILL $(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/' /run/cnm/*/bird.pid)")

    def pinging(self, node: str, sandbox: str, address: str) -> subprocess.Popen[str]:
        """Ping every 10 ms, each answer with its time."""
        return self.nodes[node].popen("ping", "-n", "-D", "-O", "-i0.01", "-W1", address, netns=sandbox)
