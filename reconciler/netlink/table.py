"""Attributes by table: what a kind of interface has besides what all have, as field name -> (type, width).

One table a kind is all that a new kind of interface needs here. Numbers are those of include/uapi/linux/if_link.h.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.netlink.wire import U16, U32, attributes, u8, u16, u32

# width: "u8" | "u16" | "u32", or "flag8" | "flag32" for a boolean kept in so many bits
Table = Mapping[str, tuple[int, str]]

BRIDGE: Table = {
    "forward_delay": (1, "u32"),
    "hello_time": (2, "u32"),
    "max_age": (3, "u32"),
    "ageing_time": (4, "u32"),
    "stp": (5, "flag32"),
    "priority": (6, "u16"),
    "vlan_filtering": (7, "flag8"),
    "group_fwd_mask": (9, "u16"),
    "mcast_snooping": (23, "flag8"),
    "mcast_querier": (25, "flag8"),
    "nf_call_iptables": (36, "flag8"),
    "nf_call_ip6tables": (37, "flag8"),
}
BRIDGE_PORT: Table = {
    "hairpin": (4, "flag8"),
    "learning": (8, "flag8"),
    "neigh_suppress": (32, "flag8"),
    "isolated": (33, "flag8"),
}


def encode(table: Table, values: Mapping[str, Any]) -> bytes:
    """Attributes for the values that are not None."""
    body = b""
    for name, value in values.items():
        if value is None:
            continue
        kind, width = table[name]
        number = int(value)
        if width.endswith("8"):
            body += u8(kind, number)
        elif width == "u16":
            body += u16(kind, number)
        else:
            body += u32(kind, number)
    return body


def decode(table: Table, data: bytes) -> dict[str, int | bool]:
    """The values of a table that ``data`` carries; all else is skipped."""
    by_kind = {kind: (name, width) for name, (kind, width) in table.items()}
    values: dict[str, int | bool] = {}
    for kind, start, end in attributes(data, 0, len(data)):
        found = by_kind.get(kind)
        if found is None:
            continue
        name, width = found
        length = end - start
        if length == 1:
            number = data[start]
        elif length == 2:
            number = U16.unpack_from(data, start)[0]
        else:
            number = U32.unpack_from(data, start)[0]
        values[name] = bool(number) if width.startswith("flag") else number
    return values
