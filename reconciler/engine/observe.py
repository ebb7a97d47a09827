"""Looking at the host: every kind's reader over every namespace that matters, into one Observation."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable
from ipaddress import ip_address
from typing import NamedTuple

from reconciler.drivers.stack import BASELINE
from reconciler.errors import RemoteError, UnreadableError
from reconciler.host import sockdiag, sysfs
from reconciler.host.attendant import OURS
from reconciler.host.files import read_small
from reconciler.host.host import Host
from reconciler.netlink.address import RTM_GETADDR, decode_address, dump_addresses
from reconciler.netlink.link import RawLink
from reconciler.netlink.mark import PROTOCOL, owner_of
from reconciler.netlink.route import RTM_GETROUTE, RTPROT_RA, RawRoute, decode_route, dump_routes
from reconciler.planner.plan import Observation, Plan
from reconciler.resources.actuator import Scope
from reconciler.resources.link import Link
from reconciler.resources.linkinfo.registry import infos
from reconciler.resources.netns import Netns, netns_key
from reconciler.resources.registry import actuators, kinds
from reconciler.resources.resource import Key, Observed, Resource
from reconciler.resources.route import route_key
from reconciler.resources.sriov import in_use
from reconciler.resources.sysctl import Sysctl, sysctl_key
from reconciler.topology.view import HostLink, HostRoute, HostSocket, NodeFacts, PhysicalFunction

_DAEMONS = frozenset((11, 12, 186))  # RTPROT_ZEBRA, RTPROT_BIRD, RTPROT_BGP (rtnetlink.h)
RESOLV_CONF = "/etc/resolv.conf"
_FIRST = ("netns", "link")  # namespaces are opened, then interfaces give names to indices; all else builds on both


def observe(
    host: Host,
    desired: Iterable[Resource],
    facts: NodeFacts,
    without: Container[str] = (),
    part: Part | None = None,
    *,
    lenient: bool = False,
) -> Observation:
    """Everything in the namespaces that ``desired`` or the inventory names, ours and foreign. Those of ``without``
    are left out; with ``part``, all that is not of it. ``lenient``: what is beyond this host and does not answer is left
    out as well, and told in ``partial``.

    A sandbox that its own root fills up, or changes without end, is told of as ``unread``. Raises ObservationError when
    anything else could not be read whole: a plan on half a picture would prune the other half.
    """
    wanted = {resource.key: resource for resource in desired}
    inventory = host.inventory
    netns = {""} | {key.name for key in wanted if key.kind == "netns"} | set(inventory.netns) | set(inventory.sources)
    if part is not None:
        netns &= part.spaces
    for name in set(inventory.sources).intersection(netns):  # other people's namespaces that we were in before
        host.find(name, inventory.sources[name])
    settings = {key for key, resource in wanted.items() if resource.setting}
    settings |= {Key.parse(text) for text in inventory.settings}
    if part is not None:
        settings = {key for key in settings if key.netns in netns}
    unread: dict[str, str] = {}
    while True:
        names = tuple(sorted(name for name in netns if name not in without and name not in unread))
        asked = frozenset(key for key in settings if key.netns not in unread) if unread else frozenset(settings)
        scope = Scope(owner=host.owner, netns=names, settings=asked, wanted=wanted)
        try:
            items, partial = _read(host, scope, part, lenient=lenient)
        except UnreadableError as error:
            if error.sandbox in unread:
                raise
            unread[error.sandbox] = str(error)
        else:
            return Observation(items | _standing(host, unread), facts, partial, unread)


def _read(host: Host, scope: Scope, part: Part | None, *, lenient: bool) -> tuple[dict[Key, Observed], tuple[str, ...]]:
    hands = actuators()
    items: dict[Key, Observed] = {}
    partial: list[str] = []
    for batch in (*_FIRST, *sorted(set(hands).difference(_FIRST))):
        if part is not None and batch not in _FIRST and batch not in part.batches:
            continue
        try:
            for seen in hands[batch].read(host, scope):
                items[seen.resource.key] = seen
        except RemoteError as error:
            if not lenient:
                raise
            partial.append(str(error))
    return items, tuple(partial)


def _standing(host: Host, unread: Iterable[str]) -> dict[Key, Observed]:
    """Namespaces of ours that were not read, so that they can be removed all the same."""
    return {
        netns_key(name): Observed(Netns(key=netns_key(name), source="named"), host.owner)
        for name in unread
        if name in host.open_namespaces() and host.inventory.netns.get(name) == host.netns(name).inode
    }


class Part(NamedTuple):
    """The namespaces and readers that are about some keys."""

    spaces: frozenset[str]
    batches: frozenset[str]

    @classmethod
    def of(cls, plan: Plan) -> Part:
        """What the steps of a plan can be seen by: an end of a pair is known by where the other one is."""
        spaces, batches = {""}, set()
        for op in plan.ops():
            resource = op.resource
            batches.add(type(resource).batch)
            spaces.add(op.key.name if op.key.kind == "netns" else op.key.netns)
            if isinstance(resource, Link):
                ends = (resource.peer, resource.maker, resource.parent)
                spaces.update(end.netns for end in ends if end is not None)
        return cls(frozenset(spaces), frozenset(batches))

    def has(self, key: Key) -> bool:
        """Whether an observation of this part tells of the key if it is there."""
        space, kind = key.name if key.kind == "netns" else key.netns, kinds().get(key.kind)
        return space in self.spaces and kind is not None and (kind.batch in _FIRST or kind.batch in self.batches)


def usual_settings(host: Host, desired: Iterable[Resource]) -> Iterable[Resource]:
    """What a snapshot holds of settings beyond those that ``desired`` names, so that other manifests can be planned
    against it: both forwarding switches, and what a stack of ours does not inherit. Values do not matter here."""
    known = {resource.key for resource in desired}
    for path in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
        if sysctl_key("", path) not in known:
            yield Sysctl(key=sysctl_key("", path), value="")
    for name in host.inventory.netns:
        if netns_key(name) not in known:
            yield Netns(key=netns_key(name), sysctls=tuple(BASELINE.items()))


def remember_sources(host: Host, desired: Iterable[Resource]) -> None:
    """Note where the namespaces of others are that we are about to work in, to find them when nobody asks any more."""
    for resource in desired:
        if isinstance(resource, Netns) and resource.source != "named":
            host.inventory.sources[resource.key.name] = resource.source


def read_facts(host: Host, node: str, *, look: bool = True) -> NodeFacts:
    """What rendering may know of this host. Reads the routes and the resolver's configuration; the interfaces as they
    were last seen when ``look`` is False."""
    if look:
        host.root.look()
    names = host.root.names()
    mtus = {link.ifindex: link.mtu for link in host.root.links}
    ours = {link.ifindex for link in host.root.links if any(name.startswith("cnm.") for name in link.altnames)}
    routes: list[RawRoute] = host.root.rtnl.dump(RTM_GETROUTE, dump_routes(), decode_route)
    default = [route for route in routes if route.to in ("0.0.0.0/0", "::/0") and route.ifindex]
    return NodeFacts(
        name=node,
        owner=host.owner,
        kernel=os.uname().release,
        capabilities=frozenset({"nft"} if host.nft.installed else ()),
        ra_links=tuple(
            sorted(
                {names[route.ifindex] for route in default if route.protocol == RTPROT_RA and route.ifindex in names}
            )
        ),
        uplink_mtu=min((mtus[route.ifindex] for route in default if route.ifindex in mtus), default=1500),
        routes=tuple(
            HostRoute(route.to, names.get(route.ifindex, ""), route.protocol in _DAEMONS)
            for route in sorted(routes)
            if route.ifindex
            and route.ifindex not in ours
            and not (route.protocol == PROTOCOL and str(route_key("", route.to)) in host.inventory.made)
            and route.to not in ("0.0.0.0/0", "::/0")
            and not route.to.startswith(("fe80::", "ff00::"))
            and names.get(route.ifindex) != "lo"
        ),
        nameservers=_nameservers(),
        links=_links(host),
        functions=_functions(host),
        sockets=_sockets(host),
    )


def _links(host: Host) -> tuple[HostLink, ...]:
    """The host's interfaces but loopback and ours, by name. What another owner made is not ours."""
    names = host.root.names()
    addresses: dict[int, list[str]] = {}
    for raw in host.root.rtnl.dump(RTM_GETADDR, dump_addresses(), decode_address):
        if not raw.address.startswith("fe80:"):
            addresses.setdefault(raw.ifindex, []).append(f"{raw.address}/{raw.prefix}")
    return tuple(
        HostLink(
            link.name,
            link.kind,
            link.mtu,
            tuple(sorted(addresses.get(link.ifindex, ()))),
            names.get(link.link, "") if link.netnsid == -1 else "",
            link.device,
            names.get(link.master, ""),
            _mode(link),
            link.up,
        )
        for link in sorted(host.root.links, key=lambda link: link.name)
        if link.name != "lo" and owner_of(link.altnames)[0] != host.owner
    )


