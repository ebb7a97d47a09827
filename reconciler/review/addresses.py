"""The addresses of all networks as a tree: subnets, groups, nodes, blocks, and who has what."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct, field

from reconciler.review.escape import visible, xml
from reconciler.topology.allocate import reserved
from reconciler.topology.groups import Group, Layout, cover, inside
from reconciler.topology.view import BlockView, EndpointView, NetworkView, Subnet, SubnetView, Topology


class Branch(Struct, frozen=True):
    """A line of the tree, and what is below it."""

    text: str
    below: list[Branch] = field(default_factory=list)


def addresses(topology: Topology) -> Sequence[Branch]:
    """A branch a network."""
    found = []
    for network in topology.networks:
        if network.subnets:
            layout: Layout = network.options.layout(
                network.subnets, network.nodes, ((b.cidr, b.node) for s in network.subnets for b in s.blocks)
            )
            members = [_subnet(network, number, layout) for number in range(len(network.subnets))]
            found.append(Branch(f"{network.name}  {network.driver}", members))
    return found


def _subnet(network: NetworkView, number: int, layout: Layout) -> Branch:
    subnet = network.subnets[number]
    held = sorted(
        ((int(a.ip), e) for e in network.endpoints for a in e.addresses if a.ip in subnet.cidr),
        key=lambda pair: pair[0],
    )
    said = [str(subnet.cidr), _share(len(held), subnet.cidr.num_addresses - len(reserved(subnet.cidr)))]
    if subnet.range != subnet.cidr:
        said.append(f"range {subnet.range}")
    if subnet.gateway is not None:
        said.append(f"gateway {subnet.gateway}")
    kept = [Branch(f"{address}  kept for {name}") for name, address in sorted(subnet.auxiliary.items())]
    if subnet.blocks:
        below = _group(network, subnet, number, layout.top, layout, held)
    else:
        below = [Branch(f"{_address(subnet, n)}  {_who(endpoint)}") for n, endpoint in held]
    return Branch("  ".join(said), [*kept, *below])


_Held = Sequence[tuple[int, EndpointView]]


def _group(
    network: NetworkView, subnet: SubnetView, number: int, group: Group, layout: Layout, held: _Held
) -> list[Branch]:
    """What is below a group: the groups in it, or its nodes with the prefixes by which they are reached."""
    part = group.cidrs[number]
    if part is None:
        return []
    if group.groups:
        return [_named(network, subnet, number, inner, layout, held) for inner in group.groups if inner.cidrs[number]]
    mine = [block for block in subnet.blocks if inside(block.cidr, part)]
    ways: dict[str, list[str]] = {}
    for cidr, node in cover(part, mine):
        ways.setdefault(node, []).append(str(cidr))
    addresses = {view.name: view.addresses for view in network.nodes}
    found = []
    for node, blocks in sorted(_by_node(mine).items()):
        hop = next((str(a) for a in addresses.get(node, ()) if a.version == subnet.cidr.version), "")
        text = f"{node}  {', '.join(ways[node])}" + (f"  via {hop}" if hop else "")
        found.append(Branch(text, [_block(subnet, block, held) for block in blocks]))
    return found


def _named(network: NetworkView, subnet: SubnetView, number: int, group: Group, layout: Layout, held: _Held) -> Branch:
    part = group.cidrs[number]
    assert part is not None
    routers = [str(router) for router in group.routers if router.version == part.version]
    said = [group.path[-1], str(part), _share(len(_within(part, held)), part.num_addresses)]
    said += [f"router {', '.join(routers)}"] if routers else []
    said += [] if layout.hosts(group) else ["no nodes"]
    return Branch("  ".join(said), _group(network, subnet, number, group, layout, held))


def _block(subnet: SubnetView, block: BlockView, held: _Held) -> Branch:
    mine = _within(block.cidr, held)
    text = f"{block.cidr}  {_share(len(mine), block.cidr.num_addresses)}" + (f"  {block.owner}" if block.owner else "")
    return Branch(text, [Branch(f"{_address(subnet, n)}  {endpoint.name}") for n, endpoint in mine])


def _by_node(blocks: Iterable[BlockView]) -> Mapping[str, Sequence[BlockView]]:
    found: dict[str, list[BlockView]] = {}
    for block in blocks:
        found.setdefault(block.node, []).append(block)
    return found


def _within(part: Subnet, held: _Held) -> _Held:
    low = bisect_left(held, int(part.network_address), key=lambda pair: pair[0])
    return held[low : bisect_left(held, int(part.broadcast_address) + 1, key=lambda pair: pair[0])]


def _address(subnet: SubnetView, number: int) -> str:
    return str(type(subnet.cidr.network_address)(number))


def _who(endpoint: EndpointView) -> str:
    node = f"@{endpoint.sandbox.node}" if endpoint.sandbox.node else ""
    return f"{endpoint.name}{node}"


def _share(used: int, total: int) -> str:
    return f"{used:,} of {total:,} used" if total < 1 << 24 else f"{used:,} used"


# -- the tree as text and as pictures ----------------------------------------------------------------------------


def text(branches: Sequence[Branch]) -> str:
    """For terminals."""
    lines: list[str] = []
    for branch in branches:
        lines.append(visible(branch.text))
        lines += _lines(branch.below, "")
    return "".join(f"{line}\n" for line in lines)


def _lines(branches: Sequence[Branch], before: str) -> Iterable[str]:
    for number, branch in enumerate(branches):
        last = number == len(branches) - 1
        yield f"{before}{'└── ' if last else '├── '}{visible(branch.text)}"
        yield from _lines(branch.below, before + ("    " if last else "│   "))


def _numbered(branches: Sequence[Branch]) -> Iterable[tuple[int, int, str]]:
    """(number, number of the one above or -1, text) of all."""
    waiting = [(-1, branch) for branch in reversed(branches)]
    number = 0
    while waiting:
        above, branch = waiting.pop()
        yield number, above, visible(branch.text)
        waiting += [(number, inner) for inner in reversed(branch.below)]
        number += 1


def mermaid(branches: Sequence[Branch]) -> str:
    """A Mermaid flowchart."""
    lines = ["flowchart LR"]
    for number, above, said in _numbered(branches):
        quoted = "".join(char if char.isalnum() or char in " .:/_-@," else f"#{ord(char)};" for char in said)
        lines.append(f'  a{number}["{quoted}"]')
        lines += [f"  a{above} --- a{number}"] if above >= 0 else []
    return "\n".join(lines) + "\n"


def dot(branches: Sequence[Branch]) -> str:
    """Graphviz."""
    lines = ["graph addresses {", "  rankdir=LR;", "  node [fontname=Helvetica shape=box];"]
    for number, above, said in _numbered(branches):
        quoted = said.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'  a{number} [label="{quoted}"];')
        lines += [f"  a{above} -- a{number};"] if above >= 0 else []
    return "\n".join([*lines, "}"]) + "\n"


_LINE = 18


def svg(branches: Sequence[Branch]) -> str:
    """The text, drawn."""
    lines = text(branches).splitlines()
    height, width = _LINE * len(lines) + 20, 8 * max(map(len, lines), default=0) + 40
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="monospace" font-size="12" xml:space="preserve">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    out += [f'<text x="20" y="{_LINE * (number + 1)}">{xml(line)}</text>' for number, line in enumerate(lines)]
    return "\n".join([*out, "</svg>"]) + "\n"


FORMATS: Mapping[str, Callable[[Sequence[Branch]], str]] = {"text": text, "mermaid": mermaid, "dot": dot, "svg": svg}
