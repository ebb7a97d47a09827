"""The few ethtool requests that are needed (include/uapi/linux/ethtool.h), of interfaces of the calling thread's namespace."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct

_SIOCETHTOOL = 0x8946
_GTXCSUM, _STXCSUM = 0x16, 0x17


def tx_checksum(dev: str) -> bool:
    """Raises OSError."""
    return bool(_value(dev, _GTXCSUM, 0))


def set_tx_checksum(dev: str, *, on: bool) -> None:
    """Raises OSError."""
    _value(dev, _STXCSUM, int(on))


def _value(dev: str, command: int, value: int) -> int:
    """struct ethtool_value in, the same out."""
    data = ctypes.create_string_buffer(struct.pack("=II", command, value), 8)
    request = struct.pack("=16sQ16x", dev.encode(), ctypes.addressof(data))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as own:
        fcntl.ioctl(own, _SIOCETHTOOL, request)
    return int(struct.unpack("=II", data.raw)[1])
