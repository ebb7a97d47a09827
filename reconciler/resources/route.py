"""Routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from errno import EEXIST, EHOSTUNREACH, ENETUNREACH, ENODEV, ENOENT, ESRCH
from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING, ClassVar

from reconciler.netlink import route as wire
from reconciler.netlink.address import RTM_GETADDR, decode_address, dump_addresses
from reconciler.netlink.mark import PROTOCOL
from reconciler.netlink.wire import Refusal
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.belief import owner_by_protocol
from reconciler.resources.link import link_key
from reconciler.resources.netns import netns_key
from reconciler.resources.requests import Requests
from reconciler.resources.resource import Key, Need, Observed, Resource

if TYPE_CHECKING:
    from reconciler.host.host import Host
    from reconciler.host.namespace import Namespace

MAIN_TABLE = 254


def route_key(netns: str, to: str, metric: int = 0, table: int = MAIN_TABLE) -> Key:
    """The key of a route: ``route/@web/0.0.0.0/0``, ``route/10.0.0.0/8,metric=50,table=100``.

    ``to`` is a CIDR (``0.0.0.0/0`` and ``::/0`` are the default routes). The kernel's default metric is 0 for
    IPv4 and 1024 for IPv6; both are left out of the name.
    """
    if metric == 1024 and ":" in to:
        metric = 0
    name = to + (f",metric={metric}" if metric else "") + (f",table={table}" if table != MAIN_TABLE else "")
    return Key("route", netns, name)


class Route(Resource, frozen=True, kw_only=True):
    """A route. ``type`` is ``unicast``, ``blackhole``, ``unreachable`` or ``prohibit``; ``dev`` and ``via`` as in
    ip-route(8), "" for none. ``protocol`` (RTPROT_*) is only observed, on what is not ours: it is put back with it."""

    kind: ClassVar[str] = "route"
    batch: ClassVar[str] = "route"
    marked: ClassVar[str] = "link"
    follows: ClassVar[tuple[str, ...]] = ("address", "sysctl", "neighbour")

    to: str
    metric: int = 0
    table: int = MAIN_TABLE
    type: str = "unicast"
    dev: str | None = None
    via: str | None = None
    src: str | None = None
    onlink: bool | None = None
    protocol: int | None = None

    def identity(self) -> Key:
        return route_key(self.key.netns, self.to, self.metric, self.table)

    def needs(self) -> Iterable[Need]:
        if self.dev is not None:
            yield Need((link_key(self.key.netns, self.dev),))
        elif self.key.netns:
            yield Need((netns_key(self.key.netns),))

    def hangs_on(self) -> Iterable[Key]:
        if self.dev is not None:
            yield link_key(self.key.netns, self.dev)
        elif self.key.netns:
            yield netns_key(self.key.netns)

    def group(self) -> Key | None:
        return link_key(self.key.netns, self.dev) if self.dev is not None else None


class RouteActuator:
    """Reads and writes routes. Those that the kernel makes by itself (for an address, by router advertisement,
    as a cache) are left out."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        for name in scope.netns:
            if name in host.open_namespaces():
                yield from self._read(host, host.netns(name))

    def _read(self, host: Host, namespace: Namespace) -> Iterable[Observed]:
        names = namespace.names()
        for raw in namespace.rtnl.dump(wire.RTM_GETROUTE, wire.dump_routes(), wire.decode_route):
            if raw.protocol in (wire.RTPROT_KERNEL, wire.RTPROT_RA) or raw.cloned or raw.type not in _TYPES:
                continue
            ipv6 = ":" in raw.to
            metric = 0 if ipv6 and raw.metric == _IPV6_METRIC else raw.metric
            key = route_key(namespace.name, raw.to, metric, raw.table)
            unicast = raw.type == wire.RTN_UNICAST
            spec = Route(
                key=key,
                to=raw.to,
                metric=metric,
                table=raw.table,
                type=wire.TYPES[raw.type],
                dev=names.get(raw.ifindex) if unicast else None,
                via=raw.via,
                src=raw.src,
                onlink=raw.onlink,
                protocol=raw.protocol if raw.protocol != PROTOCOL else None,
            )
            yield Observed(spec, owner_by_protocol(host, namespace, raw.ifindex if unicast else 0, raw.protocol, key))

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        requests = Requests(host)
        outcomes = {op.id: Outcome(op.id) for op in ops}
        for op in ops:
            spec = op.before if op.action == "delete" else op.after
            assert isinstance(spec, Route)
            netns = op.key.netns
            index = 0
            if spec.dev is not None:
                here = netns in host.open_namespaces()
                index = host.netns(netns).index.get(spec.dev, 0) if here else 0
                if not index:
                    if op.action != "delete":
                        outcomes[op.id] = Outcome(op.id, ENODEV, f"there is no interface {spec.dev}")
                    continue
            if op.action == "delete":
                request = wire.delete_route(
                    spec.to, index, PROTOCOL, via=spec.via or None, metric=spec.metric, table=spec.table, kind=spec.type
                )
                requests.add(netns, op.id, request, forgive=(ESRCH, ENODEV, ENOENT))
                continue
            request = wire.new_route(
                spec.to,
                index,
                spec.protocol or wire.RTPROT_BOOT if op.unmarked else PROTOCOL,
                via=spec.via or None,
                src=spec.src or None,
                metric=spec.metric,
                table=spec.table,
                kind=spec.type,
                onlink=bool(spec.onlink),
                replace=op.action != "create",
            )
            requests.add(netns, op.id, request)
        refused = requests.send()
        unreachable = [op for op in ops if op.id in refused and refused[op.id].errno in (ENETUNREACH, EHOSTUNREACH)]
        if unreachable:
            refused = _once_more(host, unreachable, refused)
        taken = [op for op in ops if op.id in refused and refused[op.id].errno == EEXIST]
        standing = {
            seen.resource.key: seen
            for netns in sorted({op.key.netns for op in taken})
            for seen in self._read(host, host.netns(netns))
        }
        for op in taken:  # made already, by us, as wanted: a success
            seen = standing.get(op.key)
            if (
                seen is not None
                and seen.owner == owner
                and op.after is not None
                and not seen.resource.differs(op.after)
            ):
                del refused[op.id]
        for op_id, refusal in refused.items():
            outcomes[op_id] = Outcome(op_id, *refusal)
        return outcomes.values()


