"""The way to a peer, and what of a plan touches it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_interface, ip_network
from typing import Any

from msgspec import Struct

from reconciler.planner.plan import Action, Op, Plan
from reconciler.resources.address import Address
from reconciler.resources.link import Link
from reconciler.resources.neighbour import Neighbour
from reconciler.resources.nft import NftChain
from reconciler.resources.ovs import OvsPort
from reconciler.resources.resource import Key, Observed, Resource
from reconciler.resources.route import Route
from reconciler.resources.sysctl import Sysctl

IPAddress = IPv4Address | IPv6Address
_HOOKS = frozenset(("input", "output", "prerouting", "ingress", "egress"))
_HARMLESS = frozenset(("txqlen", "existing"))


class Way(Struct, frozen=True):
    """How this host reaches ``peer`` now: by the route to ``to`` (CIDR, table, metric) over ``via`` (None: on the
    link) out of ``dev``, with our address ``local``. ``links`` are all interfaces of the host that it depends on:
    ``dev``, what that rides on, its ports. ``learned``: the route came by router advertisement. ``known_by`` says
    who the peer is."""

    peer: IPAddress
    known_by: str
    dev: str
    to: str
    table: int = 254
    metric: int = 0
    via: str | None = None
    local: IPAddress | None = None
    links: frozenset[str] = frozenset()
    learned: bool = False

    def __str__(self) -> str:
        return f"{self.to}{f' via {self.via}' if self.via else ''} dev {self.dev}"


def touching(plan: Plan, way: Way, items: Mapping[Key, Observed]) -> tuple[str, ...]:
    """Steps that could cut the way off, each in words. Empty: the plan leaves it alone."""
    found: list[str] = []
    for op in plan.ops():
        found += _touches(op, way, items, plan)
        along = [key for key in op.also_removes if _is_part(key, way, items)]
        if along:
            found.append(f"{op.action} {op.key} takes along {', '.join(map(str, along))}")
    return tuple(dict.fromkeys(found))


def _is_part(key: Key, way: Way, items: Mapping[Key, Observed]) -> bool:
    """Whether the way ends when this goes."""
    if key.netns:
        return False
    seen = items.get(key)
    resource = seen.resource if seen is not None else None
    if key.kind == "link":
        return key.name in way.links
    if isinstance(resource, Address):
        return resource.dev in way.links and ip_interface(resource.address).ip == way.local
    if isinstance(resource, Route):
        return (resource.to, resource.table, resource.metric) == (way.to, way.table, way.metric)
    return isinstance(resource, Neighbour) and resource.address in (way.via, str(way.peer))


def _touches(op: Op, way: Way, items: Mapping[Key, Observed], plan: Plan) -> Iterable[str]:
    resource = op.resource
    if isinstance(resource, Link):
        yield from _link(op, resource, way)
    if op.key.netns:
        return
    if op.action is Action.DELETE and not resource.setting:
        if op.key.kind != "link" and _is_part(op.key, way, items):
            yield f"{op.key} {'is made anew' if op.recreate else 'is deleted'}"
    elif isinstance(resource, Address):
        yield from _address(op, resource, way)
    elif isinstance(resource, Route):
        yield from _route(op, resource, way, items)
    elif isinstance(resource, Neighbour):
        if resource.address in (way.via, str(way.peer)):
            yield f"{op.key} is set by hand"
    elif isinstance(resource, Sysctl):
        yield from _sysctl(op, resource, way, items, plan)
    elif isinstance(resource, NftChain):
        yield from _chain(op, resource, way)
    elif isinstance(resource, OvsPort):
        yield from _port(op, resource, way)
    elif resource.kind == "rule":
        yield from _rule(op, resource, way)


def _link(op: Op, link: Link, way: Way) -> Iterable[str]:
    device = (link.device or "").partition(":")[2].partition("/")[0]
    if (link.device or "").startswith("pf:") and device in way.links:
        yield f"{op.key}: interface {device} is moved into a sandbox"
    if getattr(link.info, "mode", "") == "passthru" and link.parent is not None and link.parent.name in way.links:
        yield f"{op.key} takes over {link.parent.name} whole"
    if op.key.netns or op.key.name not in way.links:
        return
    if op.action is Action.DELETE:
        yield f"{op.key} {'is made anew' if op.recreate else 'is deleted'}"
    elif op.before is not None and op.after is not None:
        changed = set(op.before.differs(op.after)) - _HARMLESS
        if changed:
            yield f"{op.key} changes: {', '.join(sorted(changed))}"


def _port(op: Op, port: OvsPort, way: Way) -> Iterable[str]:
    """What comes in by an interface that is a port of a switch no longer reaches the host's own stack."""
    if op.action is Action.CREATE or op.action is Action.ADOPT:
        for interface in port.interfaces or ():
            if interface.on_link and interface.name in way.links:
                yield f"{op.key}: interface {interface.name} becomes a port of bridge {port.bridge}"


