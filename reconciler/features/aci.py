"""Tenants on a Cisco ACI fabric: networks, groups and policies as managed objects of its APICs.

::

    Tenant          fvTenant                     tn-NAME
                      fvCtx                      its VRF: enforced where anything is kept from anybody
    Network           fvBD, fvRsCtx              a bridge domain in that VRF
      subnets           fvSubnet                 a gateway that the fabric has
    EndpointGroup     fvAp, fvAEPg, fvRsBd       an EPG of the network's bridge domain
                        fvRsDomAtt, fvRsPathAtt  its VLAN on the leaf ports of the nodes that have endpoints of it
    policies          vzFilter, vzEntry          what one group may open to another: filter and contract SENDER.to.RECEIVER,
                      vzBrCP, vzSubj             consumed by the one, provided by the other
    Contract            fvRsProv, fvRsCons       those of others, by name

Classes, names and attributes are those of the Cisco APIC Management Information Model reference (classes fv:*, vz:*).
One node speaks to the APICs for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar, cast

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.drivers.registry import drivers
from reconciler.errors import Origin, Problem
from reconciler.manifest.document import Document
from reconciler.policy.services import ANY, ANY_PORT, Group, Service, Services, services
from reconciler.policy.view import ICMP, ICMPV6, TCP, UDP, Party
from reconciler.resources.managedobject import CLASSES, Fabric, ManagedObject, fabric_key, object_key
from reconciler.resources.resource import Resource
from reconciler.topology.view import GroupView, NetworkView, NodeFacts, TenantView, Topology

if TYPE_CHECKING:
    from reconciler.manifest.kinds.acifabric import AciFabric, AciFabricSpec
    from reconciler.manifest.kinds.contract import Contract

_LONGEST = 64  # naming:Name
_PROTOCOLS = {ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMPV6: "icmpv6"}  # vzEntry prot; others by number
_ETHER_TYPES = {0: "ip", 4: "ipv4", 6: "ipv6"}  # vzEntry etherT
# vzEntry icmpv4T and icmpv6T, and the type that answers each.
_ICMP = {
    ICMP: {0: "echo-rep", 3: "dst-unreach", 4: "src-quench", 8: "echo", 11: "time-exceeded"},
    ICMPV6: {
        1: "dst-unreach",
        3: "time-exceeded",
        128: "echo-req",
        129: "echo-rep",
        135: "nbr-solicit",
        136: "nbr-advert",
        137: "redirect",
    },
}
_ANSWERS = {(ICMP, 8): 0, (ICMPV6, 128): 129, (ICMPV6, 135): 136}


class AciFeature:
    """AciFabric documents, and the tenants that name them."""

    name: ClassVar[str] = "aci"
    summary: ClassVar[str] = "tenants on a Cisco ACI fabric: EPGs, bridge domains and contracts by its APICs"

    def requires(self, topology: Topology) -> frozenset[str]:
        return frozenset()

    def check(self, topology: Topology) -> Iterable[Problem]:
        yield from _contracts_without_fabric(topology)
        for tenant in topology.tenants:
            if tenant.fabric:
                yield from _check_tenant(tenant, topology)
        for document in topology.documents("AciFabric"):
            yield from _twice(document, topology)

    def render(self, topology: Topology, facts: NodeFacts) -> Iterable[Resource]:
        for document in topology.documents("AciFabric"):
            spec = _spec_of(document)
            origin = replace(document.origin, driver=self.name)
            here = speaker(spec, topology) == topology.node
            yield Fabric(
                key=fabric_key(document.name),
                origin=origin,
                apics=tuple(spec.apics),
                user=spec.user,
                password_file=spec.password_file,
                ca_file=spec.ca_file,
                timeout=spec.timeout,
                here=here,
            )
            if here:
                tree = _Tree(document.name, spec, topology)
                for tenant in topology.tenants:
                    if tenant.fabric == document.name:
                        tree.tenant(tenant)
                yield from tree.found.values()


def speaker(spec: AciFabricSpec, topology: Topology) -> str:
    """The node that speaks to a fabric's APICs."""
    return spec.node or min((node.name for node in topology.nodes), default=topology.node)


