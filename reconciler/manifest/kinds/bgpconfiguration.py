"""BGPConfiguration: how all nodes speak BGP."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from reconciler.manifest.model import DocumentModel, Model, once
from reconciler.manifest.types import Cidr, Name, PortNumber

Asn = Annotated[int, Field(ge=1, le=4294967294)]
_COMMUNITY = re.compile(r"[0-9]{1,10}(:[0-9]{1,10}){1,2}\Z")


def _community(value: str) -> str:
    parts = value.split(":")
    largest = 65535 if len(parts) == 2 else 4294967295
    if not _COMMUNITY.match(value) or any(int(part) > largest for part in parts):
        raise ValueError(
            f"{value!r} is not a community: write two numbers up to 65535, like '64512:100' (RFC 1997), or three up to "
            "4294967295, like '64512:1:100' (RFC 8092)"
        )
    return value


Community = Annotated[
    str, AfterValidator(_community), WithJsonSchema({"type": "string", "pattern": "^[0-9]+(:[0-9]+){1,2}$"})
]


class Advertisement(Model):
    """A prefix, and what is said of it."""

    cidr: Cidr = Field(description="The prefix; what is said holds for all prefixes inside it too.")
    communities: list[Community | Name] = Field(
        default=[], description="Communities that are added, by value or by the name that spec.communities gives them."
    )
    originate: bool = Field(
        default=False,
        description="True: every node announces the prefix itself. False: only what is announced anyway is marked.",
    )


class Bfd(Model):
    """Bidirectional Forwarding Detection (RFC 5880): a peer that no longer answers is known within interval x multiplier."""

    interval: Annotated[int, Field(ge=10, le=60000)] = Field(
        default=300, description="Milliseconds between two packets, each way."
    )
    multiplier: Annotated[int, Field(ge=2, le=255)] = Field(
        default=3, description="So many packets that do not come end the session."
    )


class BGPConfigurationSpec(Model):
    """What holds for every node that has spec.bgp."""

    mesh: bool = Field(
        default=True,
        description="Sessions among the nodes come by themselves: every two of them, or where there are route reflectors, "
        "each with those. False: only those of BGPPeer documents.",
    )
    asn: Asn = Field(default=64512, description="AS number of nodes whose spec.bgp.asn says none.")
    listen_port: PortNumber = Field(default=179, description="TCP port on which nodes listen for each other.")
    communities: dict[Name, Community] = Field(default={}, description="Names for communities: name: value.")
    advertisements: list[Advertisement] = Field(
        default=[], description="Prefixes that are announced beyond the endpoints', and communities."
    )
    hold_time: Annotated[int, Field(ge=3, le=65535)] = Field(
        default=90, description="Seconds without a word after which a session is dead (RFC 4271, 4.2)."
    )
    graceful_restart: Annotated[int, Field(ge=0, le=4095)] = Field(
        default=120,
        description="Seconds for which a node's routes stay in force when its router ends unasked (RFC 4724). 0: they go at once.",
    )
    bfd: Bfd | None = Field(
        default=None,
        description="Watch sessions among the nodes by BFD, so that one that is cut ends at once and not after holdTime; its routes "
        "then go whatever gracefulRestart says, also when only a node's router is killed. Default: not.",
    )
    return_within: Annotated[int, Field(ge=0, le=600)] = Field(
        default=30,
        description="Seconds in which a session that was up must be up again under a new configuration, or the old one is put "
        "back. 0: what becomes of sessions is not waited for (to change the AS of all nodes, or passwords).",
    )


class BGPConfiguration(DocumentModel):
    """How all nodes speak BGP. There is one at most; without it the defaults hold."""

    kind: Literal["BGPConfiguration"] = Field(description="BGPConfiguration")
    spec: BGPConfigurationSpec = Field(
        default_factory=once(BGPConfigurationSpec), description="What holds for every node that has spec.bgp."
    )


KIND = BGPConfiguration
EXAMPLE = """\
apiVersion: cnm/v1alpha1
kind: BGPConfiguration
metadata: {name: default}
spec:
  mesh: true
  asn: 64512
  communities: {anycast: "64512:100"}
  advertisements:
    - {cidr: 198.51.100.0/24, communities: [anycast], originate: true}
"""