def _sockets(host: Host) -> tuple[HostSocket, ...]:
    """Who listens, but for what we hold ourselves."""
    found = {
        HostSocket(one.protocol, one.address, one.port, one.both)
        for one in sockdiag.listening(host.root)
        if one.mark != OURS
    }
    return tuple(sorted(found, key=lambda one: (one.protocol, one.port, one.address)))


def _functions(host: Host) -> tuple[PhysicalFunction, ...]:
    """The NICs that can have virtual functions, by name."""
    given = {text: entry.get("user") for text, entry in host.inventory.settings.items() if text.startswith("vf/")}
    found = []
    for link in sorted(host.root.links, key=lambda link: link.name):
        count = sysfs.vf_count(link.device) if link.device else None
        if count is None:
            continue
        used = []
        for index in range(count):
            whose = given.get(f"vf/{link.name}/{index}") or in_use(host, link.device, index)
            if whose:
                used.append((index, str(whose)))
        vendor, product = sysfs.ids(link.device)
        found.append(
            PhysicalFunction(
                pf=link.name,
                device=link.device,
                vendor=vendor,
                product=product,
                driver=sysfs.driver(link.device),
                vfs=count,
                limit=sysfs.vf_limit(link.device),
                used=tuple(used),
            )
        )
    return tuple(found)


def _mode(link: RawLink) -> str:
    """How an interface shares its parent with others of its kind."""
    kind = infos().get(link.kind)
    return str(kind.table.decode(link.data).get("mode", "")) if kind is not None else ""


def _nameservers() -> tuple[str, ...]:
    found = []
    for line in read_small(RESOLV_CONF).splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "nameserver":
            try:
                found.append(str(ip_address(words[1].partition("%")[0])))
            except ValueError:
                continue
    return tuple(found)