def _spec_of(document: Document) -> AciFabricSpec:
    return cast("AciFabric", document.model).spec


def _contract(document: Document) -> tuple[str, str]:
    """(tenant, name) in the fabric."""
    spec = cast("Contract", document.model).spec
    return spec.tenant, spec.contract or document.name


# -- what is wrong ---------------------------------------------------------------------------------------------


def _contracts_without_fabric(topology: Topology) -> Iterable[Problem]:
    for tenant in topology.tenants:
        for group in tenant.groups if not tenant.fabric else ():
            for word in ("provides", "consumes"):
                if getattr(group, word):
                    yield Problem(
                        group.document.at("spec", word),
                        f"group {group.name}: contracts are a fabric's, and tenant {tenant.name} has none",
                        f"write spec.fabric in Tenant {tenant.name}, or say by policies who may reach whom",
                    )


def _twice(document: Document, topology: Topology) -> Iterable[Problem]:
    """Two documents of one fabric would each take the other's objects for surplus."""
    for other in topology.documents("AciFabric"):
        if other.name < document.name:
            for number, url in enumerate(_spec_of(document).apics):
                if url in _spec_of(other).apics:
                    yield Problem(
                        document.at("spec", "apics", number),
                        f"{url} is an APIC of AciFabric {other.name} already ({other.origin})",
                        "describe each fabric in one document",
                    )


def _check_tenant(tenant: TenantView, topology: Topology) -> Iterable[Problem]:
    fabric = next(document for document in topology.documents("AciFabric") if document.name == tenant.fabric)
    spec = _spec_of(fabric)
    contracts = {document.name: _contract(document) for document in topology.documents("Contract")}
    vlans: dict[int, GroupView] = {}
    grouped: dict[str, set[str]] = {}
    for group in tenant.groups:
        grouped.setdefault(group.network, set()).update(group.members)
        yield from _check_vlan(group, topology.network(group.network), spec, fabric, vlans)
        for word in ("provides", "consumes"):
            for number, name in enumerate(getattr(group, word)):
                if contracts[name][0] not in ("common", tenant.fabric_name):
                    yield Problem(
                        group.document.at("spec", word, number),
                        f"contract {name} is of the fabric's tenant {contracts[name][0]}: a group of {tenant.fabric_name} finds "
                        f"only those of common and {tenant.fabric_name}",
                        "let the fabric's administrators export it, or put it into common",
                    )
    for name in tenant.networks:
        network = topology.network(name)
        for endpoint in network.endpoints:
            if endpoint.name not in grouped.get(name, ()):
                yield Problem(
                    endpoint.origin,
                    f"endpoint {endpoint.name} of network {name} is in no group, so fabric {tenant.fabric} does not carry it",
                    "let the selector of an EndpointGroup match it",
                )
    yield from _allowed(tenant, topology).problems
    yield from _inexpressible(tenant, topology)


