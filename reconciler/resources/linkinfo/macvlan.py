"""Macvlan interfaces: further MAC addresses on a parent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Self

from msgspec.structs import replace

from reconciler.netlink.table import I32, MAC, U16, U32, Attribute, Codec, Table, bits, choice, listed
from reconciler.netlink.wire import u32
from reconciler.resources.linkinfo.info import LinkInfo
from reconciler.resources.resource import Claim, Key

MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8, "source": 16}
FLAGS = {"nopromisc": 1, "nodst": 2}
_MACADDR, _MACADDR_MODE, _MACADDR_SET = 4, 3, 3
_BC_CUTOFF = 1  # what the kernel does not tell because it is the default

_MACS = listed(_MACADDR, MAC)
_SORTED = Codec(_MACS.encode, lambda data: tuple(sorted(_MACS.decode(data))))  # a hash table: no order of its own


class Macvlan(LinkInfo, frozen=True, kw_only=True):
    """IFLA_MACVLAN_*. ``mode``: private | vepa | bridge | passthru | source. ``flags``: nopromisc (passthru only),
    nodst (source only). ``bc_queue_len`` in packets. ``bc_cutoff`` belongs to the parent, and so to all on it
    (Linux 6.4). ``sources``: MAC addresses that mode source listens to, sorted."""

    type: ClassVar[str] = "macvlan"
    table: ClassVar[Table] = Table(
        mode=Attribute(1, choice(U32, MODES)),
        flags=Attribute(2, bits(U16, FLAGS)),
        sources=Attribute(5, _SORTED, nested=True, absent=()),
        bc_queue_len=Attribute(7, U32),
        bc_cutoff=Attribute(9, I32, absent=_BC_CUTOFF),
    )
    flaps: ClassVar[frozenset[str]] = frozenset(("mode",))
    # A mode that is written drops the sources of before (macvlan_changelink in drivers/net/macvlan.c).
    together: ClassVar[frozenset[str]] = frozenset(("mode", "sources"))

    mode: str | None = None
    flags: tuple[str, ...] | None = None
    sources: tuple[str, ...] | None = None
    bc_queue_len: int | None = None
    bc_cutoff: int | None = None

    def encode(self) -> bytes:
        if self.sources is None:
            return LinkInfo.encode(self)
        if self.mode not in (None, "source"):  # it has none then, and takes no word about them
            return LinkInfo.encode(replace(self, sources=None))
        return u32(_MACADDR_MODE, _MACADDR_SET) + LinkInfo.encode(self)

    def obstacle(self, new: Self) -> str:
        if new.mode is not None and self.mode != new.mode and "passthru" in (self.mode, new.mode):
            return "mode: passthru is taken or left only when the interface is made"
        return ""

    def rides(self, parent: Key) -> Iterable[Claim]:
        """The parent's receive handler: macvlan and ipvlan cannot both have it, passthru wants it for itself, and a
        MAC address is there once. So what goes from a parent goes before what comes."""
        yield Claim("rx-handler", parent.netns, parent.name)


INFO = Macvlan
