"""Links: every kind of interface."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from reconciler.resources.netns import netns_key
from reconciler.resources.resource import Change, Claim, Impact, Key, Need, Resource, Seen


def link_key(netns: str, name: str) -> Key:
    """The key of an interface."""
    return Key("link", netns, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The other end of a veth pair."""

    netns: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """What only a bridge has (IFLA_BR_*). Times in seconds as ip-link(8) shows them, kept in centiseconds."""

    stp: bool | None = None
    priority: int | None = None
    forward_delay: int | None = None  # centiseconds
    hello_time: int | None = None  # centiseconds
    max_age: int | None = None  # centiseconds
    ageing_time: int | None = None  # centiseconds
    group_fwd_mask: int | None = None
    mcast_snooping: bool | None = None
    mcast_querier: bool | None = None
    vlan_filtering: bool | None = None
    nf_call_iptables: bool | None = None
    nf_call_ip6tables: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgePort:
    """What a link has as a port of a bridge (IFLA_BRPORT_*)."""

    isolated: bool | None = None
    hairpin: bool | None = None
    learning: bool | None = None
    neigh_suppress: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Link(Resource):
    """One interface. ``type`` is the kernel's kind (``bridge``, ``veth``; ``""`` for hardware).

    ``master`` is the name of the bridge it is a port of, ``""`` for none. ``addr_gen`` is ``none`` or
    ``eui64``: whether the kernel adds an IPv6 link-local address by itself. ``peer`` is set on the end of a
    veth pair that makes the pair; the other end names it in ``maker``. ``existing`` True: made by
    somebody else, only built on.
    """

    kind: ClassVar[str] = "link"
    batch: ClassVar[str] = "link"
    marked: ClassVar[str] = "itself"
    fixed: ClassVar[Mapping[str, str]] = {
        "type": "an interface cannot change its kind",
        "peer": "the ends of a veth pair cannot be exchanged",
        "maker": "the ends of a veth pair cannot be exchanged",
    }
    flaps: ClassVar[frozenset[str]] = frozenset(("mac", "master"))

    type: str = ""
    up: bool | None = None
    mtu: int | None = None
    mac: str | None = None
    master: str | None = None
    addr_gen: str | None = None
    txqlen: int | None = None
    peer: Peer | None = None
    maker: Key | None = None
    bridge: Bridge | None = None
    port: BridgePort | None = None
    existing: bool | None = None

    def needs(self) -> Iterable[Need]:
        if self.key.netns:
            yield Need((netns_key(self.key.netns),))
        if self.peer is not None and self.peer.netns:
            yield Need((netns_key(self.peer.netns),))
        if self.master:
            yield Need((link_key(self.key.netns, self.master),), f"there is no interface {self.master}")

    def hangs_on(self) -> Iterable[Key]:
        if self.key.netns:
            yield netns_key(self.key.netns)
        if self.maker is not None:
            yield self.maker
        if self.peer is not None:
            yield link_key(self.peer.netns, self.peer.name)

    def claims(self) -> Iterable[Claim]:
        yield Claim("ifname", self.key.netns, self.key.name)

    def made_by(self) -> Key | None:
        return self.maker

    def awaited(self) -> str:
        return f"there is no interface {self.key.name}" if self.existing else ""

    def guarded(self) -> bool:
        return self.type == "veth"

    def group(self) -> Key | None:
        return self.key

    def drops(self, new: Self, seen: Seen) -> Iterable[Key]:
        """Link down removes its routes and its global IPv6 addresses; an MTU below 1280 all of its IPv6."""
        down = bool(self.up) and new.up is False
        no_ipv6 = new.mtu is not None and new.mtu < 1280 and (self.mtu or 0) >= 1280
        if not (down or no_ipv6):
            return
        for resource in seen.hanging_on(self.key):
            kind, name = resource.key.kind, resource.key.name
            if (kind == "route" and (down or ":" in name)) or (kind == "address" and ":" in name):
                yield resource.key

    def change_to(self, new: Self) -> Change:
        change = Resource.change_to(self, new)
        if change.in_place and self.up and new.up is False:
            return Change(True, Impact.OUTAGE)
        return change


KINDS = (Link,)