def _check_vlan(
    group: GroupView, network: NetworkView, spec: AciFabricSpec, fabric: Document, vlans: dict[int, GroupView]
) -> Iterable[Problem]:
    driver = drivers()[network.driver]
    known = getattr(driver, "vlans", None)
    at = group.document.at("spec", "vlan")
    if known is None:
        carrying = ", ".join(name for name, each in sorted(drivers().items()) if hasattr(each, "vlans"))
        yield Problem(
            network.at("spec", "driver"),
            f"network {network.name}: driver {network.driver} hands nothing to a fabric in a VLAN",
            f"use one that does: {carrying}",
        )
        return
    if spec.physical_domain is not None and not group.vlan:
        yield Problem(
            at, f"group {group.name}: the fabric knows its frames by their VLAN, and it has none", "write spec.vlan"
        )
        return
    sent = known(network)
    if group.vlan and sent and group.vlan not in sent:
        yield Problem(
            at,
            f"group {group.name}: the fabric expects VLAN {group.vlan}, and network {network.name} sends "
            f"{', '.join(map(str, sorted(sent)))}",
            f"write vlan: {min(sent)}",
        )
    if group.vlan:
        other = vlans.setdefault(group.vlan, group)
        if other is not group:
            yield Problem(
                at,
                f"groups {other.name} and {group.name} both have VLAN {group.vlan}",
                "give each its own: the fabric knows them by it",
            )
    if spec.paths:
        for node in group.nodes:
            if node not in spec.paths:
                yield Problem(
                    fabric.at("spec", "paths"),
                    f"node {node} has endpoints of group {group.name}, and it is not said which ports it is plugged into",
                    f"add its ports under paths.{node}",
                )


def _inexpressible(tenant: TenantView, topology: Topology) -> Iterable[Problem]:
    """ICMP types that a filter has no word for."""
    for (sender, receiver), found in sorted(_allowed(tenant, topology).allowed.items()):
        for service in found:
            if service.icmp >= 0 and service.icmp not in _ICMP[service.protocol]:
                known = ", ".join(map(str, _ICMP[service.protocol]))
                yield Problem(
                    tenant.origin,
                    f"what group {sender} may send to {receiver}: the fabric's filters have no ICMP type {service.icmp}",
                    f"write one of {known}, or no type",
                )


# -- what is allowed -------------------------------------------------------------------------------------------


def _allowed(tenant: TenantView, topology: Topology) -> Services:
    """Between the groups of a tenant that have endpoints."""
    networks = {network.name: network for network in topology.networks}
    parties = {party.name: party for party in topology.policies.parties} if topology.policies is not None else {}
    by_network: dict[str, set[str]] = {}
    for group in tenant.groups:
        by_network.setdefault(group.network, set()).add(group.name)
    found = []
    for group in tenant.groups:
        network = networks[group.network]
        members = [_party(network, name, parties) for name in group.members]
        let_in = {network.name, *(other.name for other in network.allow_from)}
        walled = frozenset(name for other, names in by_network.items() if other not in let_in for name in names)
        if members:
            found.append(Group(group.name, tuple(members), walled, group.document.at("spec", "selector")))
    return services(topology.policies, found)


def _party(network: NetworkView, name: str, parties: Mapping[str, Party]) -> Party:
    """Where nobody says anything there are no parties: then all that counts of one is its addresses."""
    known = parties.get(f"{network.name}/{name}")
    if known is not None:
        return known
    endpoint = next(endpoint for endpoint in network.endpoints if endpoint.name == name)
    return Party(
        name=f"{network.name}/{name}",
        network=network.name,
        sandbox=endpoint.sandbox.name,
        namespace=endpoint.sandbox.namespace,
        node=endpoint.sandbox.node,
        labels={},
        namespace_labels={},
        network_labels={},
        addresses=tuple(address.ip for address in endpoint.addresses),
        ports=(),
        local=endpoint.local,
        host=False,
        default=network.policy_default,
        origin=endpoint.origin,
    )


# -- the tree --------------------------------------------------------------------------------------------------


