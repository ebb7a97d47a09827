"""BGP: routed networks are told of by a BIRD on every node that speaks BGP (``spec.bgp`` of its Node).

Sessions among the nodes come by themselves (a mesh, or to the route reflectors); those with others are BGPPeer documents.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, cast

from msgspec import Struct
from msgspec.structs import replace

from reconciler.drivers import bird
from reconciler.drivers.bird import Change, Prefix, Session, Speech, Watch, within
from reconciler.drivers.driver import Announcing, announcing
from reconciler.drivers.registry import drivers
from reconciler.errors import Origin, Problem
from reconciler.manifest.document import Document
from reconciler.manifest.suggest import meant
from reconciler.policy.selector import parse
from reconciler.resources.bird import BirdConfig, Password, bird_key, password_key
from reconciler.resources.process import Process, process_key
from reconciler.resources.resource import Resource
from reconciler.topology.view import Address, NodeFacts, NodeView, SpeakerView, Topology

if TYPE_CHECKING:
    from reconciler.manifest.kinds.bgpconfiguration import Bfd, BGPConfiguration, BGPConfigurationSpec
    from reconciler.manifest.kinds.bgppeer import BGPPeer, BGPPeerSpec, FilterRule

BIRD = process_key("bird")
_FEATURE = Origin(document="bgp")
_PORT = 179


class BgpFeature:
    """BGPConfiguration, BGPPeer, and what routed networks need of BGP."""

    name: ClassVar[str] = "bgp"
    summary: ClassVar[str] = "routes by BGP: a BIRD of our own, or one that runs already; mesh, reflectors, peers"

    def requires(self, topology: Topology) -> frozenset[str]:
        return frozenset({"bird"}) if _speaks(topology) else frozenset()

    def check(self, topology: Topology) -> Iterable[Problem]:
        configurations = topology.documents("BGPConfiguration")
        for document in configurations[1:]:
            yield Problem(
                document.origin,
                f"there are two BGPConfigurations, {configurations[0].name} and {document.name}",
                "keep one: it holds for all nodes",
            )
        for document in configurations:
            yield from _check_names(document, _settings(topology).communities)
        nodes = {node.name: node for node in topology.nodes}
        for document in topology.documents("BGPPeer"):
            yield from _check_peer(document, nodes)
        if _speaks(topology):
            yield from self._check_sessions(topology)

    @staticmethod
    def _check_sessions(topology: Topology) -> Iterable[Problem]:
        """What this node cannot say."""
        seen: dict[tuple[str, str], Session] = {}
        for session, origin in _sessions(topology):
            for address in (session.local, session.peer):
                if address.is_link_local or address.is_unspecified or address.is_multicast:
                    what = "link-local" if address.is_link_local else "nobody's own"
                    yield Problem(
                        origin,
                        f"BGP session {session.name} is between {session.local} and {session.peer}: {address} is {what}",
                        "write an address that has one host only: spec.address and spec.sourceAddress of a BGPPeer, the "
                        "first one of the family in spec.addresses of a Node",
                    )
            other = seen.setdefault((str(session.local), str(session.peer)), session)
            if other is not session:
                yield Problem(
                    origin,
                    f"this node has two sessions with {session.peer}: {other.name} and {session.name}",
                    "leave one of them out: spec.nodes of a BGPPeer says which nodes it is for, mesh: false of a "
                    "BGPConfiguration that none come by themselves",
                )
        settings = _settings(topology)
        for network in topology.networks:
            if network.driver == "overlay" and network.options.control == "evpn" and settings.listen_port == _PORT:
                yield Problem(
                    network.at("spec", "options", "control"),
                    f"network {network.name}: FRR and BIRD would both listen on port {_PORT} of this node",
                    "write another listenPort in a BGPConfiguration, or leave spec.bgp out of nodes that need one of them only",
                )

    def render(self, topology: Topology, facts: NodeFacts) -> Iterable[Resource]:
        if not _speaks(topology):
            return
        speech = _speech(topology)
        speaker = speech.speaker
        origin = next((document.origin for document in topology.documents("BGPConfiguration")), _FEATURE)
        files = tuple(sorted({s.password_file for s in speech.sessions if s.password_file}))
        for file in files:
            yield Password(key=password_key(file), origin=origin)
        key = bird_key(speaker.include_file)
        shared = bool(speaker.include_file)
        yield BirdConfig(
            key=key,
            origin=origin,
            content=bird.render(facts.owner, speech),
            passwords=files,
            config_file=speaker.bird_config if shared else None,
            socket=speaker.bird_socket if shared else None,
            return_within=_settings(topology).return_within,
            loaded=True,
        )
        if not shared:
            yield Process(key=BIRD, origin=origin, program="bird", after=(key,))


class _Who(Struct, frozen=True):
    """One end of a session."""

    node: NodeView
    speaker: SpeakerView


def _here(topology: Topology) -> _Who | None:
    node = next((node for node in topology.nodes if node.name == topology.node), None)
    return _Who(node, node.bgp) if node is not None and node.bgp is not None else None


def _speaks(topology: Topology) -> bool:
    """Whether this node needs a BIRD: it speaks BGP, and there is something that is told of by it."""
    if _here(topology) is None:
        return False
    if topology.documents("BGPConfiguration") or topology.documents("BGPPeer"):
        return True
    return any(announcing(drivers()[n.driver], n, topology.node) is not None for n in topology.networks)


def _settings(topology: Topology) -> BGPConfigurationSpec:
    for document in topology.documents("BGPConfiguration"):
        return cast("BGPConfiguration", document.model).spec
    from reconciler.manifest.kinds.bgpconfiguration import BGPConfigurationSpec

    return BGPConfigurationSpec()


def _speech(topology: Topology) -> Speech:
    settings, here = _settings(topology), _here(topology)
    assert here is not None
    own = _announced(topology)
    originated = sorted({c for a in own for c in a.originated}, key=str)
    return Speech(
        speaker=here.speaker,
        port=settings.listen_port,
        hold_time=settings.hold_time,
        graceful_restart=settings.graceful_restart,
        whole=tuple(sorted({c for a in own for c in a.whole}, key=str)),
        parts=tuple(sorted({c for a in own for c in a.parts}, key=str)),
        hosts=tuple(sorted({c for a in own for c in a.hosts}, key=str)),
        originated=tuple(dict.fromkeys([*(a.cidr for a in settings.advertisements if a.originate), *originated])),
        marks=tuple(
            Change("", (within(a.cidr),), add=tuple(settings.communities.get(c, c) for c in a.communities))
            for a in settings.advertisements
            if a.communities
        ),
        tunnelled=tuple(sorted({c for a in own for c in a.tunnelled}, key=str)),
        sessions=tuple(session for session, _origin in _sessions(topology)),
    )


def _announced(topology: Topology) -> list[Announcing]:
    found = (announcing(drivers()[n.driver], n, topology.node) for n in topology.networks)
    return [each for each in found if each is not None]


def _sessions(topology: Topology) -> Iterable[tuple[Session, Origin]]:
    """Those of this node: the mesh's by node, then those of BGPPeers by name."""
    here = _here(topology)
    assert here is not None
    settings = _settings(topology)
    if settings.mesh:
        yield from _mesh(topology, here, settings)
    for document in topology.documents("BGPPeer"):
        spec = cast("BGPPeer", document.model).spec
        if spec.peers is not None:
            yield from _with_nodes(topology, here, settings, document)
        elif _is_for(spec, here.node):
            yield from _with_peer(topology, here, settings, document)


