"""Network documents: subnets, gateways, ranges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from msgspec.structs import replace

from reconciler.manifest.document import Document
from reconciler.manifest.kinds.network import Network
from reconciler.manifest.kinds.network import Subnet as SubnetModel
from reconciler.manifest.lockfile import Lock
from reconciler.manifest.suggest import meant
from reconciler.policy.selector import Selector
from reconciler.topology.allocate import default_gateway, free_subnet, reserved, reserved_for
from reconciler.topology.options import NetworkOptions
from reconciler.topology.pools import pool_of_its_own
from reconciler.topology.view import NetworkView, NodeFacts, NodeView, PoolView, Subnet, SubnetView

if TYPE_CHECKING:
    from reconciler.topology.resolve import Problems

IPV6_MIN_MTU = 1280  # RFC 8200, 5
FIRST_VNI, LAST_VNI = 4096, (1 << 24) - 1  # what is below is left to those who number by hand, often after VLANs


def resolve_networks(
    documents: Sequence[Document],
    pools: Mapping[str, tuple[PoolView, Selector]],
    nodes: Sequence[NodeView],
    node: str,
    lock: Lock,
    facts: NodeFacts,
    problems: Problems,
) -> tuple[dict[str, NetworkView], Lock]:
    """(networks by name, still without endpoints; what the lock file shall hold of automatic subnets and VNIs)."""
    chosen = _automatic(documents, pools, lock, facts, problems)
    here = next((view for view in nodes if view.name == node), None)
    views: dict[str, NetworkView] = {}
    for document in documents:
        model = document.model
        assert isinstance(model, Network)
        options: NetworkOptions = document.options
        subnets: list[SubnetView] = []
        for subnet in model.spec.subnets or [SubnetModel(cidr=ip_network(c)) for c in chosen.get(document.name, ())]:
            earlier = sum(other.cidr.version == subnet.cidr.version for other in subnets)
            segment = options.segment(subnet.cidr, earlier)
            view = replace(_subnet(document, len(subnets), subnet, options, problems), segment=segment)
            if options.pooled():
                view = replace(view, pool=pool_of_its_own(document.name, view.cidr, nodes, node, view))
            subnets.append(view)
        if model.spec.subnets is None and options.pooled():
            subnets = list(_from_pools(document, pools, problems))
        views[document.name] = NetworkView(
            name=document.name,
            driver=model.spec.driver,
            options=document.options,
            subnets=tuple(subnets),
            mtu=model.spec.mtu or options.default_mtu(facts, here, subnets),
            internal=model.spec.internal,
            labels=dict(model.metadata.labels),
            endpoints=(),
            allow_from=(),
            origin=document.origin,
            document=document,
            nodes=tuple(nodes),
            policy_default=model.spec.policy_default,
            names=model.spec.names,
        )
        for place, message, hint in options.faults([subnet.cidr for subnet in subnets]):
            problems.add(document.at("spec", "options", *place), f"network {document.name}: {message}", hint)
        if views[document.name].ipv6 and views[document.name].mtu < IPV6_MIN_MTU:
            problems.add(
                document.at("spec", "mtu"),
                f"MTU {views[document.name].mtu} is too small for IPv6",
                f"write at least {IPV6_MIN_MTU} (RFC 8200), or leave out the IPv6 subnets",
            )
    _overlaps(documents, views, problems)
    views, vnis = _numbered(views, lock)
    return _allowing(documents, views, problems), Lock(subnets=chosen, vnis=vnis)


def _from_pools(
    document: Document, pools: Mapping[str, tuple[PoolView, Selector]], problems: Problems
) -> Iterable[SubnetView]:
    """The pools that a network draws from, by name."""
    labels = {**document.model.metadata.labels, "cnm/network": document.name}
    mine = [pool for _name, (pool, networks) in sorted(pools.items()) if networks.matches(labels)]
    if not mine:
        problems.add(
            document.at("spec"),
            f"network {document.name} has no subnets, and no IPPool is for it",
            "write spec.subnets, or an IPPool whose selector spec.networks it matches",
        )
    for pool in mine:
        yield SubnetView(pool.cidr, None, pool.cidr, {}, document.origin, pool=pool)


def _numbered(views: dict[str, NetworkView], lock: Lock) -> tuple[dict[str, NetworkView], dict[str, tuple[str, ...]]]:
    """Networks with their VNIs: those that the manifests name, then the locked ones while they are free, then the
    lowest free ones. In the lock file a segment is known by any of its subnets, so that others may come and go."""
    written: dict[tuple[str, int], int] = {}
    locked: dict[tuple[str, int], int] = {}
    names: dict[tuple[str, int], list[str]] = {}
    for name, view in sorted(views.items()):
        for subnet in view.subnets:
            place = (name, subnet.segment)
            vni = view.options.vni(subnet.segment)
            if vni is None:
                continue
            names.setdefault(place, []).append(f"{name}/{subnet.cidr}")
            if vni:
                written[place] = vni
            else:
                locked[place] = next((int(n) for key in names[place] for n in lock.vnis.get(key, ())), 0)
    taken = set(written.values())
    found = dict(written)
    for place, vni in sorted(locked.items()):
        if vni and vni not in taken:
            found[place] = vni
            taken.add(vni)
    fresh = (vni for vni in range(FIRST_VNI, LAST_VNI + 1) if vni not in taken)
    for place in sorted(locked.keys() - found.keys()):
        found[place] = next(fresh)
    numbers: dict[str, tuple[int, ...]] = {}
    for (name, _segment), vni in sorted(found.items()):
        numbers[name] = (*numbers.get(name, ()), vni)
    result = {name: replace(view, vnis=numbers.get(name, ())) for name, view in views.items()}
    return result, {names[place][0]: (str(found[place]),) for place in sorted(locked)}


def _automatic(
    documents: Sequence[Document],
    pools: Mapping[str, tuple[PoolView, Selector]],
    lock: Lock,
    facts: NodeFacts,
    problems: Problems,
) -> dict[str, tuple[str, ...]]:
    """Subnets for networks that name none: the locked one while it is free, else the next of the pools."""
    taken: list[Subnet] = [pool.cidr for pool, _networks in pools.values()]
    for document in documents:
        taken += [subnet.cidr for subnet in document.model.spec.subnets or ()]  # type: ignore[attr-defined]  # a Network
    chosen: dict[str, tuple[str, ...]] = {}
    waiting = []
    for document in documents:
        if document.model.spec.subnets is not None or document.options.pooled():  # type: ignore[attr-defined]  # a Network
            continue
        locked = [ip_network(text) for text in lock.subnets.get(document.name, ())]
        if locked and not any(a.version == b.version and a.overlaps(b) for a in locked for b in taken):
            chosen[document.name] = tuple(map(str, locked))
            taken += locked
        else:
            waiting.append(document)
    taken += [ip_network(route.to) for route in facts.routes]
    taken += [ip_network(ip_address(server)) for server in facts.nameservers]
    for document in waiting:
        subnet = free_subnet(taken)
        if subnet is None:
            problems.add(
                document.at("spec"), f"no automatic subnet is left for network {document.name}", "write spec.subnets"
            )
            continue
        chosen[document.name] = (str(subnet),)
        taken.append(subnet)
    return chosen


def _subnet(
    document: Document, number: int, model: SubnetModel, options: NetworkOptions, problems: Problems
) -> SubnetView:
    cidr = model.cidr
    here = ("spec", "subnets", number)
    if cidr.is_multicast or cidr.is_loopback or cidr.prefixlen == 0 or (cidr.version == 6 and cidr.is_link_local):
        problems.add(
            document.at(*here, "cidr"), f"{cidr} cannot be a network's subnet", "use a private or global unicast prefix"
        )
    span = model.range or cidr
    if span.version != cidr.version or not (span.network_address in cidr and span.broadcast_address in cidr):
        problems.add(
            document.at(*here, "range"), f"range {span} is not inside subnet {cidr}", f"write a part of {cidr}"
        )
        span = cidr
    for name, address in model.auxiliary.items():
        if address not in cidr:
            problems.add(
                document.at(*here, "auxiliary", name),
                f"{name}: {address} is outside subnet {cidr}",
                f"write an address of {cidr}",
            )
    gateway, wanted = model.gateway, options.gateway(cidr.version)
    at = document.at(*here, "gateway")
    if gateway is None and wanted == "first":
        gateway = default_gateway(cidr, model.auxiliary.values())
        if gateway is None:
            problems.add(at, f"no address of {cidr} is left for its gateway", "write a wider subnet")
    elif gateway is None:
        pass
    elif gateway not in cidr:
        problems.add(at, f"gateway {gateway} is outside subnet {cidr}", f"write an address of {cidr}")
    elif int(gateway) in reserved(cidr):
        problems.add(at, f"gateway {gateway} is the {reserved_for(gateway, cidr)}", "write a host address")
    elif gateway in model.auxiliary.values():
        problems.add(
            at, f"gateway {gateway} is an auxiliary address as well", "an address can be kept for one thing only"
        )
    if wanted in ("never", "device", "hop"):
        gateway = None
    return SubnetView(cidr, gateway, span, dict(model.auxiliary), document.at(*here, "cidr"))


def _overlaps(documents: Sequence[Document], views: dict[str, NetworkView], problems: Problems) -> None:
    """Every pair of one routing domain once, by sorting: an overlap is always with the widest one that began before."""
    domains: dict[tuple[int, str], list[tuple[int, int, str, int, SubnetView]]] = {}
    shared: set[str] = set()
    one = {frozenset((doc.name, doc.options.joins())) for doc in documents}  # pairs that are one link layer
    for doc in documents:
        for n, s in enumerate(views[doc.name].subnets):
            if s.pool is not None and s.pool.name in shared:
                continue  # several networks draw from it
            shared.update({s.pool.name} if s.pool is not None else ())
            span = (int(s.cidr.network_address), -int(s.cidr.broadcast_address), doc.name, n, s)
            domains.setdefault((s.cidr.version, doc.options.domain()), []).append(span)
    for _domain, spans in sorted(domains.items()):
        widest = None
        for span in sorted(spans, key=lambda span: span[:4]):
            if widest is not None and span[0] <= -widest[1] and frozenset((span[2], widest[2])) not in one:
                problems.add(
                    span[4].origin,
                    f"subnet {span[4].cidr} of network {span[2]} overlaps {widest[4].cidr} of network {widest[2]}"
                    f" ({widest[4].origin})",
                    "give them subnets that do not overlap",
                )
            if widest is None or span[1] < widest[1]:
                widest = span


def _allowing(
    documents: Sequence[Document], views: dict[str, NetworkView], problems: Problems
) -> dict[str, NetworkView]:
    result = {}
    for document in documents:
        allowed = []
        for number, name in enumerate(document.model.spec.allow_from):  # type: ignore[attr-defined]  # a Network
            at = document.at("spec", "allowFrom", number)
            if name == document.name:
                problems.add(at, f"network {name} reaches itself anyway", "leave this entry out")
            elif name not in views:
                problems.add(at, f"there is no network {name!r}", meant(name, views))
            else:
                allowed.append(views[name])
        joined = _joined(document, views, problems)
        result[document.name] = replace(views[document.name], allow_from=tuple(allowed), joined=joined)
    return result


def _joined(document: Document, views: Mapping[str, NetworkView], problems: Problems) -> NetworkView | None:
    name = document.options.joins()
    if name is None or name in views:
        return views[name] if name is not None else None
    problems.add(document.at("spec", "options", "switch"), f"there is no network {name!r}", meant(name, views))
    return None