class _Tree(Struct):
    """The objects of one fabric, by DN."""

    fabric: str
    spec: AciFabricSpec
    topology: Topology
    found: dict[str, ManagedObject] = field(default_factory=dict)

    def tenant(self, tenant: TenantView) -> None:
        top = f"uni/tn-{tenant.fabric_name}"
        self._put(top, "fvTenant", tenant.origin, None if tenant.existing else ())
        allowed = _allowed(tenant, self.topology).allowed
        self._add(
            f"{top}/ctx-{tenant.vrf}", "fvCtx", tenant.origin, pcEnfPref=_enforced(not self._open(tenant, allowed))
        )
        for name in tenant.networks:
            self._network(top, tenant, self.topology.network(name))
        for group in tenant.groups:
            self._group(top, group, allowed.get((group.name, group.name), ()))
        enforced = not self._open(tenant, allowed)
        by_name = {group.name: group for group in tenant.groups}
        for (sender, receiver), found in sorted(allowed.items()):
            if enforced and (sender != receiver or ANY not in found):
                self._contract(top, by_name[sender], by_name[receiver], found)

    @staticmethod
    def _open(tenant: TenantView, allowed: Mapping[tuple[str, str], Sequence[Service]]) -> bool:
        """Nothing is kept from anybody, so the VRF needs no contracts."""
        names = [group.name for group in tenant.groups if group.members]
        return not any(group.provides or group.consumes for group in tenant.groups) and all(
            ANY in allowed.get((one, other), ()) for one in names for other in names
        )

    def _network(self, top: str, tenant: TenantView, network: NetworkView) -> None:
        dn = f"{top}/BD-{network.name}"
        routed = any(subnet.gateway is not None for subnet in network.subnets)
        self._add(
            dn,
            "fvBD",
            network.origin,
            arpFlood="no" if routed else "yes",
            unicastRoute="yes" if routed else "no",
            unkMacUcastAct="proxy" if routed else "flood",
        )
        self._add(f"{dn}/rsctx", "fvRsCtx", network.origin, tnFvCtxName=tenant.vrf)
        for subnet in network.subnets:
            if subnet.gateway is not None:
                address = f"{subnet.gateway}/{subnet.cidr.prefixlen}"
                self._add(f"{dn}/subnet-[{address}]", "fvSubnet", subnet.origin, scope="private")

    def _group(self, top: str, group: GroupView, inside: Sequence[Service]) -> None:
        application = f"{top}/ap-{group.application}"
        if application not in self.found:
            self._add(application, "fvAp", group.origin)
        dn = f"{application}/epg-{group.name}"
        kept_apart = bool(group.members) and not inside
        self._add(dn, "fvAEPg", group.origin, pcEnfPref=_enforced(kept_apart))
        self._add(f"{dn}/rsbd", "fvRsBd", group.origin, tnFvBDName=group.network)
        domain, cls = f"uni/phys-{self.spec.physical_domain}", "physDomP"
        if self.spec.vmm_domain is not None:
            vendor, _, name = self.spec.vmm_domain.partition("/")
            domain, cls = f"uni/vmmp-{vendor}/dom-{name}", "vmmDomP"
        if self.spec.physical_domain is not None or self.spec.vmm_domain is not None:
            self._put(domain, cls, group.origin, None)
            at = {"instrImedcy": "immediate", "resImedcy": "immediate"}
            self._add(f"{dn}/rsdomAtt-[{domain}]", "fvRsDomAtt", group.origin, **at)
        for node in group.nodes:
            for path in self.spec.paths.get(node, ()):
                at = {"encap": f"vlan-{group.vlan}", "instrImedcy": "immediate", "mode": "regular"}
                self._add(f"{dn}/rspathAtt-[{path}]", "fvRsPathAtt", group.document.at("spec", "vlan"), **at)
        contracts = {document.name: _contract(document) for document in self.topology.documents("Contract")}
        for rn, cls, names in (("rsprov", "fvRsProv", group.provides), ("rscons", "fvRsCons", group.consumes)):
            for name in names:
                tenant, contract = contracts[name]
                self._put(f"uni/tn-{tenant}/brc-{contract}", "vzBrCP", group.origin, None)
                self._add(f"{dn}/{rn}-{contract}", cls, group.origin)

    def _contract(self, top: str, sender: GroupView, receiver: GroupView, allowed: Sequence[Service]) -> None:
        """What the sender may open to the receiver, in a filter and a contract of one name."""
        name = _named(f"{sender.name}.to.{receiver.name}")
        origin = receiver.origin
        self._add(f"{top}/flt-{name}", "vzFilter", origin)
        for service in (*allowed, *_answers(allowed)):
            entry = _entry(service)
            self._add(f"{top}/flt-{name}/e-{_entry_name(service)}", "vzEntry", origin, **entry)
        self._add(f"{top}/brc-{name}", "vzBrCP", origin, scope="context")
        self._add(f"{top}/brc-{name}/subj-allowed", "vzSubj", origin, revFltPorts="yes")
        self._add(f"{top}/brc-{name}/subj-allowed/rssubjFiltAtt-{name}", "vzRsSubjFiltAtt", origin)
        for group, rn, cls in self._ends(sender, receiver):
            self._add(f"{top}/ap-{group.application}/epg-{group.name}/{rn}-{name}", cls, group.origin)

    @staticmethod
    def _ends(sender: GroupView, receiver: GroupView) -> Iterable[tuple[GroupView, str, str]]:
        if sender is receiver:
            yield receiver, "rsintraEpg", "fvRsIntraEpg"
        else:
            yield sender, "rscons", "fvRsCons"
            yield receiver, "rsprov", "fvRsProv"

    def _add(self, dn: str, cls: str, origin: Origin, **attributes: str) -> None:
        assert set(attributes) == set(CLASSES[cls])
        self._put(dn, cls, origin, tuple(sorted(attributes.items())))

    def _put(self, dn: str, cls: str, origin: Origin, attributes: tuple[tuple[str, str], ...] | None) -> None:
        """``attributes`` None: others made it. Of two documents that ask for one object (a domain, a contract of others)
        the first is its origin."""
        if dn not in self.found:
            self.found[dn] = ManagedObject(
                key=object_key(self.fabric, dn),
                origin=replace(origin, driver=AciFeature.name),
                cls=cls,
                attributes=attributes,
                existing=attributes is None,
            )


