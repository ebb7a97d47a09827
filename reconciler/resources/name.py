"""Names that endpoints have on their networks, known to the attendant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from reconciler.resources.attended import Attended, AttendedActuator
from reconciler.resources.resource import Key


def name_key(network: str, endpoint: str) -> Key:
    """The key of an endpoint's names."""
    return Key("name", "", f"{network}/{endpoint}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Name(Attended):
    """``names`` (its own first, then aliases) lead to ``addresses`` for whoever is on ``network``, and the way back."""

    kind: ClassVar[str] = "name"
    batch: ClassVar[str] = "name"

    network: str
    names: tuple[str, ...]
    addresses: tuple[str, ...]


KINDS = (Name,)
ACTUATOR = AttendedActuator(Name)
