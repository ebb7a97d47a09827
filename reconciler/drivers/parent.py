"""The interface of the host that a network rides on, and the VLAN sub-interfaces that are made for it on demand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from reconciler.errors import Origin
from reconciler.resources.link import Link, link_key
from reconciler.resources.linkinfo.dummy import Dummy
from reconciler.resources.linkinfo.vlan import Vlan
from reconciler.resources.resource import Resource
from reconciler.resources.sysctl import Sysctl, sysctl_key
from reconciler.topology.derive import short_name
from reconciler.topology.view import HostLink, NodeFacts

VlanProtocol = Literal["802.1Q", "802.1ad"]
MAX_VLAN = 4094  # IEEE 802.1Q: 0 is priority only, 4095 is reserved


class SubInterface(Struct, frozen=True):
    """One tag on an interface: ``name`` rides on ``below``."""

    name: str
    below: str
    id: int
    protocol: VlanProtocol


class Parent(Struct, frozen=True):
    """What a network rides on: ``base`` is somebody else's and only used; ``subs`` are ours, the outermost tag first.
    ``dummy`` True: there is no base in the world outside, we make one that leads nowhere."""

    base: str
    subs: tuple[SubInterface, ...] = ()
    dummy: bool = False

    @property
    def name(self) -> str:
        """The interface that endpoints ride on."""
        return self.subs[-1].name if self.subs else self.base

    def render(self, node: NodeFacts, origin: Origin) -> Iterable[Resource]:
        """The sub-interfaces, or the dummy. Two networks on one parent ask for the very same."""
        if self.dummy:
            yield Link(key=link_key("", self.base), origin=origin, type="dummy", up=True, addr_gen="none", info=Dummy())
            yield _without_ipv6(self.base, origin)
        found = host_link(node, self.base)
        for sub in self.subs:
            yield Link(
                key=link_key("", sub.name),
                origin=origin,
                type="vlan",
                # On a parent that is down it cannot be up; the kernel brings it up together with that.
                up=True if found is None or found.up else None,
                mtu=found.mtu if found is not None else None,
                addr_gen="none",
                parent=link_key("", sub.below),
                info=Vlan(id=sub.id, protocol=sub.protocol),
            )
            yield _without_ipv6(sub.name, origin)


def _without_ipv6(name: str, origin: Origin) -> Sysctl:
    """The host itself is not on that network: it must not take an address from a router there."""
    key = sysctl_key("", f"net/ipv6/conf/{name}/disable_ipv6")
    return Sysctl(key=key, origin=origin, value="1", dev=name)


def host_link(facts: NodeFacts, name: str) -> HostLink | None:
    """The host's interface of that name, when it is known and not ours."""
    return next((link for link in facts.links if link.name == name), None)


def parent_of(name: str | None, network: str, vlan: int | None, protocol: VlanProtocol, facts: NodeFacts) -> Parent:
    """What ``parent: eth0.100`` and ``vlan: 10`` come to on this host: as much of it as somebody else made is the
    base, the rest are sub-interfaces to be made. ``protocol`` is that of the outermost tag; tags inside it are
    802.1Q. No name: a dummy interface of the network's own."""
    if name is None:
        return Parent(short_name("dm-", "dummy", network), dummy=True)
    base, tags = _split(name)
    subs: list[SubInterface] = []
    below = base
    for text in tags:
        subs.append(SubInterface(f"{below}.{text}", below, int(text), protocol if not subs else "802.1Q"))
        below = subs[-1].name
    if vlan is not None:
        dotted = f"{below}.{vlan}"
        own = dotted if len(dotted.encode()) <= 15 else short_name("vl-", "vlan", below, str(vlan))
        subs.append(SubInterface(own, below, vlan, protocol if not subs else "802.1Q"))
    standing = {link.name for link in facts.links}
    for number in range(len(subs), 0, -1):
        if subs[number - 1].name in standing:
            return Parent(subs[number - 1].name, tuple(subs[number:]))
    return Parent(base, tuple(subs))


def _split(name: str) -> tuple[str, list[str]]:
    """(``eth0``, [``100``, ``10``]) of ``eth0.100.10``."""
    base, *rest = name.split(".")
    tags: list[str] = []
    while rest and rest[-1].isascii() and rest[-1].isdigit():
        tags.insert(0, rest.pop())
    base = ".".join((base, *rest))
    return (base, tags) if base else (name, [])
