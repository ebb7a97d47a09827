"""What every kind of interface brings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Self

from msgspec.structs import replace

from reconciler.netlink.table import Table
from reconciler.resources.resource import Claim, Key, Part, satisfied


class LinkInfo(Part, frozen=True, kw_only=True):
    """The fields of IFLA_INFO_DATA of one kind. As in all specs, a field left None is not managed. Subclasses add
    fields, each with an attribute of the same name in ``table``."""

    type: ClassVar[str] = ""  # the kernel's word, as in `ip link add type ...`
    table: ClassVar[Table] = Table()
    fixed: ClassVar[Mapping[str, str]] = {}  # field -> why it cannot change in place
    flaps: ClassVar[frozenset[str]] = frozenset()  # fields whose change in place interrupts traffic briefly
    together: ClassVar[frozenset[str]] = frozenset()  # fields that the kernel takes only in one message
    character_device: ClassVar[str] = ""  # its device node with {} for the index; then it has a field ``device``
    parent_attribute: ClassVar[int] = 0  # where the parent's index belongs when it is not IFLA_LINK

    def encode(self) -> bytes:
        """The attributes of the fields that are not None."""
        return self.table.encode({name: getattr(self, name) for name in self.__struct_fields__})

    def obstacle(self, new: Self) -> str:
        """Why this, as seen, cannot become ``new`` in place; "" when it can."""
        for name, reason in self.fixed.items():
            if not satisfied(getattr(self, name), getattr(new, name)):
                return f"{name}: {reason}"
        return ""

    def restorable(self) -> Self:
        """These fields, as seen, to make the interface again with: without what is only ever seen."""
        return replace(self, device=None) if self.character_device else self

    def claims(self, netns: str) -> Iterable[Claim]:
        """What there can be only one of in a namespace: a VNI on a port."""
        return ()

    def rides(self, parent: Key) -> Iterable[Claim]:
        """What it occupies of its parent, so that whatever cannot share it comes later."""
        return ()