def _enforced(enforced: bool) -> str:
    return "enforced" if enforced else "unenforced"


def _named(name: str) -> str:
    """At most 64 bytes, and still one name for one thing."""
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 9]}.{sha256(name.encode()).hexdigest()[:8]}"


def _answers(allowed: Iterable[Service]) -> Iterable[Service]:
    """A contract has no state: what answers an echo is a type of its own."""
    every = set(allowed)
    for service in sorted(every):
        answer = _ANSWERS.get((service.protocol, service.icmp))
        if answer is not None and replace(service, icmp=answer) not in every:
            yield replace(service, icmp=answer)


def _entry_name(service: Service) -> str:
    parts = [f"ipv{service.version}"] if service.version else []
    parts.append(_PROTOCOLS.get(service.protocol, str(service.protocol)) if service.protocol >= 0 else "any")
    if service.icmp >= 0:
        parts.append(str(service.icmp))
    for word, span in (("", service.to), ("from", service.source)):
        if span != ANY_PORT:
            parts += [word] * bool(word) + [str(span[0]) if span[0] == span[1] else f"{span[0]}-{span[1]}"]
    return _named(".".join(parts))


def _entry(service: Service) -> dict[str, str]:
    version = service.version or {ICMP: 4, ICMPV6: 6}.get(service.protocol, 0)
    ports: dict[str, str] = {}
    for letter, span in (("d", service.to), ("s", service.source)):
        first, last = ("unspecified", "unspecified") if span == ANY_PORT else map(str, span)
        ports |= {f"{letter}FromPort": first, f"{letter}ToPort": last}
    icmp = _ICMP.get(service.protocol, {}).get(service.icmp, "unspecified")
    return {
        **ports,
        "etherT": _ETHER_TYPES[version],
        "prot": _PROTOCOLS.get(service.protocol, str(service.protocol)) if service.protocol >= 0 else "unspecified",
        "icmpv4T": icmp if service.protocol == ICMP else "unspecified",
        "icmpv6T": icmp if service.protocol == ICMPV6 else "unspecified",
        "stateful": "yes" if service.protocol == TCP else "no",
    }


FEATURE = AciFeature()
