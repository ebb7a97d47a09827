"""RTM_*QDISC messages (include/uapi/linux/pkt_sched.h): root queueing disciplines, and the token bucket filter."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from reconciler.netlink.wire import (
    NLM_F_CREATE,
    NLM_F_REPLACE,
    attribute,
    attributes,
    message,
    nested,
    string,
    text,
    u32,
)

RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38
ROOT = 0xFFFFFFFF
OURS = 0x636E0000  # the handle 636e:, by which what we made is known again
_TCMSG = Struct("=BxxxiIII")  # family, index, handle, parent, info
_KIND, _OPTIONS = 1, 2
_PARMS, _RATE64, _BURST = 1, 4, 6  # TCA_TBF_*
_QOPT = Struct("=BBHhHI 12x III")  # tc_ratespec, peak rate (none), limit, buffer, mtu
_ETHERNET = 1  # TC_LINKLAYER_ETHERNET: the kernel needs no table of packet sizes
_TICK = 64  # nanoseconds: PSCHED_SHIFT 6
_UNIT = 1024
_MOST = 0xFFFFFFFF


class RawQdisc(NamedTuple):
    """A root queueing discipline. ``rate`` in bits a second, ``burst`` in KiB, ``limit`` in bytes; 0 where there are none."""

    ifindex: int
    handle: int
    kind: str
    rate: int
    burst: int
    limit: int


def dump_qdiscs() -> bytes:
    """The body of a dump request."""
    return _TCMSG.pack(0, 0, 0, 0, 0)


def decode_qdisc(buffer: bytearray, start: int, end: int) -> RawQdisc | None:
    """One RTM_NEWQDISC payload; None for what is not at the root, and for the kernel's own, which have no handle."""
    _family, index, handle, parent, _info = _TCMSG.unpack_from(buffer, start)
    if parent != ROOT or not handle:
        return None
    kind, rate, burst, limit = "", 0, 0, 0
    for number, low, high in attributes(buffer, start + _TCMSG.size, end):
        if number == _KIND:
            kind = string(buffer, low, high)
        elif number == _OPTIONS and kind == "tbf":
            rate, burst, limit = _token_bucket(buffer, low, high)
    return RawQdisc(index, handle, kind, rate, burst, limit)


def _token_bucket(buffer: bytearray, start: int, end: int) -> tuple[int, int, int]:
    """The kernel keeps the burst as the time that it takes, in ticks: to the KiB it can be told."""
    speed = limit = ticks = 0
    for number, low, high in attributes(buffer, start, end):
        if number == _PARMS:
            *_, speed, limit, ticks, _mtu = _QOPT.unpack_from(buffer, low)
        elif number == _RATE64:
            speed = int.from_bytes(buffer[low:high], "little")
    return speed * 8, round((ticks + 0.5) * _TICK * speed / 1e9 / _UNIT), limit


def new_token_bucket(index: int, rate: int, burst: int, limit: int) -> bytes:
    """Put a token bucket at the root of an interface, or change the one of ours that is there."""
    speed = rate // 8
    parms = _QOPT.pack(0, _ETHERNET, 0, -1, 0, min(speed, _MOST), limit, 0, 0)
    options = [attribute(_PARMS, parms), u32(_BURST, burst * _UNIT)]
    if speed > _MOST:
        options.insert(1, attribute(_RATE64, speed.to_bytes(8, "little")))
    return message(
        RTM_NEWQDISC,
        NLM_F_CREATE | NLM_F_REPLACE,
        _TCMSG.pack(0, index, OURS, ROOT, 0),
        text(_KIND, "tbf"),
        nested(_OPTIONS, *options),
    )


def delete_qdisc(index: int) -> bytes:
    return message(RTM_DELQDISC, 0, _TCMSG.pack(0, index, OURS, ROOT, 0))
