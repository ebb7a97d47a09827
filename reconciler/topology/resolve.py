"""Documents to topology: every reference followed, every address decided, every default filled in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network
from typing import TYPE_CHECKING, cast

from msgspec import Struct
from msgspec.structs import replace

from reconciler.errors import ManifestError, Origin, PlanError, Problem
from reconciler.manifest.document import Document
from reconciler.manifest.lockfile import Lock
from reconciler.policy.resolve import resolve_policies
from reconciler.policy.view import DIRECTIONS
from reconciler.topology.endpoints import Allocated, check_references, resolve_endpoints, spec_of
from reconciler.topology.networks import resolve_networks
from reconciler.topology.nodes import resolve_nodes
from reconciler.topology.pools import resolve_pools
from reconciler.topology.sandboxes import resolve_sandboxes
from reconciler.topology.tenants import resolve_tenants
from reconciler.topology.view import BlockView, NetworkView, NodeFacts, SandboxView, Subnet, SubnetView, Topology

if TYPE_CHECKING:
    from reconciler.manifest.kinds.bgpconfiguration import BGPConfiguration


class Resolved(Struct, frozen=True):
    """``lock`` is the lock file as it should be. ``conflicts`` are clashes with the host, not with the manifests."""

    topology: Topology
    lock: Lock
    conflicts: tuple[Problem, ...] = ()


class Problems(list[Problem]):
    """What is wrong so far."""

    def add(self, origin: Origin, message: str, hint: str = "") -> None:
        self.append(Problem(origin, message, hint))


def resolve(
    documents: Sequence[Document],
    *,
    node: str,
    lock: Lock,
    facts: NodeFacts,
    locked: bool = False,
    allow_empty: bool = False,
) -> Resolved:
    """Raises ManifestError with all that is wrong, PlanError when ``locked`` and an address would have to be chosen.

    ``allow_empty``: it is right that no Node document is this host, which then shall have nothing.
    """
    problems = Problems()
    by_kind: dict[str, list[Document]] = {"Node": [], "IPPool": [], "Network": [], "Sandbox": [], "Endpoint": []}
    others: list[Document] = []
    for document in sorted(documents, key=lambda document: (document.kind, document.name, document.origin)):
        if document.kind in by_kind:
            by_kind[document.kind].append(document)
        else:
            others.append(document)
    asn = next((cast("BGPConfiguration", d.model).spec.asn for d in others if d.kind == "BGPConfiguration"), 64512)
    nodes, here = resolve_nodes(by_kind["Node"], node, problems, allow_empty=allow_empty, asn=asn)
    sandboxes = resolve_sandboxes(by_kind["Sandbox"], nodes, here, problems)
    pools = resolve_pools(by_kind["IPPool"], nodes, here, problems)
    networks, decided = resolve_networks(by_kind["Network"], pools, nodes, here, lock, facts, problems)
    if problems:  # endpoints of what is wrong would only repeat it
        wrong = {problem.origin.document for problem in problems}
        sound: list[Document] = []
        rest: list[Document] = []
        for document in by_kind["Endpoint"]:
            spec = spec_of(document)
            hangs = {f"Network/{spec.network}", f"Sandbox/{spec.sandbox}"} & wrong
            (rest if hangs else sound).append(document)
        for document in rest:
            check_references(document, networks, sandboxes, problems)
        resolve_endpoints(sound, networks, sandboxes, here, lock, problems)
        raise ManifestError(problems)
    allocated = resolve_endpoints(by_kind["Endpoint"], networks, sandboxes, here, lock, problems)
    if problems:
        raise ManifestError(problems)
    new = replace(decided, addresses=allocated.locked, blocks=_locked_blocks(allocated.blocks))
    elsewhere = bool(nodes) and here not in {view.name for view in nodes}
    if locked and new != lock:
        _refuse_unlocked(by_kind["Network"], new, lock, allocated)
    with_endpoints = [
        replace(
            network,
            endpoints=tuple(allocated.views.get(network.name, ())),
            subnets=tuple(_with_blocks(network.subnets, allocated.blocks.get(network.name, ()))),
        )
        for network in networks.values()
    ]
    with_endpoints, tenants = resolve_tenants(with_endpoints, others, nodes, problems)
    by_name = {network.name: network for network in with_endpoints}
    views = [
        replace(
            network,
            allow_from=tuple(by_name[other.name] for other in network.allow_from),
            joined=by_name[network.joined.name] if network.joined is not None else None,
        )
        for network in with_endpoints
    ]
    if elsewhere:
        return Resolved(Topology(here, nodes, (), (), facts=facts), new)
    local = tuple(sorted((s for s in sandboxes.values() if s.node == here), key=lambda s: s.name))
    policies = resolve_policies(others, views, tuple(sandboxes.values()), nodes, here, problems)
    if problems:
        raise ManifestError(problems)
    filtered = {party.network for party in policies.parties if any(policies.guarded(party, d) for d in DIRECTIONS)}
    views = [replace(view, filtered=True) if view.name in filtered else view for view in views]
    views += _builtin(local)
    ordered = tuple(sorted(views, key=lambda view: view.name))
    topology = Topology(here, nodes, ordered, local, tuple(others), facts, policies, tenants)
    return Resolved(topology, new, tuple(_host_clashes(views, facts)))


def _locked_blocks(blocks: Mapping[str, Iterable[BlockView]]) -> dict[str, tuple[str, ...]]:
    return {
        str(block.cidr): tuple(filter(None, (block.node, block.owner))) for found in blocks.values() for block in found
    }


def _with_blocks(subnets: Iterable[SubnetView], blocks: Sequence[BlockView]) -> Iterable[SubnetView]:
    for subnet in subnets:
        mine = [b for b in blocks if b.cidr.version == subnet.cidr.version and b.cidr.overlaps(subnet.cidr)]
        yield replace(subnet, blocks=tuple(mine)) if mine else subnet


def _builtin(sandboxes: Iterable[SandboxView]) -> list[NetworkView]:
    """Networks ``host`` and ``none`` exist by themselves, where a sandbox is on them."""
    return [
        NetworkView(
            name=name,
            driver=name,
            options=None,
            subnets=(),
            mtu=0,
            internal=name == "none",
            labels={},
            endpoints=(),
            allow_from=(),
            origin=members[0].origin,
            sandboxes=members,
        )
        for name in ("host", "none")
        if (members := tuple(sandbox for sandbox in sandboxes if sandbox.stack == name))
    ]


def _refuse_unlocked(networks: Sequence[Document], new: Lock, lock: Lock, allocated: Allocated) -> None:
    found = [
        Problem(origin, f"{name} has no address in the lock file", "run `cnm lock` and commit cnm.lock")
        for name, origin in sorted(allocated.chosen.items())
        if new.addresses.get(name) != lock.addresses.get(name)
    ]
    found += [
        Problem(doc.origin, f"network {doc.name} has no subnet in the lock file", "run `cnm lock` and commit cnm.lock")
        for doc in networks
        if new.subnets.get(doc.name) != lock.subnets.get(doc.name)
    ]
    found += [
        Problem(doc.origin, f"network {doc.name} has no VNI in the lock file", "run `cnm lock` and commit cnm.lock")
        for doc in networks
        if any(new.vnis[key] != lock.vnis.get(key) for key in new.vnis if key.partition("/")[0] == doc.name)
    ]
    found += [
        Problem(
            doc.origin,
            f"block {cidr} of network {doc.name} is not so in the lock file",
            "run `cnm lock` and commit cnm.lock",
        )
        for doc in networks
        for cidr, whose in _locked_blocks({doc.name: allocated.blocks.get(doc.name, ())}).items()
        if lock.blocks.get(cidr) != whose
    ]
    if found:
        raise PlanError(found)


def _inside(part: Subnet, whole: Subnet) -> bool:
    """Of one family."""
    return part.prefixlen >= whole.prefixlen and part.network_address in whole


def _host_clashes(networks: Iterable[NetworkView], facts: NodeFacts) -> Iterable[Problem]:
    """Subnets that cover a route of the host that is not ours: its traffic would go astray (moby#46756)."""
    routes = [(ip_network(route.to), route.dev, route.daemon) for route in facts.routes]
    for network in networks:
        if network.options is None or network.options.domain():
            continue
        shared = network.options.shares()
        for subnet in network.subnets:
            for to, dev, daemon in routes:
                if to.version == subnet.cidr.version and dev not in shared and subnet.cidr.overlaps(to):
                    if daemon and network.options.routed() and _inside(to, subnet.cidr):
                        continue  # where other nodes' addresses are
                    yield Problem(
                        subnet.origin,
                        f"subnet {subnet.cidr} overlaps this host's route to {to} (dev {dev or '?'})",
                        "choose another subnet, or remove that route",
                    )
