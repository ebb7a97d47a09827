"""How many routes a node needs as the data centre grows: ``python -m tests.bench.romana``; writes docs/routes.md.

Simulated: the allocator and the driver's own routes, without documents, hosts or clocks, so that the table is always the
same. How long the allocator takes is printed, and not kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from statistics import median
from time import perf_counter

from msgspec.structs import replace

from reconciler.drivers.romana import RomanaOptions, Way, layout_of, ways
from reconciler.errors import Origin
from reconciler.topology.allocate import Asker
from reconciler.topology.view import NetworkView, NodeView, SubnetView

TARGET = Path(__file__).parents[2] / "docs" / "routes.md"
SUBNET = IPv4Network("10.0.0.0/8")
TENANTS = ("shop", "bank", "lab")
_NOWHERE = Origin()


@dataclass(frozen=True)
class Centre:
    """``zones`` 0: the racks are beside each other; else they are spread over so many zones, each with a router of its own."""

    nodes: int
    racks: int
    endpoints: int  # a node
    zones: int = 0

    def options(self) -> RomanaOptions:
        zones = [{"name": f"zone{n}", "labels": {"zone": str(n)}} for n in range(self.zones)]
        racks = [
            {"name": f"rack{n}", "labels": {"rack": str(n)}, "routers": [f"172.16.{n >> 8}.{n & 255}"]}
            | ({"within": f"zone{n % self.zones}"} if self.zones else {})
            for n in range(self.racks)
        ]
        return RomanaOptions.model_validate({"groups": zones + racks})

    def members(self) -> tuple[NodeView, ...]:
        return tuple(
            NodeView(
                f"n{number:04}",
                (IPv4Address(0xAC200000 + number),),
                {"rack": str(number % self.racks), "zone": str(number % self.racks % max(self.zones, 1))},
                _NOWHERE,
            )
            for number in range(self.nodes)
        )


def allocate(centre: Centre, more: int = 0) -> NetworkView:
    """The network with all blocks; ``more`` endpoints a node come after all others have their addresses."""
    options, nodes = centre.options(), centre.members()
    subnet = SubnetView(SUBNET, None, SUBNET, {}, _NOWHERE)
    pools = options.pools([subnet], nodes, {})
    for number in (*range(centre.endpoints), *range(centre.endpoints, centre.endpoints + more)):
        for node in nodes:  # as names sort: nodes take turns
            asker = Asker(f"app/e{number}", node.name, TENANTS[number % len(TENANTS)], {})
            if options.choose(pools, asker) is None:
                raise ValueError(f"{centre} does not fit into {SUBNET}")
    return NetworkView(
        name="app",
        driver="romana",
        options=options,
        subnets=(replace(subnet, blocks=tuple(pools[0].blocks())),),
        mtu=1500,
        internal=False,
        labels={},
        endpoints=(),
        allow_from=(),
        origin=_NOWHERE,
        nodes=nodes,
    )


def tables(network: NetworkView) -> Mapping[str, frozenset[Way]]:
    """Node -> its routes to others. Of 1,000 nodes every tenth is looked at: those of a rack differ in whom they leave out."""
    step, layout = 10 if len(network.nodes) > 100 else 1, layout_of(network)
    return {node.name: frozenset(ways(network, layout, node.name)) for node in network.nodes[::step]}


CENTRES = (
    Centre(10, 2, 10),
    Centre(10, 2, 100),
    Centre(100, 5, 10),
    Centre(100, 5, 100),
    Centre(1000, 50, 10),
    Centre(1000, 50, 100),
    Centre(1000, 50, 100, zones=10),
    Centre(1000, 25, 100),
    Centre(1000, 100, 100),
)


def row(centre: Centre) -> tuple[str, float]:
    """(line of the table, seconds that the allocator took)."""
    clock = perf_counter()
    network = allocate(centre)
    seconds = perf_counter() - clock
    blocks = Counter(block.node for block in network.subnets[0].blocks)
    routes = tables(network)
    grown = tables(allocate(centre, more=10))
    changed = sum(routes[node] != grown[node] for node in routes)
    cells = (
        f"{centre.nodes:,}",
        f"{centre.racks}" + (f" in {centre.zones} zones" if centre.zones else ""),
        f"{centre.endpoints}",
        f"{centre.nodes * centre.endpoints:,}",
        f"{blocks.total():,}",
        f"**{median(map(len, routes.values())):.0f}**",
        f"{max(map(len, routes.values()))}",
        f"{changed} of {len(routes)}",
    )
    return f"| {' | '.join(cells)} |", seconds


def document(rows: list[str]) -> str:
    """The page's text."""
    return f"""\
# Routes a node needs

Written by `python -m tests.bench.romana`: the allocator and the routes of driver `romana`, simulated, with three tenants, blocks of
/29 and a router a rack. "Routes" are those to other nodes: one to each node of the same rack, one to each other rack
(or zone). An endpoint's own node has a route to it besides; without groups, every node would have one a block (as
with a mesh of routing daemons) or one an endpoint.

| nodes | racks | endpoints a node | endpoints | blocks | routes a node, median | most | other routes after 10 more endpoints a node |
|---:|---:|---:|---:|---:|---:|---:|---:|
{chr(10).join(rows)}

Routes grow with the racks and with the nodes of one rack, not with endpoints: ten times as many endpoints need the same routes. The last
column says on how many of the nodes looked at any route changes when ten endpoints come to every node: a node's blocks lie
together, and what is free beside them is a part of its route already.
"""


def main() -> None:
    rows = []
    for centre in CENTRES:
        line, seconds = row(centre)
        print(f"{line} allocated in {seconds:.1f} s", flush=True)
        rows.append(line)
    TARGET.write_text(document(rows))


if __name__ == "__main__":
    main()
