"""Two sockets that hear what changes in every namespace that we know: routing netlink and nftables.

NETLINK_LISTEN_ALL_NSID (Linux 4.2) lets one socket of the host's namespace hear all namespaces that have a number
(nsid) there, so that 10,000 sandboxes cost no descriptor. It needs CAP_NET_BROADCAST. Namespaces are numbered when
they are followed; the number is the kernel's, and goes with the namespace.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from struct import Struct
from typing import NamedTuple

from reconciler.host.namespace import Namespace
from reconciler.host.rtnl import SO_RCVBUFFORCE, SOL_NETLINK
from reconciler.netlink.event import (
    NETNSA_FD,
    NETNSA_NSID,
    NFNLGRP_NFTABLES,
    ROUTE_GROUPS,
    RTM_GETNSID,
    RTM_NEWNSID,
    Event,
    nft_events,
    route_events,
)
from reconciler.netlink.wire import ERROR, HEADER, NLM_F_REQUEST, NLMSG_ERROR, attributes, u32

NETLINK_ADD_MEMBERSHIP, NETLINK_LISTEN_ALL_NSID = 1, 8
NETLINK_NETFILTER = 12
_BUFFER = 16 << 20  # bytes that the kernel may keep for us; more, and it says ENOBUFS
_NUMBER = Struct("=i")
_ANCILLARY = socket.CMSG_SPACE(4)
_GENERIC = b"\0\0\0\0"  # struct rtgenmsg


class Heard(NamedTuple):
    """An event, and the sandbox in whose namespace it was (``""``: the host's). ``payload`` is a link's."""

    netns: str
    event: Event
    payload: bytearray | None = None


class Monitor:
    """Made in the host's namespace. Not for use by two threads at once."""

    def __init__(self, root: Namespace) -> None:
        self._root = root
        self._names: dict[int, str] = {}
        self._followed: dict[str, tuple[int, int]] = {}  # name -> (inode, nsid)
        self._lost = False
        self._buffer = bytearray(1 << 16)
        self._sockets: list[tuple[socket.socket, Callable[[bytearray, int], Iterator[Event]]]] = []
        with root.entered():
            self._sockets.append((_listening(socket.NETLINK_ROUTE, ROUTE_GROUPS), route_events))
            with suppress(OSError):  # a kernel without nftables has nothing to tell of them
                self._sockets.append((_listening(NETLINK_NETFILTER, (NFNLGRP_NFTABLES,)), nft_events))
            self._asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC)
            self._asking.bind((0, 0))
        self._sequence = 0
        self._foreign: set[int] = set()  # numbers of namespaces that we do not follow
        self._know_ourselves()

    def close(self) -> None:
        self._asking.close()
        for own, _decode in self._sockets:
            own.close()

    def filenos(self) -> tuple[int, ...]:
        return tuple(own.fileno() for own, _decode in self._sockets)

    def follow(self, namespace: Namespace) -> bool:
        """Hear of this namespace from now on. True when it is new to us: what changed before was not heard."""
        known = self._followed.get(namespace.name)
        if known is not None and known[0] == namespace.inode:
            return False
        with namespace.descriptor() as fd:
            where = u32(NETNSA_FD, fd)
            self._ask(RTM_NEWNSID, _GENERIC + where + u32(NETNSA_NSID, 0xFFFFFFFF))  # EEXIST: it has one
            number = self._ask(RTM_GETNSID, _GENERIC + where)
        if known is not None:
            self._names.pop(known[1], None)
        if number < 0:
            raise OSError(errno.EOPNOTSUPP, f"the namespace of sandbox {namespace.name} cannot be numbered")
        self._foreign.discard(number)
        self._names[number] = namespace.name
        self._followed[namespace.name] = (namespace.inode, number)
        return True

    def forget(self, name: str) -> None:
        known = self._followed.pop(name, None)
        if known is not None and self._names.get(known[1]) == name:
            del self._names[known[1]]

    def followed(self) -> tuple[str, ...]:
        return tuple(self._followed)

    def name_of(self, nsid: int) -> str | None:
        """The sandbox whose namespace has this number in the host's."""
        return self._names.get(nsid)

    def heard(self) -> list[Heard] | None:
        """All that waits to be read, in order. None: the kernel dropped events (ENOBUFS), so nobody knows."""
        found: list[Heard] = []
        for own, decode in self._sockets:
            while True:
                try:
                    size, ancillary, _flags, _address = own.recvmsg_into([self._buffer], _ANCILLARY)
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise
                    self._lost = True
                    continue
                netns = self._where(ancillary)
                for event in decode(self._buffer, size):
                    if event.batch == "netns":
                        self._foreign.discard(event.nsid)
                        gone = self._names.get(event.nsid)
                        if event.gone and gone:
                            self.forget(gone)
                            found.append(Heard(gone, event))
                    elif netns is not None:
                        payload = self._buffer[event.start : event.end] if event.end else None
                        found.append(Heard(netns, event, payload))
        if self._lost:
            self._lost = False
            return None
        return found

    def _where(self, ancillary: list[tuple[int, int, bytes]]) -> str | None:
        """The sandbox that a datagram is from; None for a namespace that we do not follow."""
        for level, kind, data in ancillary:
            if level == SOL_NETLINK and kind == NETLINK_LISTEN_ALL_NSID:
                number = _NUMBER.unpack(data[:4])[0]
                if number not in self._names and number not in self._foreign:
                    self._foreign.add(number)
                    self._know_ourselves()
                return self._names.get(number)
        return ""

    def _know_ourselves(self) -> None:
        """The host's namespace may have a number in itself (a container whose parent is in there gives it one)."""
        with self._root.descriptor() as fd:
            own = self._ask(RTM_GETNSID, _GENERIC + u32(NETNSA_FD, fd))
        if own >= 0:
            self._names[own] = ""

    def _ask(self, kind: int, body: bytes) -> int:
        """A request about numbers: the number that the kernel answers with, else -1."""
        self._sequence += 1
        flags = NLM_F_REQUEST | (0x4 if kind == RTM_NEWNSID else 0)
        self._asking.send(HEADER.pack(16 + len(body), kind, flags, self._sequence, 0) + body)
        while True:
            answer = bytearray(self._asking.recv(8192))
            length, what, _flags, number, _port = HEADER.unpack_from(answer)
            if number != self._sequence:
                continue
            if what == NLMSG_ERROR:
                return ERROR.unpack_from(answer, 16)[0] and -1
            for attribute, low, _high in attributes(answer, 20, length):
                if attribute == NETNSA_NSID:
                    return int(_NUMBER.unpack_from(answer, low)[0])
            return -1


def _listening(protocol: int, groups: tuple[int, ...]) -> socket.socket:
    own = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    try:
        with suppress(OSError):  # without CAP_NET_ADMIN in the first user namespace: the usual size
            own.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, _BUFFER)
        own.bind((0, 0))
        own.setsockopt(SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, 1)
        for group in groups:
            own.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
    except OSError:
        own.close()
        raise
    return own
