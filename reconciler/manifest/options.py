"""What a driver adds to the manifests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import BaseModel


class OptionModels(NamedTuple):
    """What ``spec.options`` may hold: of a Network with this driver, and of an Endpoint on such a network."""

    network: type[BaseModel]
    endpoint: type[BaseModel]


Options = Mapping[str, OptionModels]  # by the driver's name
