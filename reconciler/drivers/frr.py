"""FRR's configuration, as text: BGP with address family EVPN (RFC 7432, RFC 8365) between the nodes, which are one AS.

Everything that is written into it passes :func:`word`, so that no name in a manifest can become a line of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from reconciler.topology.view import NodeView, SpeakerView

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,252}\Z", re.ASCII)


def word(value: object) -> str:
    """One word of a command. Raises ValueError for what FRR's parser could read as something else: spaces, line ends,
    comments (``!``, ``#``), help (``?``), pipes, an empty word."""
    text = str(value)
    if not _WORD.match(text):
        raise ValueError(f"{text!r} cannot be written into FRR's configuration")
    return text


def evpn(owner: str, here: NodeView, peers: Sequence[NodeView], version: int, *, flood: bool) -> str:
    """The whole file. ``peers`` are all other nodes; route reflectors, where there are any, are the only ones that the
    others speak to. Lines are in the very form in which FRR shows them."""
    own = address_of(here, version)
    reflected = any(speaker_of(peer).reflector for peer in peers) and not speaker_of(here).reflector
    speakers = [peer for peer in peers if speaker_of(peer).reflector or not reflected]
    lines = [
        f"! cnm {word(owner)}: this file is written whole by cnm; what is changed by hand is put back",
        "frr defaults datacenter",
        f"router bgp {word(speaker_of(here).asn)}",
        f" bgp router-id {word(speaker_of(here).router_id)}",
        " no bgp default ipv4-unicast",
    ]
    for peer in speakers:
        far = word(address_of(peer, version))
        lines += [
            f" neighbor {far} remote-as {word(speaker_of(peer).asn)}",
            f" neighbor {far} description {word(peer.name)}",
            f" neighbor {far} update-source {word(own)}",
        ]
    lines += [" !", " address-family l2vpn evpn"]
    for peer in speakers:
        far = word(address_of(peer, version))
        lines.append(f"  neighbor {far} activate")
        if speaker_of(here).reflector and not speaker_of(peer).reflector:
            lines.append(f"  neighbor {far} route-reflector-client")
    lines.append("  advertise-all-vni")
    if not flood:
        lines.append("  flooding disable")
    lines += [" exit-address-family", "exit", "!", ""]
    return "\n".join(lines)


def speaker_of(node: NodeView) -> SpeakerView:
    """Raises ValueError when the node speaks no BGP."""
    if node.bgp is None:
        raise ValueError(f"node {node.name} speaks no BGP")
    return node.bgp


def address_of(node: NodeView, version: int) -> str:
    """Raises ValueError when the node has none."""
    for address in node.addresses:
        if address.version == version:
            return str(address)
    raise ValueError(f"node {node.name} has no IPv{version} address")
