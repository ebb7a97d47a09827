"""Links: every kind of interface."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

from msgspec.structs import replace

from reconciler.resources.linkinfo.info import LinkInfo
from reconciler.resources.linkinfo.registry import infos
from reconciler.resources.netns import netns_key
from reconciler.resources.resource import Change, Claim, Impact, Key, Need, Part, Resource, Seen, Shapes, satisfied


def link_key(netns: str, name: str) -> Key:
    """The key of an interface."""
    return Key("link", netns, name)


class Peer(Part, frozen=True, kw_only=True):
    """The other end of a veth pair."""

    netns: str
    name: str


class BridgePort(Part, frozen=True, kw_only=True):
    """What a link has as a port of a bridge (IFLA_BRPORT_*)."""

    isolated: bool | None = None
    hairpin: bool | None = None
    learning: bool | None = None
    neigh_suppress: bool | None = None


class Link(Resource, frozen=True, kw_only=True):
    """One interface. ``type`` is the kernel's kind (``bridge``, ``veth``; ``""`` for hardware), ``info`` what only that
    kind has.

    ``master`` is the name of the bridge it is a port of, ``""`` for none. ``parent`` is the interface that it rides on
    (macvlan, vlan, vxlan), which may be in another namespace. ``addr_gen`` is ``none`` or
    ``eui64``: whether the kernel adds an IPv6 link-local address by itself. ``peer`` is set on the end of a
    veth pair that makes the pair; the other end names it in ``maker``. ``device`` is hardware of the host that is
    moved into the sandbox and given back: ``pf:NAME``, ``vf:PF/NUMBER``; or ``ovs:PORT``, what Open vSwitch made for a port
    of ours, which keeps its name; or ``rep:PF/NUMBER``, the representor of a virtual function, which stays on the host, has
    the key's name while it is a port of ours, and is given back as well. ``existing`` True: made by
    somebody else, only built on. ``first`` must stand before it: what keeps a tunnel from sending in the clear.
    """

    kind: ClassVar[str] = "link"
    batch: ClassVar[str] = "link"
    marked: ClassVar[str] = "itself"
    fixed: ClassVar[Mapping[str, str]] = {
        "type": "an interface cannot change its kind",
        "peer": "the ends of a veth pair cannot be exchanged",
        "maker": "the ends of a veth pair cannot be exchanged",
        "parent": "an interface keeps its parent",
        "device": "it is another device",
    }
    flaps: ClassVar[frozenset[str]] = frozenset(("mac", "master"))

    type: str | None = None
    up: bool | None = None
    mtu: int | None = None
    mac: str | None = None
    master: str | None = None
    addr_gen: str | None = None
    txqlen: int | None = None
    peer: Peer | None = None
    maker: Key | None = None
    parent: Key | None = None
    info: LinkInfo | None = None
    port: BridgePort | None = None
    first: tuple[Key, ...] | None = None
    existing: bool | None = None
    device: str | None = None

    def needs(self) -> Iterable[Need]:
        if self.key.netns:
            yield Need((netns_key(self.key.netns),))
        if self.peer is not None and self.peer.netns:
            yield Need((netns_key(self.peer.netns),))
        if self.device is not None:
            how, _, what = self.device.partition(":")
            if how == "ovs":
                yield Need((Key("ovs-port", "", what),))
                return
            pf = what.rpartition("/")[0] if how in ("vf", "rep") else what
            nic = (Key("vf", "", what), link_key("", pf))
            # A representor comes with the mode of the NIC's switch, and goes with it.
            yield Need((*nic, Key("sriov", "", pf)) if how == "rep" else nic, f"there is no interface {pf}")
        if self.parent is not None:
            yield Need((self.parent,), f"there is no interface {self.parent.name}")
        for key in self.first or ():
            yield Need((key,))
        if self.master:
            yield Need((link_key(self.key.netns, self.master),), f"there is no interface {self.master}")

    def hangs_on(self) -> Iterable[Key]:
        made = self.device is None or self.device.startswith("ovs:")
        if self.key.netns and made:  # hardware does not go with its namespace
            yield netns_key(self.key.netns)
        if self.device is not None and made:
            yield Key("ovs-port", "", self.device.removeprefix("ovs:"))
        if self.maker is not None:
            yield self.maker
        if self.peer is not None:
            yield link_key(self.peer.netns, self.peer.name)
        if self.parent is not None:
            yield self.parent

    def claims(self) -> Iterable[Claim]:
        yield Claim("ifname", self.key.netns, self.key.name)
        if self.device is not None:
            yield Claim("device", "", self.device)
        if self.info is not None:
            yield from self.info.claims(self.key.netns)
            if self.parent is not None:
                yield from self.info.rides(self.parent)

    def made_by(self) -> Key | None:
        return self.maker

    def awaited(self) -> str:
        return f"there is no interface {self.key.name}" if self.existing else ""

    def guarded(self) -> bool:
        if self.device is not None and self.device.startswith("rep:"):
            return True
        return self.type in ("veth", "vxlan") or (bool(self.key.netns) and (self.parent or self.device) is not None)

    def restorable(self) -> Self | None:
        """A veth whose other end was not to be seen cannot be made again; nor can what a process made by opening
        /dev/net/tun, as a switch's daemon does for its bridges: it comes and goes with that."""
        if (self.peer is not None and self.peer.netns == "?") or self.type == "tun":
            return None
        return replace(self, first=None, info=self.info.restorable() if self.info is not None else None)

    def group(self) -> Key | None:
        return self.key

    def drops(self, new: Self, seen: Seen) -> Iterable[Key]:
        """Link down removes its routes and its global IPv6 addresses; an MTU below 1280 all of its IPv6; leaving a
        bridge what that bridge knows behind it."""
        if new.master is not None and self.master and new.master != self.master:
            yield from (r.key for r in seen.hanging_on(self.key) if r.key.kind in ("fdb", "bridge-vlan"))
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
        if change.in_place and self.info is not None and new.info is not None and self.type == new.type:
            obstacle = self.info.obstacle(new.info)
            if obstacle:
                return Change(False, Impact.OUTAGE, obstacle)
            changed = [name for name in new.info.__struct_fields__ if not satisfied(*_both(self.info, new.info, name))]
            if new.info.flaps.intersection(changed):
                return Change(True, Impact.FLAP)
        return change

    @classmethod
    def shapes(cls, spec: Mapping[str, Any]) -> Shapes:
        kind = spec.get("type")
        return {"info": infos()[kind]} if isinstance(kind, str) and kind in infos() else {}


def _both(seen: LinkInfo, wanted: LinkInfo, name: str) -> tuple[Any, Any]:
    return getattr(seen, name), getattr(wanted, name)


KINDS = (Link,)