def _address(op: Op, address: Address, way: Way) -> Iterable[str]:
    interface = ip_interface(address.address)
    if interface.version != way.peer.version or op.action is not Action.CREATE:
        return
    if interface.ip == way.peer:
        yield f"{op.key} would be our own address"
    elif (
        way.peer in interface.network
        and address.dev not in way.links
        and interface.network.prefixlen >= ip_network(way.to).prefixlen
    ):
        yield f"{op.key}: its subnet would lead to {address.dev} instead"


def _route(op: Op, route: Route, way: Way, items: Mapping[Key, Observed]) -> Iterable[str]:
    to = ip_network(route.to)
    if to.version != way.peer.version or way.peer not in to:
        return
    if op.action is not Action.CREATE and _is_part(op.key, way, items):
        yield f"{op.key} changes"
        return
    now = ip_network(way.to).prefixlen
    preferred = to.prefixlen > now or (to.prefixlen == now and route.metric <= way.metric)
    if preferred and (route.dev, route.via or None) != (way.dev, way.via):
        yield f"{op.key}{f' via {route.via}' if route.via else ''} dev {route.dev or route.type} would lead elsewhere"


def _sysctl(op: Op, sysctl: Sysctl, way: Way, items: Mapping[Key, Observed], plan: Plan) -> Iterable[str]:
    path = op.key.name
    if way.peer.version != 6:
        return
    after = sysctl.value
    if path in [f"net/ipv6/conf/{name}/disable_ipv6" for name in ("all", *way.links)] and after != "0":
        yield f"{op.key} = {after} turns IPv6 off"
    if not way.learned:
        return
    accept = f"net/ipv6/conf/{way.dev}/accept_ra"
    coming = {step.key.name: step.resource for step in plan.ops() if isinstance(step.resource, Sysctl)}
    seen = items.get(Key("sysctl", "", accept))
    last = coming.get(accept) or (seen.resource if seen is not None else None)
    stays = isinstance(last, Sysctl) and last.value == "2"
    forwarding = path in ("net/ipv6/conf/all/forwarding", f"net/ipv6/conf/{way.dev}/forwarding") and after == "1"
    if (forwarding and not stays) or (path == accept and after != "2"):
        yield f"{op.key} = {after} drops the default route that a router advertised (accept_ra of {way.dev} is not 2)"


def _chain(op: Op, chain: NftChain, way: Way) -> Iterable[str]:
    """Filters that this host's own packets pass. Rules about other interfaces do not count."""
    if chain.hook not in _HOOKS:
        return
    if chain.policy == "drop":
        yield f"{op.key} drops what no rule accepts"
    for rule in chain.rules or ():
        statements = json.loads(rule.expr)
        if any("drop" in item or "reject" in item for item in statements) and not _elsewhere(statements, way):
            yield f"{op.key}: rule {rule.comment!r} drops packets"


def _elsewhere(statements: Iterable[Mapping[str, Any]], way: Way) -> bool:
    """Whether a rule is only about interfaces or addresses that the way does not use."""
    for item in statements:
        match = item.get("match")
        if not isinstance(match, dict) or match.get("op") not in ("==", "in"):
            continue
        left, right = match.get("left"), match.get("right")
        names = right.get("set", ()) if isinstance(right, dict) else [right]
        if isinstance(left, dict) and left.get("meta", {}).get("key") in ("iifname", "oifname"):
            if isinstance(right, str) and right.startswith("@"):
                return True  # our sets hold interfaces of our networks
            if not way.links.intersection(str(name).rstrip("*") for name in names):
                return True
    return False


def _rule(op: Op, rule: Resource, way: Way) -> Iterable[str]:
    """A policy routing rule, unless its selectors cannot match."""
    data = rule.data()
    if data.get("iif") or data.get("fwmark"):
        return
    for name, address in (("from", way.local), ("src", way.local), ("source", way.local), ("to", way.peer)):
        prefix = data.get(name)
        if prefix and address is not None and address not in ip_network(str(prefix), strict=False):
            return
    yield f"{op.key} decides which routes count"
