"""What nftables tells by netlink without a process: which tables there are, and whether anything changed."""

from __future__ import annotations

from reconciler.host.rtnl import Rtnl
from reconciler.netlink.wire import HEADER, NLM_F_REQUEST, attributes, string

# include/uapi/linux/netfilter/nfnetlink.h and nf_tables.h
NETLINK_NETFILTER = 12
_SUBSYSTEM = 10 << 8
NEWTABLE, GETTABLE, NEWGEN, GETGEN = _SUBSYSTEM, _SUBSYSTEM | 1, _SUBSYSTEM | 15, _SUBSYSTEM | 16
NFTA_TABLE_NAME, NFTA_GEN_ID = 1, 1
_ANY_FAMILY = b"\0\0\0\0"  # struct nfgenmsg
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

    def tables(self) -> frozenset[tuple[str, str]]:
        """(family, name) of all tables."""
        return frozenset(self.dump(GETTABLE, _ANY_FAMILY, _table))


def _table(buffer: bytearray, low: int, high: int) -> tuple[str, str]:
    family = _FAMILIES.get(buffer[low], str(buffer[low]))
    name = next(
        (string(buffer, a, b) for kind, a, b in attributes(buffer, low + 4, high) if kind == NFTA_TABLE_NAME), ""
    )
    return family, name
