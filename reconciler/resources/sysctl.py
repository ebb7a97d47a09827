"""Sysctls: values on things that always stand. They are set, remembered in the inventory, and put back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from reconciler.resources.link import link_key
from reconciler.resources.netns import netns_key
from reconciler.resources.resource import Key, Need, Resource


def sysctl_key(netns: str, path: str) -> Key:
    """The key of a sysctl; ``path`` is relative to /proc/sys and written with slashes, so that interface
    names with dots stay unambiguous: ``net/ipv4/conf/eth0.10/rp_filter``."""
    return Key("sysctl", netns, path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysctl(Resource):
    """One value. ``dev`` names the interface when it is a per-interface value. ``first`` are sysctls that must
    be written before this one (accept_ra before forwarding)."""

    kind: ClassVar[str] = "sysctl"
    batch: ClassVar[str] = "sysctl"
    setting: ClassVar[bool] = True

    value: str
    dev: str | None = None
    first: tuple[Key, ...] | None = None

    def needs(self) -> Iterable[Need]:
        if self.dev is not None:
            yield Need((link_key(self.key.netns, self.dev),))
        elif self.key.netns:
            yield Need((netns_key(self.key.netns),))
        for key in self.first or ():
            yield Need((key,))

    def hangs_on(self) -> Iterable[Key]:
        if self.dev is not None:
            yield link_key(self.key.netns, self.dev)
        elif self.key.netns:
            yield netns_key(self.key.netns)

    def group(self) -> Key | None:
        return link_key(self.key.netns, self.dev) if self.dev is not None else None


KINDS = (Sysctl,)
