"""Small worlds for tests of the planner, and plans as lines that can be read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from reconciler.errors import Origin
from reconciler.planner.diff import make_plan
from reconciler.planner.plan import Action, Observation, Plan
from reconciler.resources.address import Address, address_key
from reconciler.resources.link import Link, Peer, link_key
from reconciler.resources.netns import Netns, netns_key
from reconciler.resources.nft import NftChain, NftElement, NftSet, NftTable, chain_key, element_key, set_key, table_key
from reconciler.resources.resource import Observed, Resource
from reconciler.resources.route import Route, route_key
from reconciler.resources.sysctl import Sysctl, sysctl_key

OWNER = "cnm"


def bridge(name: str = "br0", **spec: Any) -> Link:
    return Link(key=link_key("", name), type="bridge", up=True, **spec)


def veth(sandbox: str, master: str = "br0", **spec: Any) -> tuple[Link, Link]:
    """A pair: the end in the host, which makes it, and eth0 in the sandbox."""
    host, inner = link_key("", f"ve-{sandbox}"), link_key(sandbox, "eth0")
    maker = Link(key=host, type="veth", up=True, master=master, peer=Peer(netns=sandbox, name="eth0"), **spec)
    return maker, Link(key=inner, type="veth", up=True, maker=host, **spec)


def netns(name: str, **spec: Any) -> Netns:
    return Netns(key=netns_key(name), **spec)


def address(dev: str, cidr: str, netns: str = "", **spec: Any) -> Address:
    return Address(key=address_key(netns, dev, cidr), dev=dev, address=cidr, **spec)


def route(to: str, dev: str | None = None, netns: str = "", **spec: Any) -> Route:
    return Route(key=route_key(netns, to), to=to, dev=dev, **spec)


def sysctl(path: str, value: str, netns: str = "", **spec: Any) -> Sysctl:
    return Sysctl(key=sysctl_key(netns, path), value=value, **spec)


def sandbox(name: str, cidr: str = "10.0.0.2/24") -> tuple[Resource, ...]:
    """A namespace on br0 with an address and a default route."""
    return (
        netns(name),
        *veth(name),
        address("eth0", cidr, name),
        route("0.0.0.0/0", "eth0", name, via="10.0.0.1"),
    )


def filter_table() -> tuple[Resource, ...]:
    return (
        NftTable(key=table_key("inet", "cnm")),
        NftChain(key=chain_key("inet", "cnm", "forward"), type="filter", hook="forward", priority=0, policy="accept"),
        NftSet(key=set_key("inet", "cnm", "bridges"), type="ifname"),
        NftElement(key=element_key("inet", "cnm", "bridges", "br0")),
    )


def asked_by(document: str, *resources: Resource) -> tuple[Resource, ...]:
    return tuple(replace(resource, origin=Origin("net.yaml", 1, 1, document)) for resource in resources)


def seen(*groups: Iterable[Resource], foreign: Iterable[Resource] = (), partial: tuple[str, ...] = ()) -> Observation:
    """A host where ``groups`` are ours and ``foreign`` is nobody's."""
    items = {resource.key: Observed(resource, OWNER) for group in groups for resource in group}
    return Observation(items | {resource.key: Observed(resource) for resource in foreign}, partial=partial)


def plan(desired: Iterable[Resource], observation: Observation, **options: Any) -> Plan:
    return make_plan(desired, observation, owner=OWNER, node="here", **options)


_SIGNS = {Action.CREATE: "+", Action.UPDATE: "~", Action.DELETE: "-", Action.ADOPT: "<"}


def lines(made: Plan) -> list[str]:
    """``+ link/br0``, in the order in which they are done."""
    return [f"{_SIGNS[op.action]} {op.key}" for op in made.ops()]


def stages(made: Plan) -> list[list[str]]:
    """:func:`lines`, one list a stage."""
    return [[f"{_SIGNS[op.action]} {op.key}" for batch in stage for op in batch.ops] for stage in made.stages]


def reasons(made: Plan) -> dict[str, str]:
    return {op.id: op.reason for op in made.ops()}


def told(made: Plan) -> list[str]:
    return [problem.message for problem in made.conflicts]
