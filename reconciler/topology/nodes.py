"""Node documents: which hosts there are, and which of them this is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reconciler.manifest.document import Document
from reconciler.manifest.kinds.node import Node, NodeSpec
from reconciler.topology.view import NodeView, SpeakerView

if TYPE_CHECKING:
    from reconciler.topology.resolve import Problems


def resolve_nodes(
    documents: Sequence[Document], node: str, problems: Problems, *, allow_empty: bool = False, asn: int = 64512
) -> tuple[tuple[NodeView, ...], str]:
    """(all nodes by name, the name of this one). Without Node documents there is one host: this. That none of
    them is this host is a problem, unless ``allow_empty``. ``asn`` is that of nodes which say none."""
    views = []
    for document in documents:
        model = document.model
        assert isinstance(model, Node)
        spec = model.spec
        labels = dict(model.metadata.labels)
        ports = tuple(spec.failsafe_ports)
        speaker = _speaker(document, spec, asn, problems)
        views.append(NodeView(document.name, tuple(spec.addresses), labels, document.origin, ports, speaker))
    if documents and not allow_empty and node not in {view.name for view in views}:
        names = ", ".join(view.name for view in views)
        problems.add(
            documents[0].origin,
            f"no Node document is this host ({node}); the manifests know: {names}",
            "say which one this is: --node NAME",
        )
    return tuple(views), node


def _speaker(document: Document, spec: NodeSpec, asn: int, problems: Problems) -> SpeakerView | None:
    bgp = spec.bgp
    if bgp is None:
        return None
    first = next((str(address) for address in spec.addresses if address.version == 4), "")
    if not (bgp.router_id or first):
        problems.add(
            document.at("spec", "bgp"),
            f"node {document.name} has no IPv4 address to be its BGP identifier",
            "write spec.bgp.routerId, any IPv4 address that no other node has",
        )
    bird = bgp.bird
    return SpeakerView(
        asn=bgp.asn or asn,
        router_id=bgp.router_id or first,
        reflector=bgp.route_reflector,
        config_file=bgp.config_file,
        sockets=bgp.sockets,
        cluster_id=bgp.cluster_id or bgp.router_id or first,
        include_file=bird.include_file if bird is not None else "",
        bird_config=bird.config_file if bird is not None else "",
        bird_socket=bird.socket if bird is not None else "",
    )
