"""Small worlds of documents, resolved for node ``here``."""

from __future__ import annotations

from typing import Any

from reconciler.manifest.document import Document
from reconciler.manifest.lockfile import Lock
from reconciler.topology.resolve import Resolved, resolve
from reconciler.topology.view import EndpointView, NodeFacts
from tests.property.worlds import document

HERE = NodeFacts(name="here")


def network(name: str, *subnets: str | dict[str, Any], **spec: Any) -> Document:
    """A network of CIDRs, or of subnets with all their fields; of none: from the automatic pools."""
    listed = [subnet if isinstance(subnet, dict) else {"cidr": subnet} for subnet in subnets]
    return document("Network", name, {**({"subnets": listed} if listed else {}), **spec})


def endpoint(name: str, network: str = "front", *, sandbox: str = "", **spec: Any) -> Document:
    """An endpoint, in a sandbox of its own name unless another is named."""
    return document("Endpoint", name, {"network": network, "sandbox": sandbox or name, **spec})


def world(*documents: Document, lock: Lock = Lock(), facts: NodeFacts = HERE, locked: bool = False) -> Resolved:  # noqa: B008 - frozen
    """Resolve; sandboxes that endpoints name and no document describes are made up."""
    there = {doc.name for doc in documents if doc.kind == "Sandbox"}
    named = {doc.model.spec.sandbox for doc in documents if doc.kind == "Endpoint"}  # type: ignore[attr-defined]
    made = [document("Sandbox", name, {}) for name in sorted(named - there)]
    return resolve([*documents, *made], node="here", lock=lock, facts=facts, locked=locked)


def plugs(found: Resolved) -> dict[str, EndpointView]:
    """``network/endpoint`` to the endpoint."""
    return {f"{view.network}/{view.name}": view for net in found.topology.networks for view in net.endpoints}


def addresses(found: Resolved) -> dict[str, list[str]]:
    """``network/endpoint`` to its addresses, without prefix lengths."""
    return {name: [str(address.ip) for address in view.addresses] for name, view in plugs(found).items()}
