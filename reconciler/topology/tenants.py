"""Tenant, EndpointGroup and Profile documents: which networks and endpoints belong together, and what follows for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from msgspec.structs import replace

from reconciler.manifest.document import Document
from reconciler.manifest.suggest import meant
from reconciler.policy.resolve import labels_of
from reconciler.policy.selector import parse
from reconciler.topology.endpoints import rate_view
from reconciler.topology.view import EndpointView, GroupView, NetworkView, NodeView, TenantView

if TYPE_CHECKING:
    from reconciler.manifest.kinds.acifabric import AciFabric
    from reconciler.manifest.kinds.endpointgroup import EndpointGroup
    from reconciler.manifest.kinds.profile import Profile
    from reconciler.manifest.kinds.tenant import Tenant
    from reconciler.topology.resolve import Problems


def resolve_tenants(
    networks: Sequence[NetworkView], documents: Sequence[Document], nodes: Sequence[NodeView], problems: Problems
) -> tuple[list[NetworkView], tuple[TenantView, ...]]:
    """(networks whose endpoints know their group and its profile, and that have their tenant's default; tenants by
    name). ``documents`` are those of the kinds that nobody else resolves."""
    named: dict[str, dict[str, Document]] = {
        kind: {document.name: document for document in documents if document.kind == kind} for kind in _KINDS
    }
    tenant_of = _owners(named["Tenant"].values(), {network.name for network in networks}, problems)
    found = {network.name: _with_default(network, tenant_of.get(network.name)) for network in networks}
    groups: dict[str, list[GroupView]] = {}
    for document in named["EndpointGroup"].values():
        group = _group(document, found, tenant_of, named, problems)
        if group is not None:
            groups.setdefault(tenant_of[group.network].name, []).append(group)
    fabrics = named["AciFabric"]
    for document in fabrics.values():
        _check_nodes(document, nodes, problems)
    tenants = tuple(
        _tenant(document, groups.get(document.name, ()), fabrics, problems) for document in named["Tenant"].values()
    )
    return list(found.values()), tenants


_KINDS = ("Tenant", "EndpointGroup", "Profile", "Contract", "AciFabric")


def _owners(tenants: Iterable[Document], networks: Collection[str], problems: Problems) -> dict[str, Document]:
    """The Tenant of each network that has one."""
    found: dict[str, Document] = {}
    for document in tenants:
        for number, name in enumerate(cast("Tenant", document.model).spec.networks):
            at = document.at("spec", "networks", number)
            other = found.setdefault(name, document)
            if name not in networks:
                problems.add(at, f"there is no network {name!r}", meant(name, networks))
            elif other is not document:
                problems.add(at, f"network {name} belongs to tenant {other.name} already", "name it in one Tenant")
    return found


def _with_default(network: NetworkView, tenant: Document | None) -> NetworkView:
    if tenant is None or network.says("policy_default"):
        return network
    default = cast("Tenant", tenant.model).spec.policy_default
    return replace(network, policy_default=default) if default is not None else network


def _group(
    document: Document,
    networks: dict[str, NetworkView],
    tenants: Mapping[str, Document],
    named: Mapping[str, Mapping[str, Document]],
    problems: Problems,
) -> GroupView | None:
    """The group; its endpoints in ``networks`` are told of it."""
    spec = cast("EndpointGroup", document.model).spec
    network = networks.get(spec.network)
    at = document.at("spec", "network")
    if network is None:
        problems.add(at, f"there is no network {spec.network!r}", meant(spec.network, networks))
        return None
    if spec.network not in tenants:
        problems.add(at, f"network {spec.network} belongs to no tenant", "name it in spec.networks of a Tenant")
        return None
    rates = None
    if spec.profile is not None:
        rates = named["Profile"].get(spec.profile)
        if rates is None:
            hint = meant(spec.profile, named["Profile"])
            problems.add(document.at("spec", "profile"), f"there is no Profile {spec.profile!r}", hint)
    for word, names in (("provides", spec.provides), ("consumes", spec.consumes)):
        for number, name in enumerate(names):
            if name not in named["Contract"]:
                at = document.at("spec", word, number)
                problems.add(at, f"there is no Contract {name!r}", meant(name, named["Contract"]))
    chosen = parse(spec.selector)
    members = [endpoint for endpoint in network.endpoints if chosen.matches(labels_of(endpoint))]
    for endpoint in members:
        if endpoint.group:
            problems.add(
                document.at("spec", "selector"),
                f"endpoint {endpoint.name} of network {network.name} is in group {endpoint.group} already",
                "let the selectors of groups exclude each other",
            )
    joined = {endpoint.name: _joined(endpoint, document.name, rates) for endpoint in members if not endpoint.group}
    endpoints = tuple(joined.get(endpoint.name, endpoint) for endpoint in network.endpoints)
    networks[network.name] = replace(network, endpoints=endpoints)
    tenant = tenants[spec.network]
    return GroupView(
        name=document.name,
        network=network.name,
        members=tuple(endpoint.name for endpoint in members),
        nodes=tuple(sorted({endpoint.sandbox.node for endpoint in members})),
        vlan=spec.vlan or 0,
        application=spec.application or tenant.name,
        provides=tuple(spec.provides),
        consumes=tuple(spec.consumes),
        origin=document.origin,
        document=document,
    )


def _joined(endpoint: EndpointView, group: str, profile: Document | None) -> EndpointView:
    """An endpoint that is in a group; what it says of rates itself goes before the group's profile."""
    if profile is None:
        return replace(endpoint, group=group)
    rates = cast("Profile", profile.model).spec
    return replace(
        endpoint,
        group=group,
        receive=endpoint.receive or rate_view(rates.receive),
        send=endpoint.send or rate_view(rates.send),
        connections_in=endpoint.connections_in or rates.connections_in,
        connections_out=endpoint.connections_out or rates.connections_out,
        dscp=endpoint.dscp if endpoint.dscp is not None else rates.dscp,
    )


def _tenant(
    document: Document, groups: Sequence[GroupView], fabrics: Mapping[str, Document], problems: Problems
) -> TenantView:
    spec = cast("Tenant", document.model).spec
    if spec.fabric is not None and spec.fabric not in fabrics:
        at = document.at("spec", "fabric")
        problems.add(at, f"there is no AciFabric {spec.fabric!r}", meant(spec.fabric, fabrics))
    return TenantView(
        name=document.name,
        networks=tuple(sorted(set(spec.networks))),
        groups=tuple(groups),
        fabric=spec.fabric or "",
        fabric_name=spec.fabric_name or document.name,
        vrf=spec.vrf or spec.fabric_name or document.name,
        existing=spec.existing,
        origin=document.origin,
        document=document,
    )


def _check_nodes(document: Document, nodes: Sequence[NodeView], problems: Problems) -> None:
    """The nodes that a fabric names exist, where there are Node documents."""
    model = cast("AciFabric", document.model)
    known = {node.name for node in nodes}
    if not known:
        return
    named = [(("spec", "node"), model.spec.node)] if model.spec.node is not None else []
    for place, name in [*named, *((("spec", "paths", name), name) for name in model.spec.paths)]:
        if name not in known:
            problems.add(document.at(*place), f"there is no Node {name!r}", meant(name, known))
