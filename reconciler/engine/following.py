"""What the manifests want, kept up while they change.

A change of a few sandboxes and endpoints is followed at the price of these: they are resolved and rendered alone, with
one more endpoint of each of their networks as a witness, once as they were and once as they are; the difference is what is
wanted otherwise. That holds where what an endpoint needs does not depend on the others. Nobody has to promise it: what is
rendered of the old state must stand, the same, among what was wanted of all. A resource that gathers many endpoints does
not, and then, as in every other doubt, all is loaded, resolved and rendered.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.drivers import registry as drivers
from reconciler.engine import render as rendering
from reconciler.errors import PlanError
from reconciler.manifest.document import Document
from reconciler.manifest.kinds.endpoint import Endpoint
from reconciler.manifest.load import Changes, Memory, changes
from reconciler.manifest.lockfile import Lock
from reconciler.manifest.source import Found, find
from reconciler.resources.resource import Key, Resource
from reconciler.topology.endpoints import resolve_endpoints
from reconciler.topology.resolve import Problems
from reconciler.topology.sandboxes import resolve_sandboxes
from reconciler.topology.view import EndpointView, NetworkView, NodeFacts, SandboxView, Topology

if TYPE_CHECKING:
    from reconciler.engine.controller import NetworkController
    from reconciler.engine.result import PlanOptions

_BYTES, _ENDPOINTS = 64 << 10, 64  # of files, and in the sandboxes that changed: past these all is loaded

_View = TypeVar("_View", SandboxView, EndpointView)
_Name = tuple[str, str]  # (network, endpoint)
_Unique = tuple[str, str, str]  # what there is one of: (network, "mac", address)


class Following:
    """:attr:`desired` is what is wanted, :attr:`topology` why, both as of the last :meth:`take` that did not raise.
    ``desired`` is one mapping, changed in place."""

    def __init__(self, controller: NetworkController, options: PlanOptions) -> None:
        self.memory = Memory()
        self.topology: Topology | None = None
        self.desired: dict[Key, Resource] = {}
        self.whole = 0  # how often all was loaded
        self._controller = controller
        self._options = options
        self._state: _State | None = None
        self._renderings = _Renderings()

    def take(self, sources: Sequence[str], facts: NodeFacts, found: Found | None = None) -> set[Key]:
        """Load what changed; the keys that are wanted otherwise now. ``found`` is what a look at the sources just found,
        if there was one. Raises ManifestError, PlanError."""
        changed = self._difference(sources, facts, found)
        return changed if changed is not None else self._everything(sources, facts)

    def _everything(self, sources: Sequence[str], facts: NodeFacts) -> set[Key]:
        self._state, self.whole = None, self.whole + 1
        self._renderings = _Renderings()  # these were of networks that may be others now
        validated = self._controller.validate(sources, options=self._options, facts=facts, memory=self.memory)
        fresh = {resource.key: resource for resource in validated.desired}
        changed = {key for key in fresh.keys() | self.desired.keys() if fresh.get(key) != self.desired.get(key)}
        self.desired.clear()
        self.desired.update(fresh)
        self.topology = validated.topology
        if _simple(validated.topology):
            path = validated.lock_path
            self._state = _State(validated.topology.node, tuple(sources), facts, path, _text(path), validated.lock)
            for network in validated.topology.networks:
                for endpoint in network.endpoints:
                    self._state.add(endpoint)
            for sandbox in validated.topology.sandboxes:
                self._state.hold(sandbox)
        return changed

    def _difference(self, sources: Sequence[str], facts: NodeFacts, texts: Found | None) -> set[Key] | None:
        """None where all is to be loaded."""
        state, topology = self._state, self.topology
        if state is None or topology is None or state.sources != tuple(sources) or state.facts != facts:
            return None
        if _text(state.lock_path) != state.lock_text:
            return None
        texts = texts or find(sources, None, self.memory.texts)
        found = changes(texts, drivers.options(), self.memory, _BYTES)
        self._state = None  # until all of it is followed
        if found is None or not self.memory.drafts:
            return None
        old, new = state.affected(found), None
        if old is not None:
            new = self._resolve(found, old, state, topology)
        if old is None or new is None:
            return None
        changed = self._rendered(old, new, state, topology, facts)
        if changed is not None:
            self._state = state
        return changed

    def _resolve(self, found: Changes, old: _Part, state: _State, topology: Topology) -> _Part | None:
        """What the documents mean now, of those sandboxes and all their endpoints."""
        names = old.sandboxes.keys() | {document.name for document in found.come if document.kind == "Sandbox"}
        names |= {_sandbox(document) for document in found.come if document.kind == "Endpoint"}
        documents = [
            draft.document for name in sorted(names) if (draft := self.memory.drafts.get(("Sandbox", name, "")))
        ]
        plugged = {(view.network, view.name) for view in old.endpoints}
        plugged |= {
            (document.model.spec.network, document.name)
            for document in found.come
            if isinstance(document.model, Endpoint)
        }
        ends = [
            draft.document
            for network, name in plugged
            if (draft := self.memory.drafts.get(("Endpoint", name, network)))
        ]
        problems = Problems()
        sandboxes = resolve_sandboxes([d for d in documents if d is not None], topology.nodes, topology.node, problems)
        if any(view.stack in ("container", "host", "none") for view in sandboxes.values()):
            return None  # they share a stack with others, or stand on networks of their own
        if any(view.node != topology.node and _place(view)[2] != view.name for view in sandboxes.values()):
            return None  # of other nodes' stacks only those with endpoints are known
        used = {network for network, _name in plugged}
        networks = {network.name: network for network in topology.networks if network.name in used}
        allocated = resolve_endpoints(
            sorted((d for d in ends if d is not None), key=lambda d: (d.name, d.origin)),
            networks,
            sandboxes,
            topology.node,
            state.lock,
            problems,
        )
        if problems or any(allocated.blocks.values()):
            return None
        if any(state.lock.addresses.get(name) != found for name, found in allocated.locked.items()):
            return None
        flat = [view for members in allocated.views.values() for view in members]
        return _Part(sandboxes, sorted(flat, key=lambda view: (view.network, view.name)))

    def _rendered(self, old: _Part, new: _Part, state: _State, topology: Topology, facts: NodeFacts) -> set[Key] | None:
        if any(view.publish for view in (*old.endpoints, *new.endpoints)):
            return None  # ports of the host, which others may publish too
        concerned = {view.network for view in (*old.endpoints, *new.endpoints)}
        witnesses = _witnesses(old, new, topology)
        if witnesses is None:
            return None
        if not state.exchange(old, new):
            return None
        after = _with(topology, old, new, concerned)
        for network in after.networks:
            if network.name in concerned and any(drivers.drivers()[network.driver].check(network, after)):
                return None
        now = _alone(topology, new, witnesses)
        if any(rendering.check(now)):
            return None
        known, fresh = _views(old, witnesses), _views(new, witnesses)
        try:
            was = self._renderings.get(known) or _resources(_alone(topology, old, witnesses), facts)
            found = self._renderings.get(fresh) or _resources(now, facts)
        except PlanError:
            return None
        self._renderings.keep(fresh, found)
        return self._exchange(old, after, was, found)

    def _exchange(
        self, old: _Part, after: Topology, was: dict[Key, Resource], now: dict[Key, Resource]
    ) -> set[Key] | None:
        """Take over what is wanted now in place of what was; None, and nothing done, where it is not so simple."""
        desired = self.desired
        if any((here := desired.get(key)) is not resource and here != resource for key, resource in was.items()):
            return None
        if any(key in desired and key not in was for key in now):
            return None  # another document asks for it as well
        documents = {f"Sandbox/{name}" for name in old.sandboxes} | {view.origin.document for view in old.endpoints}
        gone = [key for key in was if key not in now]
        if any(was[key].origin.document not in documents or desired[key].origin != was[key].origin for key in gone):
            return None  # nobody's own
        moved = [key for key in was if key in now and was[key].origin != now[key].origin]
        if any(was[key].origin.document not in documents or desired[key].origin != was[key].origin for key in moved):
            return None  # where it is told to be from depends on all who ask for it
        changed = {key for key, resource in now.items() if desired.get(key) != resource} | set(gone)
        for key in gone:
            del desired[key]
        for key in (*changed.difference(gone), *moved):
            desired[key] = now[key]
        self.topology = after
        return changed


class _Part(Struct):
    """Some sandboxes and all endpoints that are in them."""

    sandboxes: dict[str, SandboxView]
    endpoints: list[EndpointView]


class _State(Struct):
    """What one must know of all to follow a change of few."""

    node: str
    sources: tuple[str, ...]
    facts: NodeFacts
    lock_path: Path | None
    lock_text: bytes
    lock: Lock
    endpoints: dict[_Name, EndpointView] = field(default_factory=dict)
    plugged: dict[str, set[_Name]] = field(default_factory=dict)  # by sandbox
    unique: dict[_Unique, _Name] = field(default_factory=dict)
    sandboxes: dict[str, SandboxView] = field(default_factory=dict)  # those here
    shared: set[str] = field(default_factory=set)  # whose stack is another's too
    places: set[tuple[str, str, str]] = field(default_factory=set)

    def add(self, view: EndpointView) -> None:
        name = (view.network, view.name)
        self.endpoints[name] = view
        self.plugged.setdefault(view.sandbox.name, set()).add(name)
        for thing in _things(view):
            self.unique[thing] = name

    def hold(self, sandbox: SandboxView) -> None:
        self.sandboxes[sandbox.name] = sandbox
        self.places.add(_place(sandbox))
        if sandbox.stack == "container":
            self.shared.add(sandbox.target)

    def affected(self, found: Changes) -> _Part | None:
        """The sandboxes that a change is about, as they were, with all that is plugged into them."""
        names = {document.name for document in (*found.gone, *found.come) if document.kind == "Sandbox"}
        names |= {_sandbox(document) for document in (*found.gone, *found.come) if document.kind == "Endpoint"}
        names_of = {name for sandbox in names for name in self.plugged.get(sandbox, ())}
        if len(names_of) > _ENDPOINTS:
            return None
        sandboxes = {name: self.sandboxes[name] for name in names if name in self.sandboxes}
        ends = [self.endpoints[name] for name in sorted(names_of)]
        sandboxes |= {view.sandbox.name: view.sandbox for view in ends}
        missing = {document.name for document in found.gone if document.kind == "Sandbox"} - sandboxes.keys()
        if missing or not self.shared.isdisjoint(names):
            return None
        if any(view.stack in ("container", "host", "none") for view in sandboxes.values()):
            return None
        return _Part(sandboxes, ends)

    def exchange(self, old: _Part, new: _Part) -> bool:
        """Take over what there is one of. False: somebody else has it; then this state is of no use any more."""
        for view in old.endpoints:
            name = (view.network, view.name)
            del self.endpoints[name]
            self.plugged[view.sandbox.name].discard(name)
            for thing in _things(view):
                self.unique.pop(thing, None)
        for view in new.endpoints:
            if any(thing in self.unique for thing in _things(view)):
                return False
            self.add(view)
        self.places -= {_place(view) for view in old.sandboxes.values()}
        places = [_place(view) for view in new.sandboxes.values()]
        if not self.places.isdisjoint(places) or len(set(places)) != len(places):
            return False
        for sandbox in old.sandboxes.values():
            self.sandboxes.pop(sandbox.name, None)
        for sandbox in new.sandboxes.values():
            if sandbox.node == self.node:
                self.hold(sandbox)
        return True


def _things(view: EndpointView) -> Iterable[_Unique]:
    yield view.network, "mac", view.mac
    for address in (*view.addresses, *view.link_local):
        yield view.network, "address", str(address.ip)


def _place(view: SandboxView) -> tuple[str, str, str]:
    """Where a sandbox's stack is, of which there is one."""
    return view.node, view.stack, view.target if view.stack in ("path", "pid", "docker") else view.name


