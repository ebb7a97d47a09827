"""What drivers' options can say to whoever resolves documents: base classes with the answers of most drivers."""

from __future__ import annotations

from typing import Literal

from reconciler.manifest.model import Model
from reconciler.topology.view import NodeFacts

DEFAULT_MTU = 1500

Gateway = Literal["first", "written", "never"]


class NetworkOptions(Model):
    """Options of a driver. Subclasses add fields, and override what is otherwise for them."""

    def gateway(self, version: int) -> Gateway:
        """Which gateway address a subnet of this IP version has: ``first``: the first free address when the manifest
        names none; ``written``: only the one that it names; ``never``: none at all."""
        return "first"

    def default_mtu(self, facts: NodeFacts) -> int:
        """The MTU in bytes of a network whose manifest says none."""
        return min(DEFAULT_MTU, facts.uplink_mtu)


class EndpointOptions(Model):
    """Options that an endpoint has on a network of a driver: most drivers know none."""
