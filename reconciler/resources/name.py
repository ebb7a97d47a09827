"""Names that endpoints have on their networks, known to the attendant."""

from __future__ import annotations

from typing import ClassVar

from reconciler.resources.attended import Attended, AttendedActuator
from reconciler.resources.resource import Key


def name_key(network: str, endpoint: str) -> Key:
    """The key of an endpoint's names."""
    return Key("name", "", f"{network}/{endpoint}")


class Name(Attended, frozen=True, kw_only=True):
    """``names`` (its own first, then aliases) lead to ``addresses`` for whoever is on ``network``, and the way back."""

    kind: ClassVar[str] = "name"
    batch: ClassVar[str] = "name"

    network: str
    names: tuple[str, ...]
    addresses: tuple[str, ...]


KINDS = (Name,)
ACTUATOR = AttendedActuator(Name)
