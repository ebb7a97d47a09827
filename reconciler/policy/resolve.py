"""Documents to resolved policies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, cast

from msgspec import Struct

from reconciler.errors import Origin, Problem
from reconciler.manifest.document import Document, Path
from reconciler.manifest.suggest import meant
from reconciler.policy.selector import Selector, parse
from reconciler.policy.view import (
    DIRECTIONS,
    ICMP,
    ICMPV6,
    PRE_DNAT,
    PROTOCOLS,
    UNTRACKED,
    Choice,
    Nets,
    Party,
    PeerView,
    Policies,
    PolicyView,
    PortMatch,
    RuleView,
    TierView,
)
from reconciler.topology.view import Address, EndpointView, NetworkView, NodeView, SandboxView

if TYPE_CHECKING:
    from reconciler.manifest.kinds.addressset import AddressSet
    from reconciler.manifest.kinds.networkpolicy import NetworkPolicy
    from reconciler.manifest.kinds.policy import Peer, Policy, Rule
    from reconciler.manifest.kinds.tier import Tier

DEFAULT_TIER = "default"
DEFAULT_ORDER = 1_000_000
NAMESPACE_NAME = "kubernetes.io/metadata.name"


class _World(Struct):
    """What rules refer to."""

    sets: Mapping[str, Nets]
    nodes: Sequence[NodeView]
    here: str
    gateways: frozenset[Address]
    problems: list[Problem]


def resolve_policies(
    documents: Sequence[Document],
    networks: Sequence[NetworkView],
    sandboxes: Sequence[SandboxView],
    nodes: Sequence[NodeView],
    here: str,
    problems: list[Problem],
) -> Policies:
    """``documents`` are those of the kinds that nobody else resolves; ``problems`` is added to. Where nobody says
    anything, there are no parties: what nobody needs is not computed."""
    namespaces = {
        document.name: dict(document.model.metadata.labels) for document in documents if document.kind == "Namespace"
    }
    parties: tuple[Party, ...] = ()
    said = any(document.kind in ("Policy", "NetworkPolicy") for document in documents)
    if said or any(network.policy_default != "allow" for network in networks):
        parties = (*_endpoints(networks, namespaces), *_hosts(sandboxes, nodes, here, networks, namespaces))
    sets = {
        document.name: Nets(document.name, tuple(cast("AddressSet", document.model).spec.nets))
        for document in documents
        if document.kind == "AddressSet"
    }
    # Who asks a published port by 127.0.0.1 or ::1 is this host: from elsewhere such a source never gets in (ports.py).
    gateways = frozenset(
        {ip_address("127.0.0.1"), ip_address("::1")}
        | {subnet.gateway for network in networks for subnet in network.subnets if subnet.gateway is not None}
    )
    world = _World(sets, nodes, here, gateways, problems)
    tiers = _tiers(documents, problems)
    policies: list[PolicyView] = []
    for document in documents:
        if document.kind == "Policy":
            policy = cast("Policy", document.model)
            tier = policy.spec.tier
            if tier not in tiers:
                at = document.at("spec", "tier")
                problems.append(Problem(at, f"there is no tier {tier!r}", meant(tier, tiers)))
            policies.append(_policy(document, policy, world))
        elif document.kind == "NetworkPolicy":
            from reconciler.policy.kubernetes import translate

            policies.append(translate(document, cast("NetworkPolicy", document.model), _here(world)))
    found = [
        TierView(
            name=tier.name,
            order=tier.order,
            default=tier.default,
            policies=tuple(sorted((p for p in policies if p.tier == tier.name), key=lambda p: p.order)),
            origin=tier.origin,
        )
        for tier in tiers.values()
    ]
    used = sorted((tier for tier in found if tier.policies), key=lambda tier: (tier.order, tier.name))
    mine = next((node for node in nodes if node.name == here), None)
    failsafe = tuple(sorted(_failsafe(mine.failsafe_ports if mine is not None else ("22/tcp",))))
    return Policies(tuple(used), parties, failsafe)


def _failsafe(ports: Iterable[str]) -> Iterable[tuple[int, int]]:
    for text in ports:
        number, _, protocol = text.partition("/")
        yield PROTOCOLS[protocol], int(number)


# -- parties ---------------------------------------------------------------------------------------------------


def _endpoints(networks: Sequence[NetworkView], namespaces: Mapping[str, Mapping[str, str]]) -> Iterable[Party]:
    for network in networks:
        for endpoint in network.endpoints:
            sandbox = endpoint.sandbox
            yield Party(
                name=f"{network.name}/{endpoint.name}",
                network=network.name,
                sandbox=sandbox.name,
                namespace=sandbox.namespace,
                node=sandbox.node,
                labels=labels_of(endpoint),
                namespace_labels=_namespace(sandbox.namespace, namespaces),
                network_labels={**network.labels, "cnm/network": network.name},
                addresses=tuple(address.ip for address in (*endpoint.addresses, *endpoint.link_local)),
                ports=_named(sandbox),
                local=endpoint.local,
                host=False,
                default=network.policy_default,
                origin=endpoint.origin,
            )


def labels_of(endpoint: EndpointView) -> dict[str, str]:
    """By what selectors know an endpoint: its sandbox's labels, over them its own, over them those that begin with cnm/."""
    own = {"cnm/network": endpoint.network, "cnm/endpoint": endpoint.name, **_place(endpoint.sandbox)}
    if endpoint.group:
        own["cnm/group"] = endpoint.group
    return {**endpoint.sandbox.labels, **endpoint.labels, **own}


