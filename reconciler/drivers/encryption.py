"""Tunnels that only carry what is encrypted: IPsec ESP in transport mode for one UDP port between each pair of nodes.

The port is what tells encrypted tunnels from others, so all that uses it is encrypted or dropped: by policies, which
the kernel looks up for every packet, and once more by nftables, should somebody flush the policies (docs/adr).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from reconciler.drivers.firewall import FAMILY, FILTER, table_name
from reconciler.drivers.nftexpr import DROP, Expr, rule
from reconciler.errors import Origin
from reconciler.manifest.model import Model
from reconciler.resources.nft import NftChain, chain_key
from reconciler.resources.resource import Key, Resource
from reconciler.resources.xfrm import (
    ALGORITHM,
    ICV,
    KeyRef,
    Secret,
    XfrmPolicy,
    XfrmState,
    policy_key,
    secret_key,
    spi_of,
    state_key,
)

PORT = 14789  # never seen outside of a node: what crosses the wire is ESP
_HEADERS = 8 + 8  # RFC 4303 and RFC 4106: SPI and sequence number, initialization vector
_TRAILER = 2  # length of the padding, next header
_ALIGNMENT = 4  # RFC 4303, 2.4


def _path(value: str) -> str:
    if not value.startswith("/") or "\0" in value or ".." in value.split("/") or "#" in value or len(value) > 256:
        raise ValueError(f"{value!r} is not a path of a key file: write an absolute one, like /etc/cnm/overlay.keys")
    return value


def _key_id(value: str) -> str:
    plain = value.replace(".", "").replace("_", "").replace("-", "")
    if not (plain.isascii() and plain.isalnum() and value[0].isalnum() and len(value) <= 63):
        raise ValueError(f"{value!r} is not a key id: write letters, digits, '.', '_' and '-'")
    return value


KeyId = Annotated[str, Field(min_length=1), AfterValidator(_key_id)]


class Encryption(Model):
    """Which keys. All nodes have the same file; to change the key, apply on all nodes: first with the new one as
    next, then with it as primary and the old one as previous, then without the old one."""

    key_file: Annotated[str, AfterValidator(_path)] = Field(
        description="File on each node, of root's, mode 0600, with a line a key: its id, then 32 bytes or more as "
        "hexadecimal digits. Only this path and the ids are ever in manifests, plans, snapshots and logs."
    )
    primary: KeyId = Field(description="Id of the key that this node sends with.")
    previous: KeyId | None = Field(default=None, description="Id of a key that is still accepted.")
    next: KeyId | None = Field(default=None, description="Id of a key that is accepted already.")

    @property
    def accepted(self) -> tuple[str, ...]:
        """Ids of all keys, each once."""
        return tuple(dict.fromkeys(key for key in (self.primary, self.previous, self.next) if key is not None))


def room(space: int) -> int:
    """What is left of ``space`` bytes after the outer IP header for a UDP datagram, with its header."""
    space -= _HEADERS + ICV // 8
    return space - space % _ALIGNMENT - _TRAILER


def render_pair(here: str, there: str, port: int, keys: Encryption, origin: Origin) -> Iterable[Resource]:
    """What protects the packets between this node and another, both ways."""
    for key_id in keys.accepted:
        yield _state(there, here, port, keys.key_file, key_id, origin)
    yield _state(here, there, port, keys.key_file, keys.primary, origin)
    out = spi_of(here, there, port, keys.primary)
    for direction, src, dst, spi in (("in", there, here, 0), ("out", here, there, out)):
        key = policy_key(direction, src, dst, port)
        yield _policy(key, origin, direction, src, dst, port, "esp", spi)


def policies(here: str, peers: Iterable[str], port: int) -> tuple[Key, ...]:
    """The keys of the policies without which nothing may be sent."""
    pairs = [(peer, here, "in") for peer in peers] + [(here, peer, "out") for peer in peers]
    return tuple(sorted(policy_key(direction, src, dst, port) for src, dst, direction in pairs))


def render_guard(owner: str, here: str, port: int, keys: Encryption, origin: Origin) -> Iterable[Resource]:
    """What drops all else of this port, whoever sends it; and the keys that must be there."""
    for key_id in keys.accepted:
        key = secret_key(keys.key_file, key_id)
        yield Secret(key=key, origin=origin, file=keys.key_file, id=key_id)
    anybody = "::" if ":" in here else "0.0.0.0"  # noqa: S104 - a selector, nothing listens
    for direction, src, dst in (("in", anybody, here), ("out", here, anybody)):
        yield _policy(policy_key(direction, src, dst, port), origin, direction, src, dst, port, "block", 0)
    for hook, missing in (("input", _meta_ipsec()), ("output", _route_ipsec())):
        yield NftChain(
            key=chain_key(FAMILY, table_name(owner), f"encrypted-{hook}-{port}"),
            origin=origin,
            type="filter",
            hook=hook,
            priority=FILTER,
            policy="accept",
            rules=(rule(f"port {port}: only encrypted", _udp_port(port), missing, DROP),),
        )


def _state(src: str, dst: str, port: int, file: str, key_id: str, origin: Origin) -> XfrmState:
    spi = spi_of(src, dst, port, key_id)
    return XfrmState(
        key=state_key(dst, spi),
        origin=origin,
        src=src,
        dst=dst,
        spi=spi,
        port=port,
        secret=KeyRef(file=file, id=key_id),
        algorithm=f"{ALGORITHM} {ICV}",
    )


def _policy(
    key: Key, origin: Origin, direction: Any, src: str, dst: str, port: int, action: Any, spi: int
) -> XfrmPolicy:
    return XfrmPolicy(key=key, origin=origin, direction=direction, src=src, dst=dst, port=port, action=action, spi=spi)


def _udp_port(port: int) -> Expr:
    left = {"payload": {"protocol": "udp", "field": "dport"}}
    return {"match": {"op": "==", "left": left, "right": port}}


def _meta_ipsec() -> Expr:
    """``meta ipsec missing``: it did not come out of a transform."""
    return {"match": {"op": "==", "left": {"meta": {"key": "ipsec"}}, "right": False}}


def _route_ipsec() -> Expr:
    """``rt ipsec missing``: it does not go into one."""
    return {"match": {"op": "==", "left": {"rt": {"key": "ipsec"}}, "right": False}}