def _simple(topology: Topology) -> bool:
    """Whether nothing is said that is about many endpoints at once."""
    policies = topology.policies
    idle = (policies is None or policies.idle) and all(
        network.policy_default == "allow" for network in topology.networks
    )
    return idle and not topology.others


def _sandbox(document: Document) -> str:
    return document.model.spec.sandbox if isinstance(document.model, Endpoint) else document.name


def _text(path: Path | None) -> bytes:
    if path is not None:
        with suppress(OSError):
            return path.read_bytes()
    return b""


def _with(topology: Topology, old: _Part, new: _Part, concerned: set[str]) -> Topology:
    """All of it, with one part in place of another."""
    here = topology.node
    sandboxes = _exchanged(
        topology.sandboxes,
        [view for view in old.sandboxes.values() if view.node == here],
        [view for view in new.sandboxes.values() if view.node == here],
    )
    networks = []
    for network in topology.networks:
        if network.name in concerned:
            was = [view for view in old.endpoints if view.network == network.name]
            now = [view for view in new.endpoints if view.network == network.name]
            network = replace(network, endpoints=_exchanged(network.endpoints, was, now))
        networks.append(network)
    return replace(topology, networks=tuple(networks), sandboxes=sandboxes)


def _exchanged(views: Sequence[_View], old: Iterable[_View], new: Iterable[_View]) -> tuple[_View, ...]:
    """Views by name, some in place of others."""
    found = list(views)
    for view in old:
        del found[bisect_left(found, view.name, key=_name)]
    for view in new:
        insort(found, view, key=_name)
    return tuple(found)


