"""A routing netlink socket in one network namespace: dumps, and many requests in one send."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import threading
from collections.abc import Callable, Container, Sequence
from typing import TypeVar

from reconciler.errors import ObservationError, UnreadableError
from reconciler.host.step import Step, unhindered
from reconciler.netlink.wire import (
    ERROR,
    HEADER,
    NLM_F_ACK_TLVS,
    NLM_F_CAPPED,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSGERR_ATTR_MSG,
    Refusal,
    attributes,
    string,
)
from reconciler.netlink.wire import concatenate as concatenate_requests

T = TypeVar("T")

NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 10, 11, 12
SOL_NETLINK = 270
SO_RCVBUFFORCE = 33
SIOCGSKNS = 0x894C  # include/uapi/linux/sockios.h, Linux 4.10


class _Thread(threading.local):
    """What each thread has for itself: sockets of several namespaces are served side by side."""

    def __init__(self) -> None:
        # The kernel fills a dump's datagram up to the largest buffer it ever saw offered, 32 KiB at most.
        self.buffer = bytearray(65536)


_own = _Thread()
_CHUNK = 200  # requests a send: past this the kernel's own work is all that is left to win
_ANYWHERE = range(1 << 62)
_DUMP_TRIES = 10
# Objects of one kind in one namespace: a sandbox's root must not be able to exhaust us. The host itself may be
# a router with a full table.
MOST, MOST_IN_A_SANDBOX = 1_000_000, 100_000

_PLURALS = {18: "interfaces", 22: "addresses", 26: "routes", 30: "neighbours"}  # RTM_GET* (linux/rtnetlink.h)


class Rtnl:
    """One netlink socket, for routing unless ``protocol`` says otherwise. It belongs to the namespace in which it was
    opened, for ever, wherever the process goes. Not for use by two threads at once."""

    __slots__ = ("_most", "_sandbox", "_sequence", "_socket", "_step")

    def __init__(self, sandbox: str = "", step: Step = unhindered, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._sandbox = sandbox
        self._most = MOST_IN_A_SANDBOX if sandbox else MOST
        self._step = step
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.bind((0, 0))
        for option in (NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK):
            self._socket.setsockopt(SOL_NETLINK, option, 1)
        self._sequence = 1

    def close(self) -> None:
        self._socket.close()

    def namespace(self) -> int:
        """A new descriptor of the socket's namespace, the caller's to close."""
        fd: int = fcntl.ioctl(self._socket, SIOCGSKNS)
        return fd

    def dump(self, kind: int, body: bytes, decode: Callable[[bytearray, int, int], T | None]) -> list[T]:
        """All objects of a kind. A dump that the kernel marks as interrupted is not the truth: read again.

        Raises ObservationError when it is interrupted time after time, or when there are too many objects.
        """
        for _ in range(_DUMP_TRIES):
            found = self._dump_once(kind, body, decode)
            if found is not None:
                return found
        raise self._unreadable("its tables changed faster than they could be read; try again")

    def _dump_once(self, kind: int, body: bytes, decode: Callable[[bytearray, int, int], T | None]) -> list[T] | None:
        self._sequence += 1
        sequence = self._sequence
        self._socket.send(HEADER.pack(16 + len(body), kind, NLM_F_REQUEST | NLM_F_DUMP, sequence, 0) + body)
        found: list[T] = []
        interrupted = False
        buffer, unpack = _own.buffer, HEADER.unpack_from
        while True:
            try:
                size = self._socket.recv_into(buffer)
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    self._drain()
                    return None
                raise
            offset = 0
            while offset + 16 <= size:
                length, answer, flags, number, _port = unpack(buffer, offset)
                if length < 16:
                    break
                if number == sequence:
                    interrupted = interrupted or bool(flags & NLM_F_DUMP_INTR)
                    if answer == NLMSG_DONE:
                        return None if interrupted else found
                    if answer == NLMSG_ERROR:
                        code = -ERROR.unpack_from(buffer, offset + 16)[0]
                        if code == errno.EINTR:
                            return None
                        raise ObservationError(f"the kernel refused to list: {os.strerror(code)} (errno {code})")
                    item = decode(buffer, offset + 16, offset + length)
                    if item is not None:
                        found.append(item)
                offset += (length + 3) & ~3
            if len(found) > self._most:
                raise self._unreadable(f"it has more than {self._most:,} {_PLURALS.get(kind, 'objects')}")

    def _unreadable(self, words: str) -> ObservationError:
        if self._sandbox:
            return UnreadableError(self._sandbox, f"sandbox {self._sandbox} could not be read: {words}")
        return ObservationError(f"this host could not be read: {words}")

    def ask(self, request: bytes, decode: Callable[[bytearray, int, int], T | None]) -> T | None:
        """The answer to a single question; None when the kernel has none."""
        self._sequence += 1
        sequence = self._sequence
        self._socket.send(concatenate_requests([request], sequence))
        found: T | None = None
        buffer = _own.buffer
        while True:
            size = self._socket.recv_into(buffer)
            offset = 0
            while offset + 16 <= size:
                length, answer, _flags, number, _port = HEADER.unpack_from(buffer, offset)
                if length < 16:
                    break
                if number == sequence:
                    if answer == NLMSG_ERROR:  # the acknowledgement comes last
                        return None if ERROR.unpack_from(buffer, offset + 16)[0] else found
                    found = decode(buffer, offset + 16, offset + length)
                offset += (length + 3) & ~3

    def _drain(self) -> None:
        self._socket.setblocking(False)
        try:
            while self._socket.recv_into(_own.buffer):
                pass
        except BlockingIOError:
            pass
        finally:
            self._socket.setblocking(True)

    def send(self, requests: Sequence[bytes], starts: Container[int] = _ANYWHERE) -> dict[int, Refusal]:
        """Send requests in order; returns the refused ones by their position. The kernel works through all of
        them, also past a refusal. When this returns, all are done.

        A datagram is worked through whole, even when we are killed meanwhile; ``starts`` are the positions at
        which one may begin: an interface and its mark go down in the same.
        """
        refused: dict[int, Refusal] = {}
        start = 0
        while start < len(requests):
            end = min(start + _CHUNK, len(requests))
            while start < end < len(requests) and end not in starts:
                end -= 1
            if end == start:  # one that is longer than a datagram should be
                end = next((n for n in range(start + 1, len(requests)) if n in starts), len(requests))
            positions: Sequence[int] = range(start, end)
            if self._step is not unhindered:
                positions = self._unhindered(positions, requests, refused)
            if positions:
                self._send_datagram([requests[n] for n in positions], positions, refused)
            start = end
        return refused

    def _unhindered(
        self, positions: Sequence[int], requests: Sequence[bytes], refused: dict[int, Refusal]
    ) -> Sequence[int]:
        """Announce a datagram and each request in it; those that may go."""
        free = []
        try:
            self._step("datagram", str(len(positions)))
        except OSError as error:
            refused.update(dict.fromkeys(positions, _refusal(error)))
            return ()
        for position in positions:
            try:
                self._step("netlink", str(HEADER.unpack_from(requests[position])[1]))
            except OSError as error:
                refused[position] = _refusal(error)
            else:
                free.append(position)
        return free

    def _send_datagram(self, chunk: Sequence[bytes], positions: Sequence[int], refused: dict[int, Refusal]) -> None:
        first = self._sequence + 1
        self._sequence += len(chunk)
        try:
            self._socket.send(concatenate_requests(chunk, first))
        except OSError as error:  # the whole datagram was refused: nothing of it was looked at
            refused.update(dict.fromkeys(positions, _refusal(error)))
            return
        self._collect(first, positions, refused)

    def _collect(self, first: int, positions: Sequence[int], refused: dict[int, Refusal]) -> None:
        last = first + len(positions) - 1
        buffer = _own.buffer
        while True:
            try:
                size = self._socket.recv_into(buffer)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                # Answers were lost: all is done, but nobody knows how it went.
                self._drain()
                lost = Refusal(errno.ENOBUFS, "the kernel's answer was lost (No buffer space available)")
                for position in positions:
                    refused.setdefault(position, lost)
                return
            offset = 0
            while offset + 16 <= size:
                length, answer, flags, number, _port = HEADER.unpack_from(buffer, offset)
                if length < 16:
                    break
                if answer == NLMSG_ERROR and first <= number <= last:
                    code = -ERROR.unpack_from(buffer, offset + 16)[0]
                    if code:
                        refused[positions[number - first]] = Refusal(code, _words(buffer, offset, length, flags, code))
                    if number == last:
                        return
                offset += (length + 3) & ~3


def _refusal(error: OSError) -> Refusal:
    return Refusal(error.errno or errno.EIO, f"netlink: {error.strerror or error}")


def _words(buffer: bytearray, offset: int, length: int, flags: int, code: int) -> str:
    """The kernel's own wording of a refusal (extended acknowledgement), or strerror."""
    words = ""
    if flags & NLM_F_ACK_TLVS:
        start = offset + 16 + 4 + 16  # past errno and the echoed header
        if not flags & NLM_F_CAPPED:
            start += HEADER.unpack_from(buffer, offset + 20)[0] - 16
        for kind, low, high in attributes(buffer, start, offset + length):
            if kind == NLMSGERR_ATTR_MSG:
                words = string(buffer, low, high)
    return f"{words} ({os.strerror(code)})" if words else os.strerror(code)
