"""Data centres for driver romana: documents of racks of nodes, and a forwarding simulation of their static routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from reconciler.drivers.romana import RomanaOptions, layout_of, ways
from reconciler.errors import Origin
from reconciler.manifest.document import Document
from reconciler.manifest.kinds import kinds
from reconciler.manifest.lockfile import Lock
from reconciler.topology.groups import Group, cover
from reconciler.topology.resolve import Resolved, resolve
from reconciler.topology.view import Address, BlockView, NetworkView, NodeFacts, Subnet

Labels = Mapping[str, str]
V = TypeVar("V")


def document(kind: str, name: str, spec: dict[str, Any], labels: Labels | None = None) -> Document:
    """One document; a network's options are driver romana's."""
    metadata = {"name": name, "labels": dict(labels or {})}
    model = kinds()[kind].model_validate(
        {"apiVersion": "cnm/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
    )
    place = f"{spec['network']}/{name}" if kind == "Endpoint" else name
    options = RomanaOptions.model_validate(spec.get("options", {})) if kind == "Network" else None
    return Document(model=model, origin=Origin("all.yaml", 1, 1, f"{kind}/{place}"), positions={}, options=options)


def node(name: str, number: int, labels: Labels | None = None) -> Document:
    """A node with an underlay address of each family."""
    addresses = [f"192.0.{2 + number // 250}.{number % 250 + 1}", f"2001:db8::{number + 1:x}"]
    return document("Node", name, {"addresses": addresses}, labels)


def racks(count: int, routers: bool = True) -> list[dict[str, Any]]:
    """Groups ``r0``, ``r1``, ...: nodes with label ``rack``, each with a router of its own, or none."""
    return [
        {"name": f"r{n}", "labels": {"rack": str(n)}}
        | ({"routers": [f"198.51.100.{n + 1}", f"2001:db8:1::{n + 1:x}"]} if routers else {})
        for n in range(count)
    ]


def network(*cidrs: str, name: str = "app", **options: Any) -> Document:
    return document("Network", name, {"driver": "romana", "subnets": [{"cidr": c} for c in cidrs], "options": options})


def endpoint(
    name: str, on: str, labels: Labels | None = None, addresses: Sequence[str] = (), network: str = "app"
) -> list[Document]:
    """An endpoint and its sandbox, on a node."""
    asked: dict[str, Any] = {"addresses": list(addresses)} if addresses else {}
    return [
        document("Sandbox", name, {"node": on} if on else {}),
        document("Endpoint", name, {"network": network, "sandbox": name, **asked}, labels),
    ]


def world(documents: Iterable[Document], here: str, lock: Lock = Lock(), *, locked: bool = False) -> Resolved:  # noqa: B008 - frozen
    facts = NodeFacts(name=here)
    return resolve(list(documents), node=here, lock=lock, facts=facts, locked=locked)


def app(found: Resolved) -> NetworkView:
    return found.topology.network("app")


def addresses(found: Resolved) -> dict[str, list[str]]:
    return {view.name: [str(address.ip) for address in view.addresses] for view in app(found).endpoints}


def blocks(network: NetworkView) -> list[BlockView]:
    return [block for subnet in network.subnets for block in subnet.blocks]


class Traffic:
    """Where packets go by the static routes of all nodes and of the routers that their owners were told of."""

    def __init__(self, network: NetworkView) -> None:
        self.network = network
        self.layout = layout_of(network)
        self.nodes = {address: view.name for view in network.nodes for address in view.addresses}
        self.tables = {
            view.name: {way.to: way.via for way in ways(network, self.layout, view.name)} for view in network.nodes
        }
        self.holders = {e.ip: view.sandbox.node for view in network.endpoints for e in view.addresses}

    def arrives(self, here: str, to: Address) -> list[str]:
        """The nodes that a packet to an address passes, its sender first; ends where it is delivered or dropped."""
        passed = [here]
        while self.holders.get(to) != passed[-1] and len(passed) < 9:
            hop = longest(self.tables[passed[-1]], to)
            if hop is None:
                return [*passed, "dropped"]
            if hop in self.nodes:
                passed.append(self.nodes[hop])
                continue
            after = self.routed(to)
            if after is None:
                return [*passed, "dropped"]
            passed.append(after)
        return passed

    def routed(self, to: Address) -> str | None:
        """What routers do with what `cnm graph --addresses` prints for them: a prefix a group, and its parts a node."""
        for number, subnet in enumerate(self.network.subnets):
            for leaf in self.layout.top.leaves():
                part = leaf.cidrs[number]
                if part is not None and to in part:
                    return longest(dict(cover(part, within(part, subnet.blocks))), to)
        return None


def within(part: Subnet, found: Iterable[BlockView]) -> list[BlockView]:
    return [block for block in found if block.cidr.overlaps(part)]


def longest(table: Mapping[Subnet, V], to: Address) -> V | None:
    """Longest prefix match."""
    found = [cidr for cidr in table if to in cidr]
    return table[max(found, key=lambda cidr: cidr.prefixlen)] if found else None


def leaf_of(network: NetworkView, name: str) -> Group | None:
    return layout_of(network).leaf(name)