def _name(view: _View) -> str:
    return view.name


def _witnesses(old: _Part, new: _Part, topology: Topology) -> dict[str, list[EndpointView]] | None:
    """Of each network that is concerned an endpoint here that is not, and one on each node that is: what they need
    stays, whatever becomes of the others. None where there is no such."""
    nodes: dict[str, set[str]] = {}
    for view in (*old.endpoints, *new.endpoints):
        nodes.setdefault(view.network, {topology.node}).add(view.sandbox.node)
    found: dict[str, list[EndpointView]] = {}
    names = old.sandboxes.keys() | new.sandboxes.keys()
    for network in topology.networks:
        waiting = nodes.get(network.name, set())
        for view in network.endpoints if waiting else ():
            if view.sandbox.node in waiting and view.sandbox.name not in names:
                found.setdefault(network.name, []).append(view)
                waiting.discard(view.sandbox.node)
                if not waiting:
                    break
        if waiting:
            return None
    return found


def _alone(topology: Topology, part: _Part, witnesses: dict[str, list[EndpointView]]) -> Topology:
    """A part and the witnesses, as if there were no others."""
    networks: list[NetworkView] = []
    for network in topology.networks:
        if network.name in witnesses:
            mine = [*witnesses[network.name], *(view for view in part.endpoints if view.network == network.name)]
            networks.append(replace(network, endpoints=tuple(sorted(mine, key=lambda view: view.name))))
    sandboxes = {view.name: view for view in part.sandboxes.values()}
    sandboxes |= {view.sandbox.name: view.sandbox for views in witnesses.values() for view in views}
    local = tuple(sandboxes[name] for name in sorted(sandboxes) if sandboxes[name].node == topology.node)
    return replace(topology, networks=tuple(networks), sandboxes=local)