def _others(topology: Topology, here: _Who) -> Iterable[_Who]:
    for node in topology.nodes:
        if node.bgp is not None and node.name != here.node.name:
            yield _Who(node, node.bgp)


def _mesh(topology: Topology, here: _Who, settings: BGPConfigurationSpec) -> Iterable[tuple[Session, Origin]]:
    """With every other node; with route reflectors alone where there are any and this is none."""
    others = list(_others(topology, here))
    reflected = any(other.speaker.reflector for other in others) and not here.speaker.reflector
    for other in others:
        if other.speaker.reflector or not reflected:
            for local, peer in _pairs(here.node, other.node):
                yield (
                    _between(topology, here, other, settings, f"node.{other.node.name}", local, peer),
                    other.node.origin,
                )


def _between(
    topology: Topology,
    here: _Who,
    other: _Who,
    settings: BGPConfigurationSpec,
    name: str,
    local: Address,
    peer: Address,
) -> Session:
    """A session of two nodes. Nothing but what nodes announce comes in: not their default routes."""
    own = _announced(topology)
    known = {c for a in own for c in a.parts} | {a.cidr for a in settings.advertisements}
    return Session(
        name=f"{name}.ipv{peer.version}",
        about=f"node {other.node.name}",
        local=local,
        peer=peer,
        asn=other.speaker.asn,
        port=settings.listen_port,
        scope=tuple(within(cidr) for cidr in sorted(known, key=str)),
        everything=here.speaker.reflector,
        client=here.speaker.reflector and not other.speaker.reflector,
        multihop=None if other.speaker.asn == here.speaker.asn else 255,
        graceful_restart=settings.graceful_restart,
        bfd=_watch(settings.bfd),
    )


def _watch(bfd: Bfd | None) -> Watch | None:
    return Watch(bfd.interval, bfd.multiplier) if bfd is not None else None


def _pairs(here: NodeView, other: NodeView) -> Iterable[tuple[Address, Address]]:
    """The first address of each family that both have."""
    for version in bird.VERSIONS:
        local, peer = _first(here, version), _first(other, version)
        if local is not None and peer is not None:
            yield local, peer


def _first(node: NodeView, version: int) -> Address | None:
    return next((address for address in node.addresses if address.version == version), None)


