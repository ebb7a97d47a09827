"""What a kind must bring to be held to the contract: one module in ``samples`` with ``SAMPLE``."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.resources.resource import Key, Resource


@dataclass(frozen=True)
class Sample:
    """``spec`` stands on ``base``. ``variants`` are further specs of the same key, each to be reached from ``spec``.
    ``foreign`` is a shell command that makes the same thing by hand ("" where a kind has no foreign ones).
    ``cascade`` is a key of ``base`` or of ``spec`` whose deletion the kernel extends to what it declares."""

    spec: Resource
    base: tuple[Resource, ...] = ()
    variants: tuple[Resource, ...] = ()
    foreign: str = ""
    cascade: tuple[Key, ...] = ()
    setup: str = ""  # a shell command that makes what it needs of hardware or files
    requires: tuple[str, ...] = ()  # what the kernel must have, beyond what all tests here need
    given: str = ""  # a shell command that makes what cnm only builds on; none of the other tests is for such
    beside: tuple[Resource, ...] = ()  # made too, so that cascades have something to take

    @property
    def given_base(self) -> tuple[Resource, ...]:
        """What of its base cnm only builds on."""
        return tuple(resource for resource in self.base if resource.awaited())