def _once_more(host: Host, ops: Sequence[OpView], refused: Mapping[str, Refusal]) -> dict[str, Refusal]:
    """Somebody took away the route that the kernel made for an address, through which the gateway is reached
    (``ip route flush table main``): make it as the kernel does (fib_add_ifaddr, addrconf_prefix_route), and try again."""
    left = dict(refused)
    for op in ops:
        spec = op.after
        if not isinstance(spec, Route) or spec.via is None or spec.dev is None:
            continue
        namespace = host.netns(op.key.netns)
        index = namespace.index.get(spec.dev, 0)
        requests = []
        for raw in namespace.rtnl.dump(RTM_GETADDR, dump_addresses(), decode_address):
            network = ip_interface(f"{raw.address}/{raw.prefix}").network
            if raw.ifindex == index and ip_address(spec.via) in network:
                six = network.version == 6
                metric, src = (_PREFIX_METRIC, None) if six else (0, raw.address)
                requests.append(wire.new_route(str(network), index, wire.RTPROT_KERNEL, src=src, metric=metric))
        if not requests:
            continue
        namespace.rtnl.send(requests)
        again = wire.new_route(
            spec.to,
            index,
            PROTOCOL,
            via=spec.via,
            src=spec.src,
            metric=spec.metric,
            table=spec.table,
            kind=spec.type,
            onlink=bool(spec.onlink),
            replace=op.action != "create",
        )
        answer = namespace.rtnl.send([again])
        if answer:
            left[op.id] = answer[0]
        else:
            del left[op.id]
    return left


_PREFIX_METRIC = 256  # IP6_RT_PRIO_ADDRCONF
_TYPES = frozenset((1, 6, 7, 8))  # unicast, blackhole, unreachable, prohibit
_IPV6_METRIC = 1024  # what the kernel makes of no metric

KINDS = (Route,)
ACTUATOR = RouteActuator()
