"""Published ports on addresses that the kernel cannot translate: ::1, and a family that the sandbox does not have.

Every socket here also holds its port against other programs. What comes in on an address that is not to be served (the
kernel translates those before they get here) is turned away.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

_IDLE = 60.0  # seconds after which a UDP exchange is over; nf_conntrack_udp_timeout is 30, for streams 120
_EXCHANGES = 1024  # UDP peers at a time
_BLOCK = 65536
_WILD = ("0.0.0.0", "::")  # noqa: S104 - names of addresses
_PKTINFO = {
    socket.AF_INET: (socket.IPPROTO_IP, 8),  # IP_PKTINFO, linux/in.h
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO),
}


class Relay:
    """One published port or range. ``sockets`` are those of each address of ``bind``, port by port."""

    def __init__(self, spec: Mapping[str, Any], sockets: Sequence[socket.socket]) -> None:
        self._target: str = spec["to"]
        self._serve = frozenset(spec["serve"])
        self._sockets = tuple(sockets)
        self._servers: list[asyncio.Task[None]] = []
        self._exchanges: dict[tuple[int, Any], _Exchange] = {}
        loop = asyncio.get_running_loop()
        for own in self._sockets:
            own.setblocking(False)
            port = spec["to_port"] + own.getsockname()[1] - spec["first"]
            if own.type == socket.SOCK_STREAM:
                self._servers.append(loop.create_task(self._accept(own, port)))
            else:
                loop.add_reader(own, self._datagram, own, port)

    def release(self) -> Sequence[socket.socket]:
        for server in self._servers:
            server.cancel()
        for exchange in list(self._exchanges.values()):
            exchange.close()
        for own in self._sockets:
            asyncio.get_running_loop().remove_reader(own)
        return self._sockets

    def _served(self, address: str) -> bool:
        return address in self._serve or _WILD[":" in address] in self._serve

    async def _accept(self, own: socket.socket, port: int) -> None:
        loop = asyncio.get_running_loop()
        live: set[asyncio.Task[None]] = set()
        try:
            while True:
                try:
                    connection, _peer = await loop.sock_accept(own)
                except OSError:  # out of descriptors: those that are open must end first
                    await asyncio.sleep(0.1)
                    continue
                if not self._served(_plain(connection.getsockname()[0])):
                    _turn_away(connection)
                    continue
                task = loop.create_task(self._relay(connection, port))
                live.add(task)
                task.add_done_callback(live.discard)
        finally:
            for task in live:
                task.cancel()

    async def _relay(self, connection: socket.socket, port: int) -> None:
        try:
            there = await asyncio.open_connection(self._target, port)
        except OSError:
            _turn_away(connection)
            return
        here = await asyncio.open_connection(sock=connection)
        try:
            await asyncio.gather(_pump(here[0], there[1]), _pump(there[0], here[1]))
        except OSError:
            here[1].transport.abort()
            there[1].transport.abort()
        finally:
            here[1].close()
            there[1].close()

    def _datagram(self, own: socket.socket, port: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(64):  # then others have their turn
            try:
                data, ancillary, _flags, peer = own.recvmsg(_BLOCK, 256)
            except OSError:  # nothing left, or an ICMP error of somebody who is gone
                return
            local = _local(own.family, ancillary)
            if not self._served(local):
                continue
            place = (own.fileno(), peer)
            exchange = self._exchanges.get(place)
            if exchange is None:
                if len(self._exchanges) >= _EXCHANGES:
                    self._exchanges.pop(next(iter(self._exchanges))).close()
                try:
                    exchange = _Exchange(own, local, peer, (self._target, port))
                except OSError:
                    continue
                self._exchanges[place] = exchange
                exchange.over = loop.call_later(_IDLE, self._look, place)
            exchange.send(data)

    def _look(self, place: tuple[int, Any]) -> None:
        """End an exchange in which nobody spoke for a while."""
        exchange = self._exchanges.get(place)
        if exchange is None:
            return
        loop = asyncio.get_running_loop()
        rest = exchange.spoke + _IDLE - loop.time()
        if rest > 0:
            exchange.over = loop.call_later(rest, self._look, place)
        else:
            self._exchanges.pop(place).close()


class _Exchange:
    """One UDP peer, with a socket of its own towards the sandbox so that answers find back."""

    def __init__(self, own: socket.socket, local: str, peer: Any, target: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        self.spoke = loop.time()
        self.over: asyncio.TimerHandle | None = None
        self._own, self._local, self._peer = own, local, peer
        self._far = socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._far.setblocking(False)
            self._far.connect(target)
        except OSError:
            self._far.close()
            raise
        loop.add_reader(self._far, self._answer)

    def send(self, data: bytes) -> None:
        self.spoke = asyncio.get_running_loop().time()
        with suppress(OSError):
            self._far.send(data)

    def _answer(self) -> None:
        try:
            data = self._far.recv(_BLOCK)
        except OSError:
            return
        self.spoke = asyncio.get_running_loop().time()
        level, kind = _PKTINFO[self._own.family]
        packed = socket.inet_pton(self._own.family, self._local)
        info = struct.pack("=I4s4s", 0, packed, b"") if self._own.family == socket.AF_INET else packed + b"\0\0\0\0"
        with suppress(OSError):
            self._own.sendmsg([data], [(level, kind, info)], 0, self._peer)

    def close(self) -> None:
        if self.over is not None:
            self.over.cancel()
        asyncio.get_running_loop().remove_reader(self._far)
        self._far.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the one side has said all; the other may still speak then."""
    while data := await reader.read(_BLOCK):
        writer.write(data)
        await writer.drain()
    with suppress(OSError):
        writer.write_eof()


def _turn_away(connection: socket.socket) -> None:
    """With a reset, as a port on which nobody listens does."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
    connection.close()


def _plain(address: str) -> str:
    return str(ipaddress.ip_address(address.partition("%")[0]))


def _local(family: int, ancillary: Sequence[tuple[int, int, bytes]]) -> str:
    """The address that a datagram was sent to (ip(7) IP_PKTINFO, ipv6(7) IPV6_PKTINFO)."""
    for level, kind, data in ancillary:
        if (level, kind) == _PKTINFO.get(socket.AddressFamily(family)):
            raw = data[8:12] if family == socket.AF_INET else data[:16]
            return socket.inet_ntop(family, raw)
    return ""
