"""Which pairs of endpoints gain or lose reach by a plan.

Two states of this host are asked the same questions: the one that was seen, and that one with the plan carried out. So
nothing need be remembered of manifests that were applied before, a snapshot answers as its host does, and what somebody did
by hand (a flushed table) counts as what it is.

A question is what :mod:`reconciler.engine.reach` asks, between the endpoints' own addresses: routes in the sandbox, the
bridge between them, and our tables, on the host or inside the sandbox. Endpoints that all states treat alike are asked once,
and pairs of which neither side is treated otherwise are not asked at all; so it costs what the change is worth, with ten
endpoints and with ten thousand.

Pure, on resources.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Set
from functools import cached_property
from ipaddress import ip_address, ip_interface, ip_network
from itertools import pairwise
from typing import Any, NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.drivers.driver import Place, place_of
from reconciler.drivers.firewall import FAMILY, table_name
from reconciler.drivers.registry import drivers
from reconciler.engine.reach import CLIENT_PORT, ECHO, ECHO_SERVICE, Service
from reconciler.engine.result import Planned
from reconciler.policy.evaluate import Packet
from reconciler.policy.filter import Filter, Span
from reconciler.policy.view import ICMP, ICMPV6, TCP, UDP, WITH_PORTS
from reconciler.resources.address import Address as AddressSpec
from reconciler.resources.link import Link, link_key
from reconciler.resources.linkinfo.bridge import Bridge
from reconciler.resources.resource import Key, Resource
from reconciler.resources.route import MAIN_TABLE, Route
from reconciler.topology.view import Address, Subnet, Topology

MOST_ASKED = 30_000  # questions; each costs some 100 microseconds
_KINDS = frozenset(("nft-table", "nft-chain", "nft-set", "nft-element", "address", "link", "route"))
VERSIONS = (4, 6)


class Change(Struct, frozen=True):
    """What some endpoints gain or lose towards others: services as ``5432/tcp``, with `` (IPv6)`` behind where one version
    alone is meant. ``all`` is all there is; ``other tcp`` is any port but ``named``, which rules about these tell apart.
    """

    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    gained: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    named: tuple[str, ...] = ()

    @property
    def pairs(self) -> int:
        return len(self.sources) * len(self.destinations) - len({*self.sources} & {*self.destinations})


class Shift(Struct, frozen=True):
    """``changes`` are between endpoints of which one at least stays; ``comes`` and ``goes`` are those that do not.
    ``untold`` counts pairs that were not asked, or about which rules decide that are none of ours."""

    changes: tuple[Change, ...] = ()
    comes: tuple[str, ...] = ()
    goes: tuple[str, ...] = ()
    networks: Mapping[str, int] = field(default_factory=dict)  # how many endpoints each has, for ``front/*``
    untold: int = 0

    def __bool__(self) -> bool:
        return bool(self.changes or self.untold)

    def short(self, names: Iterable[str], most: int = 3) -> str:
        """Some names as a person says them: ``front/*``, ``back/a, back/b and 7 more``."""
        by_network: dict[str, list[str]] = {}
        for name in names:
            by_network.setdefault(name.rpartition("/")[0], []).append(name)
        found: list[str] = []
        for network, mine in by_network.items():
            whole = 1 < len(mine) == self.networks.get(network)
            found += [f"{network}/*"] if whole else mine
        more = len(found) - most
        return ", ".join(found[:most]) + (f" and {more} more" if more > 0 else "")


def shift_of(planned: Planned, owner: str) -> Shift:
    """What a plan does to who reaches whom. Empty, and nothing computed, for a plan that touches no filter, address, link
    or route."""
    if not any(op.key.kind in _KINDS for op in planned.plan.ops()):
        return Shift()
    before: dict[Key, Resource] = {key: seen.resource for key, seen in planned.observation.items.items()}
    after = dict(before)
    for op in planned.plan.ops():
        if op.after is not None:
            after[op.key] = _settled(before.get(op.key), op.after)
        else:
            after.pop(op.key, None)
    topology = planned.validated.topology if planned.validated is not None else None
    ours = {key for key, seen in planned.observation.items.items() if seen.owner == owner}
    was, will = _State(before, owner), _State(after, owner)
    return _Comparison(was, will, tuple(_spots(topology, was, ours))).shift()


def _settled(seen: Any, wanted: Any) -> Any:
    """What stands when ``wanted`` was applied to ``seen``: what is not managed stays as it is."""
    if type(seen) is not type(wanted) or not isinstance(wanted, Struct):
        return wanted
    kept = {
        name: was if will is None else _settled(was, will)
        for name in wanted.__struct_fields__
        if (was := getattr(seen, name)) is not None and (will := getattr(wanted, name)) != was
    }
    return replace(wanted, **kept) if kept else wanted


class _Spot(Struct, frozen=True):
    """An endpoint, wherever it is. ``elsewhere``: its addresses, of one on another node."""

    name: str
    netns: str
    dev: str
    interface: str  # the host's that its packets pass; "": they pass none
    segment: str  # what only endpoints of the same network share
    elsewhere: tuple[Address, ...] = ()


def _spots(topology: Topology | None, was: _State, ours: Set[Key]) -> Iterator[_Spot]:
    """The endpoints of the manifests, and what else of ours was plugged in a network of the host."""
    known: set[tuple[str, str, str]] = set()
    for network in topology.networks if topology is not None else ():
        driver = drivers()[network.driver]
        place = place_of(driver, network) if network.options is not None else Place.NOWHERE
        if place not in (Place.HOST, Place.SANDBOX):
            continue
        interface = (driver.host_interface(network) or "") if place is Place.HOST else ""
        for endpoint in network.endpoints:
            at = (endpoint.sandbox.netns, endpoint.interface)
            remote = () if endpoint.local else tuple(address.ip for address in endpoint.addresses)
            if endpoint.local:
                known.add((*at, interface))
            yield _Spot(f"{network.name}/{endpoint.name}", *at, interface, network.name, remote)
    for at, port in sorted(was.ports.items()):
        if port.master and (*at, port.master) not in known and port.key in ours:
            yield _Spot(f"@{at[0]}/{at[1]}" if at[0] else at[1], *at, port.master, f"behind {port.master}")


class _Asked(Struct, frozen=True):
    """A question for a stretch of ports, by the first of them; ``other``: by one that no rule names."""

    what: Service
    last: int = 0
    other: bool = False

    @property
    def end(self) -> int:
        return self.last or self.what.port


class _State:
    """One state of the host, indexed."""

    def __init__(self, resources: Mapping[Key, Resource], owner: str) -> None:
        self._resources = resources
        self._table = f"{FAMILY}/{table_name(owner)}"
        self.ports: dict[tuple[str, str], Link] = {}  # the host's end of what is in (namespace, interface)
        self.addresses: dict[tuple[str, str], list[str]] = {}
        self.routes: dict[str, list[tuple[Subnet, str]]] = {}  # namespace: (to, by interface)
        self._tables: dict[str, list[Resource]] = {}
        self._asked_by: dict[_Spot, tuple[Address | None, ...]] = {}
        self._there: dict[_Spot, bool] = {}
        for key, resource in resources.items():
            if isinstance(resource, Link):
                if resource.peer is not None and not key.netns:
                    self.ports[resource.peer.netns, resource.peer.name] = resource
            elif isinstance(resource, AddressSpec):
                interface = ip_interface(resource.address)
                self.addresses.setdefault((key.netns, resource.dev), []).append(str(interface.ip))
                self.routes.setdefault(key.netns, []).append((interface.network, resource.dev))
            elif isinstance(resource, Route):
                if resource.dev and resource.table == MAIN_TABLE and resource.type == "unicast":
                    self.routes.setdefault(key.netns, []).append((ip_network(resource.to), resource.dev))
            elif key.kind.startswith("nft-") and f"{key.name}/".startswith(f"{self._table}/"):
                self._tables.setdefault(key.netns, []).append(resource)

    @cached_property
    def filters(self) -> Mapping[str, Filter]:
        """By namespace."""
        return {netns: Filter(table) for netns, table in self._tables.items()}

    @cached_property
    def _inside(self) -> Mapping[str, Filter]:
        """The tables inside sandboxes that differ, each by the first namespace that has it."""
        found: dict[Hashable, tuple[str, Filter]] = {}
        for netns, table in sorted(self.filters.items()):
            if netns:
                found.setdefault(table.whole, (netns, table))
        return dict(found.values())

    def address(self, spot: _Spot, version: int) -> Address | None:
        """The one that it is asked by."""
        found = self._asked_by.get(spot)
        if found is None:
            found = self._asked_by[spot] = tuple(self._first(spot, number) for number in VERSIONS)
        return found[VERSIONS.index(version)]

    def _first(self, spot: _Spot, version: int) -> Address | None:
        if spot.elsewhere:
            return next((address for address in spot.elsewhere if address.version == version), None)
        texts = sorted(self.addresses.get((spot.netns, spot.dev), ()))
        found = (ip_address(text) for text in texts if (":" in text) == (version == 6))
        return next((address for address in found if not address.is_link_local), None)

    def has(self, spot: _Spot) -> bool:
        """Whether it is there, on this network."""
        found = self._there.get(spot)
        if found is None:
            found = self._there[spot] = bool(spot.elsewhere) or self._plugged(spot)
        return found

    def _plugged(self, spot: _Spot) -> bool:
        port = self.ports.get((spot.netns, spot.dev))
        if spot.interface and port is not None and port.master not in (None, "", spot.interface):
            return False  # it is on another network
        there = link_key(spot.netns, spot.dev) in self._resources
        return there and any(self.address(spot, version) is not None for version in VERSIONS)

    def sign(self, spot: _Spot) -> Hashable:
        """Equal for endpoints of one network that this state treats alike; None: it is not there."""
        if not self.has(spot):
            return None
        port = self.ports.get((spot.netns, spot.dev))
        isolated = port is not None and port.port is not None and bool(port.port.isolated)
        routes = frozenset(
            (str(to), dev == spot.dev) for to, dev in self.routes.get(spot.netns, ()) if not spot.elsewhere
        )
        table = self.filters.get("" if spot.interface else spot.netns)
        if spot.interface:
            own = (table.frame, table.mentions(spot.interface), tuple(self._mentions(table, spot))) if table else ()
            return spot.interface, isolated, routes, self._bridge(spot.interface), own
        others = frozenset((netns, tuple(self._mentions(other, spot))) for netns, other in self._inside.items())
        return routes, (table.whole, table.mentions(spot.dev)) if table is not None else (), others

    def _mentions(self, table: Filter, spot: _Spot) -> Iterator[Hashable]:
        for version in VERSIONS:
            address = self.address(spot, version)
            yield address is not None and table.mentions(str(address))

    def _bridge(self, interface: str) -> tuple[bool, bool, bool]:
        """(it is a bridge, whose frames pass the filters of IPv4, of IPv6)."""
        link = self._resources.get(link_key("", interface))
        info = link.info if isinstance(link, Link) else None
        if not isinstance(link, Link) or link.type != "bridge":
            return False, True, True
        if not isinstance(info, Bridge):
            return True, False, False
        return True, bool(info.nf_call_iptables), bool(info.nf_call_ip6tables)

    def passes(self, source: _Spot, destination: _Spot, version: int, what: Service) -> bool | None:
        """What becomes of the first packet of a connection; None: cannot be told."""
        here, there = self.address(source, version), self.address(destination, version)
        if here is None or there is None or not (self.has(source) and self.has(destination)):
            return False
        if not source.elsewhere and not self._leads(source, there):
            return False
        protocol = ICMPV6 if what.protocol == ICMP and version == 6 else what.protocol
        packet = Packet(here, there, protocol, CLIENT_PORT if what.port else 0, what.port, ECHO[version])
        if source.interface and destination.interface:
            return self._by_host(source, destination, packet)
        if source.interface or destination.interface:
            return None
        for spot, hook in ((source, "output"), (destination, "input")):
            table = self.filters.get(spot.netns) if not spot.elsewhere else None
            iif, oif = ("", spot.dev) if hook == "output" else (spot.dev, "")
            passed = table.passes(packet, hook, iif, oif) if table is not None else True
            if not passed:
                return passed
        return True

    def _leads(self, spot: _Spot, to: Address) -> bool:
        best = max(
            ((net.prefixlen, dev == spot.dev) for net, dev in self.routes.get(spot.netns, ()) if to in net),
            default=(0, False),
        )
        return best[1]

    def _by_host(self, source: _Spot, destination: _Spot, packet: Packet) -> bool | None:
        if source.interface == destination.interface:
            bridge, *filtered = self._bridge(source.interface)
            ports = [self.ports.get((spot.netns, spot.dev)) for spot in (source, destination)]
            if all(port is not None and port.port is not None and port.port.isolated for port in ports):
                return False
            if bridge and not filtered[packet.version == 6]:
                return True
        table = self.filters.get("")
        return True if table is None else table.passes(packet, "forward", source.interface, destination.interface)

    def ports_named(self, source: _Spot, destination: _Spot) -> frozenset[Span]:
        """All that rules about these two name."""
        found: frozenset[Span] = frozenset()
        for spot in (source, destination):
            table = self.filters.get("" if spot.interface else spot.netns)
            addresses = (str(self.address(spot, version)) for version in VERSIONS)
            found |= table.ports(spot.interface or spot.dev, *addresses) if table is not None else frozenset()
        return found


class _Likeness(NamedTuple):
    """What spots have in common that are treated alike, before and after."""

    segment: Hashable
    elsewhere: bool
    was: Hashable
    will: Hashable


class _Comparison:
    def __init__(self, was: _State, will: _State, spots: tuple[_Spot, ...]) -> None:
        self._was, self._will = was, will
        self._spots = spots

    def shift(self) -> Shift:
        if not all(any(map(state.has, self._spots)) for state in (self._was, self._will)):
            comes, goes = (
                tuple(sorted(s.name for s in self._spots if state.has(s))) for state in (self._will, self._was)
            )
            return Shift(comes=comes, goes=goes)
        signs = {spot: (self._was.sign(spot), self._will.sign(spot)) for spot in self._spots}
        comes = tuple(sorted(spot.name for spot, (was, will) in signs.items() if was is None and will is not None))
        goes = tuple(sorted(spot.name for spot, (was, will) in signs.items() if was is not None and will is None))
        classes: dict[_Likeness, list[_Spot]] = {}
        for spot, sign in signs.items():
            if sign != (None, None):
                classes.setdefault(_Likeness(spot.segment, bool(spot.elsewhere), *sign), []).append(spot)
        touched = {id(members) for like, members in classes.items() if like.was != like.will}
        stays = {id(members) for like, members in classes.items() if None not in (like.was, like.will)}
        pairs = [
            (sources, destinations)
            for sources in classes.values()
            for destinations in classes.values()
            if (id(sources) in touched or id(destinations) in touched)
            and (id(sources) in stays or id(destinations) in stays)
            and _meet(sources[0], destinations[0])
        ]
        asked = 0
        untold = 0
        found = []
        for sources, destinations in pairs:
            pair = next(((a, b) for a in sources for b in destinations if _apart(a, b)), None)
            if pair is None:
                continue
            services = self._services(*pair)
            asked += len(services) * len(VERSIONS)
            change = self._ask(*pair, services) if asked <= MOST_ASKED else None
            if change is None:
                untold += _count(sources, destinations)
            elif change.gained or change.lost:
                names = [tuple(sorted(spot.name for spot in spots)) for spots in (sources, destinations)]
                found.append(replace(change, sources=names[0], destinations=names[1]))
        networks: dict[str, int] = {}
        for spot in self._spots:
            networks[spot.name.rpartition("/")[0]] = networks.get(spot.name.rpartition("/")[0], 0) + 1
        return Shift(tuple(_merged(found)), comes, goes, networks, untold)

    def _services(self, source: _Spot, destination: _Spot) -> tuple[_Asked, ...]:
        """What has to be asked to know all that rules about these two tell apart, in either state."""
        named = self._was.ports_named(source, destination) | self._will.ports_named(source, destination)
        found = [_Asked(ECHO_SERVICE)]
        for protocol in sorted({TCP, UDP, *(span.protocol for span in named)}):
            spans = [span for span in named if span.protocol == protocol]
            found += [_Asked(Service(protocol, first), last) for first, last in _apart_ports(spans)]
            covered = [(span.first, span.last) for span in spans]
            free = (p for p in range(CLIENT_PORT - 1, 0, -1) if not any(low <= p <= high for low, high in covered))
            port = next(free, 0) if protocol in WITH_PORTS else 0
            found += [_Asked(Service(protocol, port), other=True)] if port else []
        return tuple(found)

    def _ask(self, source: _Spot, destination: _Spot, services: tuple[_Asked, ...]) -> Change | None:
        """None: cannot be told."""
        pair = (source, destination)
        gained: dict[int, list[_Asked]] = {4: [], 6: []}
        lost: dict[int, list[_Asked]] = {4: [], 6: []}
        most = {}
        for version in VERSIONS:
            asked = [s for s in (self._was, self._will) if all(s.address(spot, version) is not None for spot in pair)]
            most[version] = len(services) if asked else 0
            for one in services if asked else ():
                before, after = (state.passes(*pair, version, one.what) for state in (self._was, self._will))
                if before is None or after is None:
                    return None
                if before != after:
                    (gained if after else lost)[version].append(one)
        words = _words(gained, most), _words(lost, most)
        open_ = any(word.startswith("other ") for part in words for word in part)
        named = [one for one in services if one.what.port and not one.other]
        return Change((), (), *words, tuple(_texts(named)) if open_ else ())


def _meet(one: _Spot, other: _Spot) -> bool:
    """Whether this host decides about them: it is between two of its own, and inside a network."""
    if one.elsewhere and other.elsewhere:
        return False
    if one.segment == other.segment:
        return True
    return bool(one.interface and other.interface) and not (one.elsewhere or other.elsewhere)


def _apart(one: _Spot, other: _Spot) -> bool:
    return one is not other and (one.netns != other.netns or bool(one.elsewhere) != bool(other.elsewhere))


def _count(sources: list[_Spot], destinations: list[_Spot]) -> int:
    return len(sources) * len(destinations) - (len(sources) if sources is destinations else 0)


def _apart_ports(spans: Iterable[Span]) -> Iterator[tuple[int, int]]:
    """(first, last) of stretches of ports that the same spans cover, in order."""
    all_ = list(spans)
    cuts = sorted({span.first for span in all_} | {span.last + 1 for span in all_})
    for first, behind in pairwise(cuts):
        if any(span.first <= first <= span.last for span in all_):
            yield first, behind - 1


def _texts(asked: Iterable[_Asked]) -> Iterator[str]:
    """``80/tcp``, ``400-500/udp``, ``other tcp``; stretches that touch are one."""
    joined: list[_Asked] = []
    for one in asked:
        before = joined[-1] if joined else None
        touch = before is not None and one.what.port and not (one.other or before.other)
        if (
            before is not None
            and touch
            and (before.what.protocol, before.end + 1) == (one.what.protocol, one.what.port)
        ):
            joined[-1] = replace(before, last=one.end)
        else:
            joined.append(one)
    for one in joined:
        port, _, protocol = one.what.text.partition("/")
        yield (
            f"other {protocol}"
            if one.other
            else f"{port}-{one.end}/{protocol}"
            if one.end > one.what.port
            else one.what.text
        )


def _words(found: Mapping[int, list[_Asked]], most: Mapping[int, int]) -> tuple[str, ...]:
    asked = [version for version in VERSIONS if most[version]]
    if len(asked) == 1:
        mine = found[asked[0]]
        return ("all",) if mine and len(mine) == most[asked[0]] else tuple(_texts(mine))
    both = [one for one in found[4] if one in found[6]]
    if both and len(both) == most.get(4) == most.get(6):
        return ("all",)
    words = list(_texts(both))
    for version in asked:
        own = [one for one in found[version] if one not in both]
        whole = own and len(own) == most[version]
        words += [f"all (IPv{version})"] if whole else [f"{text} (IPv{version})" for text in _texts(own)]
    return tuple(words)


def _merged(changes: Iterable[Change]) -> list[Change]:
    """The same change told once: first by who sends, then by who receives."""
    by_sources: dict[Change, set[str]] = {}
    for one in changes:
        by_sources.setdefault(replace(one, sources=()), set()).update(one.sources)
    by_both: dict[Change, set[str]] = {}
    for one, sources in by_sources.items():
        whole = replace(one, sources=tuple(sorted(sources)), destinations=())
        by_both.setdefault(whole, set()).update(one.destinations)
    found = [replace(one, destinations=tuple(sorted(names))) for one, names in by_both.items()]
    return sorted(found, key=lambda one: (not one.lost, one.sources, one.destinations))
