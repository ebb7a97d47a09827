"""What the host looks like, kept up to date by events instead of by reading all of it again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from msgspec import Struct, field

from reconciler.engine.observe import observe, read_facts
from reconciler.host.host import Host
from reconciler.host.monitor import Heard, Monitor
from reconciler.netlink.link import RawLink, decode_link
from reconciler.netlink.mark import owner_of
from reconciler.planner.plan import Observation
from reconciler.planner.seen import SeenIndex
from reconciler.resources.actuator import Scope
from reconciler.resources.netns import LO
from reconciler.resources.registry import actuators, kinds
from reconciler.resources.resource import Key, Observed, Resource
from reconciler.topology.view import NodeFacts

_BELONG = {"link": ("link", "address", "route", "neighbour", "fdb", "sysctl", "qdisc", "offload")}
"""What to read again after an event: an interface that is renamed, moved or set down changes what hangs on it."""


class Dirty(Struct):
    """What is to be read again. ``everything``: events were lost, or time has passed."""

    everything: bool = False
    parts: set[tuple[str, str]] = field(default_factory=set)  # (sandbox, batch)
    links: set[int] = field(default_factory=set)  # the host's own interfaces, by index
    names: set[str] = field(default_factory=set)  # and what those were called that went or have another name
    spaces: set[str] = field(default_factory=set)  # sandboxes whose namespace itself came or went
    facts: bool = False  # something changed that rendering looks at

    def __bool__(self) -> bool:
        return bool(self.everything or self.parts or self.links or self.spaces or self.facts)


class Picture:
    """An observation that lives: :attr:`items` is what :func:`observe` would give now, as far as events tell.

    What has no events (sysctls but forwarding, files, processes) is as of the last look at everything.
    """

    def __init__(self, host: Host, monitor: Monitor, node: str) -> None:
        self._host = host
        self._monitor = monitor
        self._node = node
        self.items: dict[Key, Observed] = {}
        self.facts = NodeFacts()
        self.index = SeenIndex(self.items)
        self.desired: dict[Key, Resource] = {}
        self.looks = 0
        self._unread: Mapping[str, str] = {}  # until the next look at everything
        # The host's interfaces as they were last heard of: number -> (name, up). What the host's namespace knows of them
        # may be newer, since others look as well.
        self._heard: dict[int, tuple[str, bool]] = {}
        self._parts: dict[tuple[str, str], set[Key]] = {}  # (sandbox, kind) -> keys
        self._batches: dict[str, tuple[str, ...]] = {}
        for name, kind in kinds().items():
            self._batches[kind.batch] = (*self._batches.get(kind.batch, ()), name)
        self._settings = tuple(name for name, kind in kinds().items() if kind.setting)
        self._wanted: dict[str, dict[Key, Resource]] = {}  # by sandbox
        self._wanted_settings: dict[str, set[Key]] = {}

    def batch_of(self, kind: str) -> str:
        """Which reader a kind of resource has."""
        return kinds()[kind].batch

    def want(self, keys: Iterable[Key], desired: Mapping[Key, Resource]) -> None:
        """Take over what is wanted of these."""
        for key in keys:
            space, resource = _space(key), desired.get(key)
            if resource is None:
                self.desired.pop(key, None)
                self._wanted.get(space, {}).pop(key, None)
                self._wanted_settings.get(space, set()).discard(key)
                continue
            self.desired[key] = self._wanted.setdefault(space, {})[key] = resource
            if resource.setting:
                self._wanted_settings.setdefault(space, set()).add(key)

    def observation(self) -> Observation:
        return Observation(self.items, self.facts, unread=self._unread)

    # -- what events say --------------------------------------------------------------------------------------

    def note(self, heard: Iterable[Heard] | None, dirty: Dirty) -> None:
        """Gather what events make necessary to read, and take over what they carry themselves."""
        if heard is None:
            dirty.everything = True
            return
        for netns, event, payload in heard:
            batch = event.batch
            if batch == "netns":
                dirty.spaces.add(netns)
            elif batch == "link" and not netns:
                self._note_link(event.ifindex, event.gone, payload, dirty)
            elif batch == "link" and event.ifindex == LO:
                dirty.spaces.add(netns)  # loopback's state and mark are its namespace's
            else:
                dirty.parts.update((netns, name) for name in _BELONG.get(batch, (batch,)))
                if not netns and batch in ("address", "route"):
                    dirty.facts = True

    def _note_link(self, ifindex: int, gone: bool, payload: bytearray | None, dirty: Dirty) -> None:
        """An interface of the host itself, of which there may be 10,000: the event has all that a look would tell."""
        root = self._host.root
        links = root.by_index
        before = links.get(ifindex)
        was, up = self._heard.get(ifindex) or ((before.name, before.up) if before is not None else ("", False))
        after = decode_link(payload, 0, len(payload)) if payload is not None and not gone else None
        for raw in (before, after):
            if raw is not None and owner_of(raw.altnames)[0] != self._host.owner:
                dirty.facts = True
        if after is not None:
            links[ifindex] = after
            self._heard[ifindex] = (after.name, after.up)
            if (was, up) != self._heard[ifindex]:
                self._hanging(dirty)
            if was and was != after.name:  # others are known by their port's or parent's name
                dirty.everything = True
        else:
            links.pop(ifindex, None)
            self._heard.pop(ifindex, None)
            if was:
                self._hanging(dirty)
            other = self._monitor.name_of(before.netnsid) if before is not None and before.kind == "veth" else None
            if other:  # the other end is not told that this one moved away
                dirty.parts.add((other, "link"))
        if was and (after is None or was != after.name):
            if root.index.get(was) == ifindex:
                root.index.pop(was)
            dirty.names.add(was)
        if after is not None:
            root.index[after.name] = ifindex
        dirty.links.add(ifindex)

    @staticmethod
    def _hanging(dirty: Dirty) -> None:
        dirty.parts.update(("", name) for name in _BELONG["link"] if name not in ("link", "sysctl"))

    # -- reading ----------------------------------------------------------------------------------------------

    def refresh(self, dirty: Dirty) -> set[Key]:
        """Read what is dirty; the keys of which something changed. Raises ObservationError: then all of it is to be
        read again."""
        if dirty.everything:
            return self._everything()
        changed: set[Key] = set()
        whole = dirty.spaces - self._unread.keys()
        parts = {part for part in dirty.parts if part[0] not in whole and part[0] not in self._unread}
        for netns in sorted(whole | {netns for netns, batch in parts if netns and batch == "link"}):
            namespace = self._host.find(netns, self._source(netns))
            if namespace is None:
                self._monitor.forget(netns)
                whole.add(netns)
            elif self._monitor.follow(namespace) or netns not in whole:
                namespace.look()
        parts = {part for part in parts if part[0] not in whole}
        parts.update((netns, batch) for netns in whole for batch in self._batches if batch in actuators())
        if whole:
            changed |= self._read("netns", whole)
        changed |= self._read_links(dirty, {netns for netns, batch in parts if batch == "link"})
        by_batch: dict[str, set[str]] = {}
        for netns, batch in parts:
            if batch not in ("netns", "link") and batch in self._batches:
                by_batch.setdefault(batch, set()).add(netns)
        for batch in sorted(by_batch):
            changed |= self._read(batch, by_batch[batch])
        if dirty.facts:
            self.facts = read_facts(self._host, self._node, look=False)
        return changed

    def _source(self, netns: str) -> str:
        wanted = self.desired.get(Key("netns", "", netns))
        return str(getattr(wanted, "source", "")) or self._host.inventory.sources.get(netns, "named")

    def _everything(self) -> set[Key]:
        self.looks += 1
        self.glance()
        self._open()
        self._follow()  # before they are read: what changes from here on is heard
        seen = observe(self._host, self.desired.values(), self.facts)
        for netns in set(self._monitor.followed()) - self._host.open_namespaces():
            self._monitor.forget(netns)
        if self._follow():  # some came meanwhile: what changed in them between the look and now was not heard
            seen = observe(self._host, self.desired.values(), self.facts)
        items, self._unread = seen.items, seen.unread
        self._heard = {index: (raw.name, raw.up) for index, raw in self._host.root.by_index.items()}
        changed = {key for key in items.keys() | self.items.keys() if items.get(key) != self.items.get(key)}
        self.items = dict(items)
        self.index = SeenIndex(self.items)
        self.index.built()  # now, when all is read in any case, and not in the first repair
        self._parts = {}
        for key in self.items:
            self._parts.setdefault((_space(key), key.kind), set()).add(key)
        return changed

    def glance(self) -> None:
        """Only what rendering may know of the host: enough as long as nobody knows what is wanted."""
        self.facts = read_facts(self._host, self._node)

    def _open(self) -> None:
        """Open the namespaces of what is wanted, and those in which we have been."""
        inventory = self._host.inventory
        for netns in self._wanted.keys() | inventory.netns.keys() | inventory.sources.keys():
            if netns:
                self._host.find(netns, self._source(netns))

    def _follow(self) -> bool:
        """Hear of every namespace that is open. True: one is new."""
        fresh = False
        for netns in list(self._host.open_namespaces()):
            if netns:
                fresh = self._monitor.follow(self._host.netns(netns)) or fresh
        return fresh

    def _scope(self, names: set[str], only: Mapping[str, frozenset[int]] | None = None) -> Scope:
        """To read these namespaces, at a price that does not grow with all that is wanted elsewhere."""
        settings: set[Key] = set()
        for name in names:
            settings |= self._wanted_settings.get(name, set())
            for kind in self._settings:
                settings |= self._parts.get((name, kind), set())
        wanted = {name: here for name in names if (here := self._wanted.get(name))}
        return Scope(self._host.owner, tuple(sorted(names)), frozenset(settings), _Wanted(wanted), only or {})

    def _read(self, batch: str, spaces: set[str]) -> set[Key]:
        """One kind of reader over some namespaces."""
        scope = self._scope(set(spaces))
        found = {seen.resource.key: seen for seen in actuators()[batch].read(self._host, scope)}
        changed: set[Key] = set()
        for space in spaces:
            for kind in self._batches[batch]:
                for key in list(self._parts.get((space, kind), ())):
                    if key not in found:
                        self._put(key, None, changed)
        for key, seen in found.items():
            if _space(key) in spaces:
                self._put(key, seen, changed)
        return changed

    def _read_links(self, dirty: Dirty, spaces: set[str]) -> set[Key]:
        """Interfaces: those of the host by index, those of a sandbox all together, and with an end of a pair the other."""
        if not dirty.links and not spaces:
            return set()
        host, whole = self._host, "" in spaces
        own = host.root.by_index
        near, far = self._both_ends(own, set(dirty.links), spaces)
        scope = self._scope(far | {""}, {} if whole else {"": frozenset(near)})
        found = {seen.resource.key: seen for seen in actuators()["link"].read(host, scope)}
        changed: set[Key] = set()
        known = [key for space in far for key in self._parts.get((space, "link"), ()) if space or whole]
        known += [Key("link", "", name) for name in dirty.names if name not in host.root.index]
        for key in known:
            if key not in found:
                self._put(key, None, changed)
        for key, seen in found.items():
            if key.netns in far or not key.netns:
                self._put(key, seen, changed)
        return changed

    def _both_ends(self, own: Mapping[int, RawLink], links: set[int], spaces: set[str]) -> tuple[set[int], set[str]]:
        """(the host's interfaces, sandboxes) to read so that no pair of which one end is read lacks its other end."""
        host = self._host
        near, far, waiting = set(links), set(), set(spaces) - {""}
        for netns in waiting:
            near |= self._ends_in(netns)
        looked: set[int] = set()
        while waiting or near - looked:
            for netns in waiting:
                far.add(netns)
                links_in = host.netns(netns).links if netns in host.open_namespaces() else ()
                near.update(raw.link for raw in links_in if raw.kind == "veth" and raw.netnsid != -1)
            raws = [own[index] for index in near - looked if index in own]
            looked |= near
            names = {self._monitor.name_of(raw.netnsid) for raw in raws if raw.kind == "veth" and raw.netnsid != -1}
            waiting = {name for name in names if name and name not in far and name not in self._unread}
        return near, far | spaces

    def _ends_in(self, netns: str) -> set[int]:
        """The host's ends of the pairs whose other end we saw in this sandbox."""
        index = self._host.root.index
        found = set()
        for key in self._parts.get((netns, "link"), ()):
            maker = self.items[key].resource.made_by()
            if maker is not None and maker.name in index:
                found.add(index[maker.name])
        return found

    def _put(self, key: Key, seen: Observed | None, changed: set[Key]) -> None:
        before = self.items.get(key)
        if before == seen:
            return
        changed.add(key)
        self.index.change(key, before, seen)
        part = (_space(key), key.kind)
        if seen is None:
            del self.items[key]
            self._parts[part].discard(key)
        else:
            self.items[key] = seen
            self._parts.setdefault(part, set()).add(key)


class _Wanted(Mapping[Key, Resource]):
    """What is wanted in some sandboxes. To look one up costs the same however many they are."""

    __slots__ = ("_spaces",)

    def __init__(self, spaces: Mapping[str, Mapping[Key, Resource]]) -> None:
        self._spaces = spaces

    def __getitem__(self, key: Key) -> Resource:
        return self._spaces[_space(key)][key]

    def __iter__(self) -> Iterator[Key]:
        return chain.from_iterable(self._spaces.values())

    def __len__(self) -> int:
        return sum(map(len, self._spaces.values()))


def _space(key: Key) -> str:
    """The sandbox that a key is about: a namespace itself is about what it is."""
    return key.name if key.kind == "netns" else key.netns
