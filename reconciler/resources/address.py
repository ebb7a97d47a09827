"""IP addresses on links."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from typing import ClassVar

from reconciler.resources.link import link_key
from reconciler.resources.resource import Claim, Key, Need, Resource, Seen


def address_key(netns: str, dev: str, address: str) -> Key:
    """The key of an address; ``address`` is ``192.0.2.1/24``."""
    return Key("address", netns, f"{dev}/{address}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address(Resource):
    """An address with its prefix length on an interface.

    ``nodad`` True: no duplicate address detection, so it can be used at once. ``secondary`` is only ever
    observed: an IPv4 address that goes when the primary one of its subnet goes.
    """

    kind: ClassVar[str] = "address"
    batch: ClassVar[str] = "address"
    follows: ClassVar[tuple[str, ...]] = ("sysctl",)
    fixed: ClassVar[Mapping[str, str]] = {"nodad": "the kernel takes this flag only when the address is added"}

    dev: str
    address: str
    nodad: bool | None = None
    secondary: bool | None = None

    def needs(self) -> Iterable[Need]:
        yield Need((link_key(self.key.netns, self.dev),))

    def hangs_on(self) -> Iterable[Key]:
        yield link_key(self.key.netns, self.dev)

    def claims(self) -> Iterable[Claim]:
        yield Claim("address", self.key.netns, f"{self.dev}/{self.address.partition('/')[0]}")

    def group(self) -> Key | None:
        return link_key(self.key.netns, self.dev)

    def takes_along(self, seen: Seen) -> Iterable[Key]:
        """With a primary IPv4 address go the secondaries of its subnet, the routes through that subnet and
        its permanent neighbours; with any address go the routes that name it as source."""
        mine = ip_interface(self.address)
        for other in seen.hanging_on(link_key(self.key.netns, self.dev)):
            if other.key == self.key:
                continue
            name = other.key.name
            if other.key.kind == "address" and mine.version == 4 and not self.secondary:
                if getattr(other, "secondary", None) and ip_interface(name.partition("/")[2]).network == mine.network:
                    yield other.key
            elif other.key.kind == "route":
                via, src = getattr(other, "via", None), getattr(other, "src", None)
                through = mine.version == 4 and via is not None and ip_address(via) in mine.network
                if src == str(mine.ip) or (through and not self.secondary):
                    yield other.key
            elif (
                other.key.kind == "neighbour"
                and mine.version == 4
                and not self.secondary
                and ip_address(name.partition("/")[2]) in mine.network
            ):
                yield other.key


KINDS = (Address,)
