"""Real packets between many sandboxes at once: what of all that was sent has arrived.

One process: sockets are opened inside the namespaces and stay there wherever the process goes. A whole matrix is sent
first and then listened to, so that what is lost costs one wait and not one a cell.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from time import monotonic
from typing import NamedTuple, Self

from reconciler.host import libc

ECHO_REQUEST = {4: 8, 6: 128}


class Probe(NamedTuple):
    """``port`` 0 for ICMP."""

    source: str
    destination: str
    version: int
    protocol: str
    port: int


class Prober:
    """Servers in every sandbox, and clients wherever they are needed. ``where`` is name -> addresses by IP version."""

    def __init__(self, where: Mapping[str, Mapping[int, str]], ports: Iterable[int]) -> None:
        self._where = where
        self._ports = tuple(ports)
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self._servers: list[tuple[str, str, socket.socket]] = []
        self._raw: dict[tuple[str, int], socket.socket] = {}
        self._number = 0
        for name, addresses in where.items():
            with self._inside(name):
                for version, address in addresses.items():
                    family = socket.AF_INET if version == 4 else socket.AF_INET6
                    for port in self._ports:
                        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                            server = socket.socket(family, kind | socket.SOCK_NONBLOCK)
                            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                            server.bind((address, port))
                            if kind == socket.SOCK_STREAM:
                                server.listen(256)
                            self._servers.append((name, "udp" if kind == socket.SOCK_DGRAM else "tcp", server))
                    protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
                    raw = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
                    raw.bind((address, 0))
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
                    self._raw[name, version] = raw

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for _name, _kind, server in self._servers:
            server.close()
        for raw in self._raw.values():
            raw.close()
        os.close(self._home)

    class _Inside:
        def __init__(self, name: str, home: int) -> None:
            self._name, self._home = name, home

        def __enter__(self) -> None:
            fd = os.open(f"/run/netns/{self._name}", os.O_RDONLY)
            libc.setns(fd)
            os.close(fd)

        def __exit__(self, *_: object) -> None:
            libc.setns(self._home)

    def _inside(self, name: str) -> Prober._Inside:
        return self._Inside(name, self._home)

    def arrived(self, probes: Iterable[Probe], wait: float = 0.5) -> set[Probe]:
        """Those of which the first packet came there (UDP), or that were answered (TCP, ICMP). ``wait`` s of silence
        end it."""
        found: set[Probe] = set()
        clients: dict[socket.socket, Probe] = {}
        tokens: dict[int, Probe] = {}
        keep: list[socket.socket] = []
        by_source: dict[str, list[Probe]] = {}
        for probe in probes:
            by_source.setdefault(probe.source, []).append(probe)
        for source, mine in by_source.items():
            with self._inside(source):
                for probe in mine:
                    self._number = self._number % 0xFFFFFF + 1
                    self._send(probe, self._number, tokens, clients, keep)
        with selectors.DefaultSelector() as selector:
            for _name, kind, server in self._servers:
                selector.register(server, selectors.EVENT_READ, kind)
            for raw in self._raw.values():
                selector.register(raw, selectors.EVENT_READ, "icmp")
            for client in clients:
                selector.register(client, selectors.EVENT_WRITE, "client")
            end = monotonic() + wait
            while (left := end - monotonic()) > 0:
                for key, _mask in selector.select(left):
                    heard = self._hear(key.fileobj, key.data, clients, tokens, found)  # type: ignore[arg-type]  # a socket
                    if key.data == "client":
                        selector.unregister(key.fileobj)
                    if heard:
                        end = monotonic() + wait
        for client in (*clients, *keep):
            client.close()
        return found

    def _send(
        self,
        probe: Probe,
        number: int,
        tokens: dict[int, Probe],
        clients: dict[socket.socket, Probe],
        keep: list[socket.socket],
    ) -> None:
        address, own = self._where[probe.destination][probe.version], self._where[probe.source][probe.version]
        family = socket.AF_INET if probe.version == 4 else socket.AF_INET6
        tokens[number] = probe
        if probe.protocol == "icmp":
            body = struct.pack("!BBHHH", ECHO_REQUEST[probe.version], 0, 0, number >> 8 & 0xFFFF, number & 0xFF)
            body += struct.pack("!I", number)
            if probe.version == 4:
                body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
            with suppress(OSError):
                self._raw[probe.source, probe.version].sendto(body, (address, 0))
            return
        kind = socket.SOCK_DGRAM if probe.protocol == "udp" else socket.SOCK_STREAM
        client = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        client.bind((own, 0))
        if probe.protocol == "udp":
            keep.append(client)
            with suppress(OSError):
                client.sendto(struct.pack("!I", number), (address, probe.port))
            return
        clients[client] = probe
        with suppress(BlockingIOError, OSError):
            client.connect((address, probe.port))

    def _hear(
        self,
        sock: socket.socket,
        kind: str,
        clients: Mapping[socket.socket, Probe],
        tokens: Mapping[int, Probe],
        found: set[Probe],
    ) -> bool:
        before = len(found)
        if kind == "client":
            if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                found.add(clients[sock])
        elif kind == "tcp":
            with suppress(BlockingIOError):
                while True:
                    sock.accept()[0].close()
        else:
            with suppress(BlockingIOError):
                while True:
                    data, _sender = sock.recvfrom(2048)
                    number = _token(data, kind, sock.family)
                    if number in tokens:
                        found.add(tokens[number])
        return len(found) > before


def _token(data: bytes, kind: str, family: int) -> int:
    if kind == "udp":
        return int(struct.unpack("!I", data[:4])[0])
    if family == socket.AF_INET:
        data = data[(data[0] & 15) * 4 :]
    if len(data) < 12 or data[0] not in (0, 129):  # answers only
        return -1
    return int(struct.unpack("!I", data[8:12])[0])


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return int(~(total + (total >> 16)) & 0xFFFF)