def _hosts(
    sandboxes: Sequence[SandboxView],
    nodes: Sequence[NodeView],
    here: str,
    networks: Sequence[NetworkView],
    namespaces: Mapping[str, Mapping[str, str]],
) -> Iterable[Party]:
    """A sandbox with ``stack: host`` is the host, as a party: this one with the addresses that it has on networks."""
    for sandbox in sandboxes:
        if sandbox.stack != "host":
            continue
        addresses = [a for node in nodes if node.name == sandbox.node for a in node.addresses]
        if sandbox.node == here:
            addresses += [s.gateway for network in networks for s in network.subnets if s.gateway is not None]
        yield Party(
            name=f"host/{sandbox.name}",
            network="",
            sandbox=sandbox.name,
            namespace=sandbox.namespace,
            node=sandbox.node,
            labels={**sandbox.labels, **_place(sandbox)},
            namespace_labels=_namespace(sandbox.namespace, namespaces),
            network_labels={},
            addresses=tuple(dict.fromkeys(addresses)),
            ports=_named(sandbox),
            local=sandbox.node == here,
            host=True,
            default="allow",
            origin=sandbox.origin,
        )


def _place(sandbox: SandboxView) -> dict[str, str]:
    return {"cnm/sandbox": sandbox.name, "cnm/namespace": sandbox.namespace, "cnm/node": sandbox.node}


