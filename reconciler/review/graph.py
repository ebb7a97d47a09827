"""Networks, sandboxes and endpoints as a picture: Mermaid, DOT, SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from reconciler.review.escape import visible, xml
from reconciler.topology.view import EndpointView, NetworkView, Topology


class _Picture(Struct, frozen=True):
    networks: tuple[NetworkView, ...]
    sandboxes: tuple[str, ...]
    edges: tuple[tuple[str, str, EndpointView], ...]  # sandbox, network, endpoint


def _picture(topology: Topology) -> _Picture:
    networks = tuple(network for network in topology.networks if network.name not in ("host", "none"))
    edges = tuple((e.sandbox.name, n.name, e) for n in networks for e in n.endpoints)
    names = {view.name for view in topology.sandboxes} | {sandbox for sandbox, _network, _endpoint in edges}
    return _Picture(networks, tuple(sorted(names)), edges)


def _addresses(endpoint: EndpointView) -> str:
    return ", ".join(str(address.ip) for address in endpoint.addresses)


def mermaid(topology: Topology) -> str:
    """A Mermaid flowchart; GitHub and GitLab draw it in comments."""
    picture = _picture(topology)
    lines = ["flowchart LR"]
    for network in picture.networks:
        subnets = "<br>".join(str(subnet.cidr) for subnet in network.subnets)
        kind = f"{network.driver}{', internal' if network.internal else ''}"
        lines.append(f'  {_id("n", network.name)}[["{network.name}<br>{kind}<br>{subnets}"]]')
    lines += [f'  {_id("s", name)}("{name}")' for name in picture.sandboxes]
    for sandbox, name, endpoint in picture.edges:
        label = f"{_mermaid(endpoint.interface)} {_addresses(endpoint)}"
        lines.append(f'  {_id("s", sandbox)} ---|"{label}"| {_id("n", name)}')
    for network in picture.networks:
        lines += [f"  {_id('n', other.name)} -.->|may reach| {_id('n', network.name)}" for other in network.allow_from]
    return "\n".join(lines) + "\n"


def _id(prefix: str, name: str) -> str:
    """An identifier; in one, ``--`` would begin an edge, and no name has an underscore."""
    return f"{prefix}_{name.replace('-', '_')}"


def _mermaid(text: str) -> str:
    """In a quoted label: everything that Mermaid, Markdown or HTML could see something in becomes its entity code."""
    return "".join(char if char.isalnum() or char in " .:/_-" else f"#{ord(char)};" for char in visible(text))


def dot(topology: Topology) -> str:
    """Graphviz."""
    picture = _picture(topology)
    lines = ["graph cnm {", "  rankdir=LR;", "  node [fontname=Helvetica];"]
    for network in picture.networks:
        subnets = "\\n".join(str(subnet.cidr) for subnet in network.subnets)
        lines.append(f'  "network {network.name}" [shape=box label="{network.name}\\n{network.driver}\\n{subnets}"];')
    lines += [f'  "sandbox {name}" [shape=ellipse label="{name}"];' for name in picture.sandboxes]
    for sandbox, name, endpoint in picture.edges:
        label = f"{_dot(endpoint.interface)}\\n{_addresses(endpoint)}"
        lines.append(f'  "sandbox {sandbox}" -- "network {name}" [label="{label}"];')
    for network in picture.networks:
        lines += [
            f'  "network {other.name}" -- "network {network.name}" [style=dashed dir=forward label="may reach"];'
            for other in network.allow_from
        ]
    return "\n".join([*lines, "}"]) + "\n"


def _dot(text: str) -> str:
    return visible(text).replace("\\", "\\\\").replace('"', '\\"')


_ROW, _WIDTH, _LEFT, _RIGHT = 64, 760, 40, 520


def svg(topology: Topology) -> str:
    """A drawing of our own: sandboxes left, networks right, endpoints between them. No program is needed."""
    picture = _picture(topology)
    height = _ROW * max(len(picture.sandboxes), len(picture.networks), 1) + 40
    left = {name: 20 + _ROW * number for number, name in enumerate(picture.sandboxes)}
    right = {network.name: 20 + _ROW * number for number, network in enumerate(picture.networks)}
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, (sandbox, name, endpoint) in enumerate(picture.edges):
        x1, y1, x2, y2 = _LEFT + 140, left[sandbox] + 22, _RIGHT, right[name] + 22
        share = 0.3 + 0.4 * (number % 3) / 2  # labels of lines that cross do not lie on each other
        x, y = x1 + (x2 - x1) * share, y1 + (y2 - y1) * share - 4
        out.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#667"/>')
        label = xml(f"{endpoint.interface} {_addresses(endpoint)}")
        out.append(f'<text x="{x:.0f}" y="{y:.0f}" font-size="10" text-anchor="middle" fill="#445">{label}</text>')
    out += [_box(_LEFT, left[name], 140, "#e7f0e4", name, "") for name in picture.sandboxes]
    for network in picture.networks:
        subnets = ", ".join(str(subnet.cidr) for subnet in network.subnets)
        if network.allow_from:
            subnets += f" ← {', '.join(other.name for other in network.allow_from)}"
        out.append(_box(_RIGHT, right[network.name], 200, "#e4eaf5", f"{network.name} ({network.driver})", subnets))
    return "\n".join([*out, "</svg>"]) + "\n"


def _box(x: int, y: int, width: int, color: str, title: str, below: str) -> str:
    text = f'<text x="{x + 10}" y="{y + (19 if below else 26)}" font-weight="bold">{_cut(title, width / 8)}</text>'
    if below:
        text += f'<text x="{x + 10}" y="{y + 35}" font-size="10">{_cut(below, width / 6)}</text>'
    return f'<rect x="{x}" y="{y}" width="{width}" height="44" rx="6" fill="{color}" stroke="#556"/>{text}'


def _cut(text: str, most: float) -> str:
    """What fits into a box of ``most`` characters; the whole text shows when pointed at."""
    shown = text if len(text) <= most else f"{text[: int(most) - 1]}…"
    return xml(shown) if shown == text else f"{xml(shown)}<title>{xml(text)}</title>"


FORMATS: Mapping[str, Callable[[Topology], str]] = {"mermaid": mermaid, "dot": dot, "svg": svg}
