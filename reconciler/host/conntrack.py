"""The connections that the kernel tracks in a namespace: found, and forgotten (nfnetlink_conntrack)."""

from __future__ import annotations

import socket
from collections.abc import Callable
from errno import ENOENT
from typing import NamedTuple

from reconciler.host.namespace import Namespace
from reconciler.host.rtnl import Rtnl
from reconciler.host.step import Step
from reconciler.netlink.wire import NLM_F_ACK, Refusal, attribute, attributes, message

# include/uapi/linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h
NETLINK_NETFILTER = 12
_SUBSYSTEM = 1 << 8
_GET, _DELETE = _SUBSYSTEM | 1, _SUBSYSTEM | 2
_ORIGINAL, _REPLY, _ID, _ZONE = 1, 2, 12, 18  # CTA_*
_IP, _PROTO = 1, 2  # CTA_TUPLE_*
_NESTED = 0x8000


class Tuple(NamedTuple):
    """One direction."""

    protocol: int
    source: str
    destination: str
    source_port: int
    destination_port: int


class Flow(NamedTuple):
    """``reference`` is what names it to the kernel."""

    original: Tuple
    reply: Tuple
    reference: bytes


def forget(namespace: Namespace, family: int, stale: Callable[[Flow], bool], step: Step) -> Refusal | None:
    """Drop every entry of a family (socket.AF_INET, AF_INET6) that ``stale`` says so of; what the kernel refused, if
    anything. The table is read once. Raises ObservationError."""
    with namespace.entered():
        netfilter = Rtnl(step=step, protocol=NETLINK_NETFILTER)
    try:
        flows = netfilter.dump(_GET, bytes((family, 0, 0, 0)), _decode)
        doomed = [flow for flow in flows if stale(flow)]
        requests = [
            message(_DELETE, NLM_F_ACK, bytes((family, 0, 0, 0)), flow.reference)  # gone meanwhile is as good
            for flow in doomed
        ]
        refusals = netfilter.send(requests).values() if requests else ()
        return next((refusal for refusal in refusals if refusal.errno != ENOENT), None)
    finally:
        netfilter.close()


def _decode(buffer: bytearray, low: int, high: int) -> Flow | None:
    original = reply = None
    reference = b""
    for kind, first, last in attributes(buffer, low + 4, high):
        if kind == _ORIGINAL:
            original = _tuple(buffer, first, last)
            reference += attribute(_ORIGINAL | _NESTED, bytes(buffer[first:last]))
        elif kind == _REPLY:
            reply = _tuple(buffer, first, last)
        elif kind in (_ID, _ZONE):
            reference += attribute(kind, bytes(buffer[first:last]))
    return Flow(original, reply, reference) if original is not None and reply is not None else None


def _tuple(buffer: bytearray, low: int, high: int) -> Tuple:
    protocol, ports, addresses = 0, [0, 0], ["", ""]
    for part, start, end in attributes(buffer, low, high):
        for kind, first, last in attributes(buffer, start, end):
            raw = bytes(buffer[first:last])
            if part == _IP and kind in (1, 2):
                addresses[kind - 1] = socket.inet_ntop(socket.AF_INET, raw)
            elif part == _IP and kind in (3, 4):
                addresses[kind - 3] = socket.inet_ntop(socket.AF_INET6, raw)
            elif part == _PROTO and kind == 1:
                protocol = raw[0]
            elif part == _PROTO and kind in (2, 3):
                ports[kind - 2] = int.from_bytes(raw, "big")
    return Tuple(protocol, addresses[0], addresses[1], ports[0], ports[1])