def _namespace(name: str, namespaces: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {**namespaces.get(name, {}), NAMESPACE_NAME: name}


def _named(sandbox: SandboxView) -> tuple[tuple[str, int, int], ...]:
    return tuple((name, PROTOCOLS[protocol], number) for name, protocol, number in sandbox.ports)


# -- policies --------------------------------------------------------------------------------------------------


def _tiers(documents: Sequence[Document], problems: list[Problem]) -> dict[str, TierView]:
    tiers = {DEFAULT_TIER: TierView(DEFAULT_TIER, DEFAULT_ORDER, "deny", (), Origin(document=f"Tier/{DEFAULT_TIER}"))}
    for document in documents:
        if document.kind == "Tier":
            spec = cast("Tier", document.model).spec
            tiers[document.name] = TierView(document.name, spec.order, spec.default_action, (), document.origin)
    return tiers


def _policy(document: Document, model: Policy, world: _World) -> PolicyView:
    spec = model.spec
    written = {"ingress": spec.ingress, "egress": spec.egress}
    types = spec.types if spec.types is not None else [d for d in DIRECTIONS if written[d]] or ["ingress"]
    return PolicyView(
        name=document.name,
        kind="Policy",
        tier=spec.tier,
        order=(int(spec.order is None), spec.order or 0, document.name),
        about=Choice(parse(spec.selector), _selector(spec.namespaces)),
        rules={
            direction: tuple(
                _rule(document, ("spec", direction, number), rule, world)
                for number, rule in enumerate(written[direction])
            )
            for direction in types
        },
        staged=spec.staged,
        origin=document.origin,
        early=UNTRACKED if spec.do_not_track else PRE_DNAT if spec.pre_dnat else "",
    )


def _selector(text: str | None) -> Selector | None:
    return None if text is None else parse(text)


def _rule(document: Document, at: Path, rule: Rule, world: _World) -> RuleView:
    protocol = _number(rule.protocol)
    family = {ICMP: 4, ICMPV6: 6}.get(protocol) if protocol is not None else None
    return RuleView(
        action=rule.action,
        origin=document.at(*at),
        version=rule.ip_version or family or 0,
        protocol=protocol,
        not_protocol=_number(rule.not_protocol),
        icmp=(rule.icmp.type, rule.icmp.code) if rule.icmp is not None else None,
        not_icmp=(rule.not_icmp.type, rule.not_icmp.code) if rule.not_icmp is not None else None,
        source=_peer(document, (*at, "source"), rule.source, world),
        destination=_peer(document, (*at, "destination"), rule.destination, world),
    )


def _number(protocol: str | int | None) -> int | None:
    return PROTOCOLS[protocol] if isinstance(protocol, str) else protocol


def _peer(document: Document, at: Path, peer: Peer, world: _World) -> PeerView:
    def sets(key: str, names: Sequence[str]) -> tuple[Nets, ...]:
        found = []
        for number, name in enumerate(names):
            if name in world.sets:
                found.append(world.sets[name])
            else:
                place = document.at(*at, key, number)
                world.problems.append(Problem(place, f"there is no AddressSet {name!r}", meant(name, world.sets)))
        return tuple(found)

    who = None
    if any(part is not None for part in (peer.selector, peer.namespaces, peer.networks)):
        who = Choice(_selector(peer.selector), _selector(peer.namespaces), _selector(peer.networks))
    not_who = []
    if peer.not_selector is not None:
        not_who.append(Choice(parse(peer.not_selector)))
    if peer.not_networks is not None:
        not_who.append(Choice(networks=parse(peer.not_networks)))
    nets: tuple[Nets, ...] | None = None
    if peer.nets is not None or peer.address_sets is not None:
        nets = (Nets("", tuple(peer.nets)),) if peer.nets is not None else ()
        nets += sets("addressSets", peer.address_sets or ())
    not_nets = (Nets("", tuple(peer.not_nets)),) if peer.not_nets else ()
    return PeerView(
        who=who,
        not_who=tuple(not_who),
        nets=nets,
        not_nets=not_nets + sets("notAddressSets", peer.not_address_sets),
        nodes=_hosts_of(peer.nodes, world) if peer.nodes is not None else None,
        not_nodes=_hosts_of(peer.not_nodes, world) if peer.not_nodes is not None else frozenset(),
        ports=_ports(peer.ports) if peer.ports is not None else None,
        not_ports=_ports(peer.not_ports),
    )


def _hosts_of(text: str, world: _World) -> frozenset[Address]:
    """The addresses of the hosts that a selector means. Without Node documents there is one host, this."""
    selector = parse(text)
    found: set[Address] = set()
    here = {"cnm/node": world.here}
    for node in world.nodes:
        if selector.matches({**node.labels, "cnm/node": node.name}):
            found.update(node.addresses)
            if node.name == world.here:
                found |= world.gateways
    if not world.nodes and selector.matches(here):
        found |= world.gateways
    return frozenset(found)


def _here(world: _World) -> frozenset[Address]:
    own = [address for node in world.nodes if node.name == world.here for address in node.addresses]
    return world.gateways.union(own)


def _ports(ports: Sequence[int | str]) -> tuple[PortMatch, ...]:
    found = []
    for port in ports:
        if isinstance(port, int):
            found.append(PortMatch(port, port))
        elif port[0].isdecimal() and "-" in port and port.replace("-", "").isdecimal():
            first, _, last = port.partition("-")
            found.append(PortMatch(int(first), int(last)))
        else:
            found.append(PortMatch(name=port))
    return tuple(found)
