"""What nftables is told and tells by netlink without a process: which tables there are, whether anything changed, and
changes of elements."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence

from reconciler.host.rtnl import Rtnl
from reconciler.netlink import setelem
from reconciler.netlink.wire import (
    ERROR,
    HEADER,
    NLM_F_ACK,
    NLM_F_ACK_TLVS,
    NLM_F_REQUEST,
    NLMSG_ERROR,
    NLMSGERR_ATTR_MSG,
    U16,
    attributes,
    concatenate,
    string,
)

# include/uapi/linux/netfilter/nfnetlink.h and nf_tables.h
NETLINK_NETFILTER = 12
_SUBSYSTEM = 10 << 8
NEWTABLE, GETTABLE, NEWGEN, GETGEN = _SUBSYSTEM, _SUBSYSTEM | 1, _SUBSYSTEM | 15, _SUBSYSTEM | 16
NFTA_TABLE_NAME, NFTA_GEN_ID = 1, 1
_ANY_FAMILY = b"\0\0\0\0"  # struct nfgenmsg
SO_SNDBUFFORCE = 32
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}


class Nftables(Rtnl):
    """One NETLINK_NETFILTER socket, of the namespace in which it was opened."""

    __slots__ = ()

    def __init__(self, sandbox: str = "") -> None:
        super().__init__(sandbox, protocol=NETLINK_NETFILTER)

    def generation(self) -> int:
        """A number that every committed change to any table of the namespace makes one larger (32 bits)."""
        self._sequence += 1
        self._socket.send(HEADER.pack(20, GETGEN, NLM_F_REQUEST, self._sequence, 0) + _ANY_FAMILY)
        answer = self._socket.recv(8192)
        for kind, low, high in attributes(bytearray(answer), 20, HEADER.unpack_from(answer)[0]):
            if kind == NFTA_GEN_ID:
                return int.from_bytes(answer[low:high], "big")
        return 0

    def commit(self, changes: Sequence[bytes], generation: int) -> str:
        """One transaction of elements, when the tables are still of that generation: all of it happens, or nothing. Returns
        "" or the kernel's words of refusal."""
        batch = [setelem.begin(generation), *changes]
        first = self._sequence + 1
        datagram = concatenate([*batch, setelem.end()], first)
        last = first + len(batch) - 1
        self._sequence += len(batch) + 1
        at = sum(map(len, batch[:-1]))  # the kernel answers when all is done, to the last that changes anything
        U16.pack_into(datagram, at + 6, U16.unpack_from(datagram, at + 6)[0] | NLM_F_ACK)
        tail = sum(map(len, batch))
        U16.pack_into(datagram, tail + 6, U16.unpack_from(datagram, tail + 6)[0] & ~NLM_F_ACK)
        try:
            self._make_room(len(datagram) + 65536)
            self._socket.send(datagram)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                return str(error.strerror)
            raise
        words = ""
        while True:
            answer = self._socket.recv(65536)
            length, kind, flags, number, _port = HEADER.unpack_from(answer)
            if kind != NLMSG_ERROR or not first <= number <= last:
                continue
            code = -ERROR.unpack_from(answer, 16)[0]
            if code:
                words = words or _words(answer, length, flags, code)
            if number == last or (code and number == first):
                return words

    def _make_room(self, size: int) -> None:
        """For a datagram of ``size`` bytes; as far as the system lets an ordinary user (net.core.wmem_max) where we have
        CAP_NET_ADMIN in a user namespace only."""
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, size)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    def tables(self) -> frozenset[tuple[str, str]]:
        """(family, name) of all tables."""
        return frozenset(self.dump(GETTABLE, _ANY_FAMILY, _table))


def _words(answer: bytes, length: int, flags: int, code: int) -> str:
    """The kernel's own, where it has any (capped acknowledgements: no echo of the request)."""
    said = ""
    if flags & NLM_F_ACK_TLVS:
        for kind, low, high in attributes(answer, 36, length):
            if kind == NLMSGERR_ATTR_MSG:
                said = string(answer, low, high)
    return said or os.strerror(code)


def _table(buffer: bytearray, low: int, high: int) -> tuple[str, str]:
    family = _FAMILIES.get(buffer[low], str(buffer[low]))
    name = next(
        (string(buffer, a, b) for kind, a, b in attributes(buffer, low + 4, high) if kind == NFTA_TABLE_NAME), ""
    )
    return family, name