_Views = tuple[SandboxView | EndpointView, ...]


def _views(part: _Part, witnesses: dict[str, list[EndpointView]]) -> _Views:
    """All that a part is rendered of, apart from the networks."""
    views: list[SandboxView | EndpointView] = [*part.sandboxes.values(), *part.endpoints]
    for network in sorted(witnesses):
        views += witnesses[network]
    return tuple(views)


class _Renderings:
    """What was rendered of few, for the next time that they change. Rendering is a function of the views alone as long as
    networks and facts are the same, and views are never changed: those that are the very same objects give the same."""

    _MOST = 64

    def __init__(self) -> None:
        # By the ids of the views, and with them: an id is theirs only while they are there.
        self._known: dict[tuple[int, ...], tuple[_Views, dict[Key, Resource]]] = {}

    def get(self, views: _Views) -> dict[Key, Resource] | None:
        found = self._known.get(tuple(map(id, views)))
        return found[1] if found is not None else None

    def keep(self, views: _Views, resources: dict[Key, Resource]) -> None:
        """The latest is the last to be forgotten."""
        name = tuple(map(id, views))
        self._known.pop(name, None)
        self._known[name] = views, resources
        if len(self._known) > self._MOST:
            del self._known[next(iter(self._known))]


def _resources(topology: Topology, facts: NodeFacts) -> dict[Key, Resource]:
    """What is rendered of it. Raises PlanError."""
    return {resource.key: resource for resource in rendering.render(topology, facts)}