def _is_for(spec: BGPPeerSpec, node: NodeView) -> bool:
    if spec.node is not None:
        return spec.node == node.name
    return spec.nodes is None or parse(spec.nodes).matches(_labels(node))


def _labels(node: NodeView) -> dict[str, str]:
    return {**node.labels, "cnm/node": node.name}


def _with_peer(
    topology: Topology, here: _Who, settings: BGPConfigurationSpec, document: Document
) -> Iterable[tuple[Session, Origin]]:
    spec = cast("BGPPeer", document.model).spec
    graceful = settings.graceful_restart if spec.graceful_restart else 0
    if spec.address is not None and spec.asn is not None:
        local = spec.source_address or _first(here.node, spec.address.version)
        if local is not None:
            multihop = spec.multihop if spec.multihop is not None else (0 if spec.asn != here.speaker.asn else None)
            yield (
                _peering(
                    Session(
                        name=f"peer.{document.name}",
                        about=f"BGPPeer {document.name}",
                        local=local,
                        peer=spec.address,
                        asn=spec.asn,
                        port=spec.port or _PORT,
                        multihop=multihop,
                        client=here.speaker.reflector,
                        graceful_restart=graceful,
                    ),
                    spec,
                ),
                document.origin,
            )


def _with_nodes(
    topology: Topology, here: _Who, settings: BGPConfigurationSpec, document: Document
) -> Iterable[tuple[Session, Origin]]:
    """A session has two ends: whom ``peers`` means has it with those that the document is for."""
    spec = cast("BGPPeer", document.model).spec
    graceful = settings.graceful_restart if spec.graceful_restart else 0
    for other in _others(topology, here):
        if _asks(here, other, spec) or _asks(other, here, spec):
            for local, peer in _pairs(here.node, other.node):
                name = f"peer.{document.name}.{other.node.name}"
                session = _between(topology, here, other, settings, name, local, peer)
                yield _peering(session, spec, graceful=graceful), document.origin


def _asks(who: _Who, whom: _Who, spec: BGPPeerSpec) -> bool:
    return _is_for(spec, who.node) and parse(spec.peers or "all()").matches(_labels(whom.node))


def _peering(session: Session, spec: BGPPeerSpec, *, graceful: int | None = None) -> Session:
    return replace(
        session,
        local=spec.source_address or session.local,
        port=spec.port or session.port,
        imports=tuple(map(_rule, spec.imports)),
        exports=tuple(map(_rule, spec.exports)),
        everything=spec.announce == "all" or session.everything,
        next_hop=spec.next_hop,
        password_file=spec.password_file,
        ttl_security=spec.ttl_security,
        bfd=_watch(spec.bfd) or session.bfd,
        multihop=spec.multihop if spec.multihop is not None else session.multihop,
        graceful_restart=graceful if graceful is not None else session.graceful_restart,
    )


def _rule(rule: FilterRule) -> Change:
    prefixes = None
    if rule.prefixes is not None:
        prefixes = tuple(Prefix(each.cidr, *each.lengths) for each in rule.prefixes)
    return Change(
        verdict="" if rule.action == "change" else rule.action,
        prefixes=prefixes,
        communities=tuple(rule.communities or ()),
        add=tuple(rule.add_communities),
        prepend=rule.prepend,
        local_pref=rule.local_pref,
    )


def _check_names(document: Document, named: dict[str, str]) -> Iterable[Problem]:
    spec = cast("BGPConfiguration", document.model).spec
    for number, advertisement in enumerate(spec.advertisements):
        for index, community in enumerate(advertisement.communities):
            if ":" not in community and community not in named:
                yield Problem(
                    document.at("spec", "advertisements", number, "communities", index),
                    f"there is no community {community!r}",
                    meant(community, named)
                    or "write its value, like '64512:100', or give it a name in spec.communities",
                )


def _check_peer(document: Document, nodes: dict[str, NodeView]) -> Iterable[Problem]:
    spec = cast("BGPPeer", document.model).spec
    if spec.node is not None and spec.node not in nodes:
        yield Problem(document.at("spec", "node"), f"there is no Node {spec.node!r}", meant(spec.node, nodes))
        return
    for node in nodes.values():
        if not _is_for(spec, node):
            continue
        if node.bgp is None:
            if spec.node is not None:
                yield Problem(node.origin, f"node {node.name} has a BGPPeer and speaks no BGP", "add spec.bgp: {}")
        elif spec.address is not None and spec.source_address is None and _first(node, spec.address.version) is None:
            yield Problem(
                document.at("spec", "address"),
                f"node {node.name} has no IPv{spec.address.version} address to speak to {spec.address} from",
                f"add one to spec.addresses of Node {node.name}",
            )
    other = spec.source_address
    if spec.address is not None and other is not None and other.version != spec.address.version:
        yield Problem(
            document.at("spec", "sourceAddress"),
            f"{other} and {spec.address} are not of one IP version",
            f"write an IPv{spec.address.version} address",
        )


FEATURE = BgpFeature()
