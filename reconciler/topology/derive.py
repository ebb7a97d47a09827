"""What follows from names alone, so that it never changes: MAC addresses, interface names."""

from __future__ import annotations

from base64 import b32encode
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv6Interface

_NAMES = 1 << 15  # that are kept: a driver and several features ask for the name of each port


def digest(*names: str) -> bytes:
    """A stable hash of a few names; ``/`` separates them because no name contains it."""
    return sha256("/".join(names).encode()).digest()


def mac_of(*names: str) -> str:
    """A locally administered unicast MAC address (RFC 7042, 2.1)."""
    return ":".join(f"{byte:02x}" for byte in b"\x02" + digest(*names)[:5])


@lru_cache(_NAMES)
def short_name(prefix: str, *names: str) -> str:
    """An interface name of at most 15 bytes: the prefix and ten characters of a hash."""
    return prefix + b32encode(digest(*names)[:10]).decode().lower()[:10]


def link_local_of(mac: str) -> IPv6Interface:
    """The link-local address that goes with a MAC address (RFC 4291, appendix A: modified EUI-64)."""
    octets = bytearray.fromhex(mac.replace(":", ""))
    octets[0] ^= 2
    host = bytes(octets[:3]) + b"\xff\xfe" + bytes(octets[3:])
    return IPv6Interface((b"\xfe\x80" + bytes(6) + host, 64))
