"""Network: a set of endpoints that reach each other."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from reconciler.manifest.model import DocumentModel, Model, once
from reconciler.manifest.types import Cidr, IPAddress, Mtu, Name


class Subnet(Model):
    """One subnet of a network, and how its addresses are given out."""

    cidr: Cidr = Field(description="The subnet, like 172.20.0.0/24 or 2001:db8:20::/64.")
    range: Cidr | None = Field(
        default=None, description="The part of the subnet that automatic addresses come from. Default: all of it."
    )
    gateway: IPAddress | None = Field(
        default=None, description="The gateway's address on this subnet. Default: the first address of the subnet."
    )
    auxiliary: dict[Name, IPAddress] = Field(
        default={}, description="Addresses kept out of allocation because something else uses them: name: address."
    )


class NetworkSpec(Model):
    """What the network is."""

    driver: str = Field(default="bridge", description="The driver that builds it, like bridge.")
    subnets: list[Subnet] | None = Field(
        default=None,
        description="The subnets, any number of each family. Default: one IPv4 subnet from the automatic pools, kept in the lock file.",
    )
    internal: bool = Field(
        default=False, description="True: no way out of this network and none in, and no default route through it."
    )
    mtu: Mtu | None = Field(
        default=None, description="MTU of its links in bytes. Default: computed by the driver (1500)."
    )
    allow_from: list[Name] = Field(
        default=[],
        description="Names of networks whose endpoints may open connections to this one. All others are kept out.",
    )
    policy_default: Literal["allow", "deny"] = Field(
        default="allow",
        description="What its endpoints may send and receive where no policy selects them, or all of them pass.",
    )
    names: bool = Field(
        default=False,
        description="True: endpoints of this network find each other by name, alias and address (DNS on 127.0.0.11).",
    )
    options: dict[str, Any] = Field(default={}, description="Options of the driver.")


class Network(DocumentModel):
    """A network: endpoints on it reach each other, others only where allowed."""

    kind: Literal["Network"] = Field(description="Network")
    spec: NetworkSpec = Field(default_factory=once(NetworkSpec), description="What the network is.")


KIND = Network
EXAMPLE = """\
apiVersion: cnm/v1alpha1
kind: Network
metadata: {name: web}
spec:
  driver: bridge
  subnets:
    - cidr: 172.20.0.0/24
      range: 172.20.0.128/25
      gateway: 172.20.0.1
      auxiliary: {printer: 172.20.0.9}
    - cidr: 2001:db8:20::/64
  mtu: 1450
  allowFrom: [front]
  names: true
  options: {}
"""
