"""Node documents: which hosts there are, and which of them this is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reconciler.manifest.document import Document
from reconciler.manifest.kinds.node import Node
from reconciler.topology.view import NodeView

if TYPE_CHECKING:
    from reconciler.topology.resolve import Problems


def resolve_nodes(
    documents: Sequence[Document], node: str, problems: Problems, *, allow_empty: bool = False
) -> tuple[tuple[NodeView, ...], str]:
    """(all nodes by name, the name of this one). Without Node documents there is one host: this. That none of
    them is this host is a problem, unless ``allow_empty``."""
    views = []
    for document in documents:
        model = document.model
        assert isinstance(model, Node)
        spec = model.spec
        labels = dict(model.metadata.labels)
        views.append(
            NodeView(document.name, tuple(spec.addresses), labels, document.origin, tuple(spec.failsafe_ports))
        )
    if documents and not allow_empty and node not in {view.name for view in views}:
        names = ", ".join(view.name for view in views)
        problems.add(
            documents[0].origin,
            f"no Node document is this host ({node}); the manifests know: {names}",
            "say which one this is: --node NAME",
        )
    return tuple(views), node
