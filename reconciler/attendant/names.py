"""Names: what a sandbox's resolver answers, by the networks that it is on, and whom it asks for the rest.

Every sandbox has a resolver of its own, on sockets inside its namespace, so who asks is known by where the question comes in.
A name that any network here knows is never asked for outside, nor is an address of theirs: who does not share the network is
told that there is none. Wire format, EDNS and truncation are dnspython's.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address, ip_network
from itertools import count
from secrets import randbits
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset

TTL = 5  # seconds: endpoints come and go
_PATIENCE = 2.0  # seconds for each server that is asked
_TCP_PATIENCE = 10.0  # seconds until a connection that says nothing is closed
_AT_ONCE = 256  # questions of one sandbox that wait for servers
_UDP = 512  # RFC 1035, 4.2.1: where a question names no size
_LARGEST = 1232  # bytes of an answer over UDP, whatever it names (DNS flag day 2020)


class Directory:
    """All names of all networks here. Names are kept without the trailing dot, in lower case."""

    def __init__(self) -> None:
        self.names: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {}  # name -> network -> record -> addresses
        self.addresses: dict[str, dict[str, tuple[str, ...]]] = {}  # address -> network -> names, the first its own

    def record(self, spec: Mapping[str, Any], sockets: Sequence[socket.socket]) -> Record:
        return Record(self, spec)

    def find(self, name: str, networks: frozenset[str]) -> tuple[bool, list[str]]:
        """(whether anybody here knows the name, the addresses that these networks have for it)."""
        known = self.names.get(name)
        if known is None:
            return False, []
        found = (addresses for network in known.keys() & networks for addresses in known[network].values())
        return True, sorted({address for addresses in found for address in addresses})

    def reverse(self, address: str, networks: frozenset[str]) -> tuple[bool, list[str]]:
        known = self.addresses.get(address)
        if known is None:
            return False, []
        return True, sorted({known[network][0] for network in known.keys() & networks})


class Record:
    """One endpoint's names on its network."""

    def __init__(self, directory: Directory, spec: Mapping[str, Any]) -> None:
        self._directory = directory
        self._network: str = spec["network"]
        self._names: list[str] = [*spec["names"], *(f"{name}.{self._network}" for name in spec["names"])]
        self._addresses = tuple(spec["addresses"])
        self._place = f"{self._network}/{spec['names'][0]}"
        for name in self._names:
            directory.names.setdefault(name, {}).setdefault(self._network, {})[self._place] = self._addresses
        for address in self._addresses:
            own = f"{spec['names'][0]}.{self._network}"
            directory.addresses.setdefault(address, {})[self._network] = (own,)

    def release(self) -> Sequence[socket.socket]:
        for name in self._names:
            networks = self._directory.names[name]
            networks[self._network].pop(self._place, None)
            if not networks[self._network]:
                del networks[self._network]
            if not networks:
                del self._directory.names[name]
        for address in self._addresses:
            there = self._directory.addresses.get(address, {})
            there.pop(self._network, None)
            if not there:
                self._directory.addresses.pop(address, None)
        return ()


class Resolver:
    """What one sandbox asks: a UDP and a TCP socket in its namespace. ``servers`` are asked from the host's namespace,
    one after the other; where there are none, what is not known here does not exist."""

    def __init__(self, directory: Directory, spec: Mapping[str, Any], sockets: Sequence[socket.socket]) -> None:
        self._directory = directory
        self._networks = frozenset(spec["networks"])
        self._servers = tuple(spec["servers"])
        self._local = tuple(ip_network(cidr) for cidr in spec["local"])
        self._sockets = tuple(sockets)
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = count()
        for own in self._sockets:
            own.setblocking(False)
            if own.type == socket.SOCK_STREAM:
                self._start(self._accept(own))
            else:
                asyncio.get_running_loop().add_reader(own, self._datagrams, own)

    def release(self) -> Sequence[socket.socket]:
        for own in self._sockets:
            asyncio.get_running_loop().remove_reader(own)
        for task in self._tasks:
            task.cancel()
        return self._sockets

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- transport -----------------------------------------------------------------------------------------

    def _datagrams(self, own: socket.socket) -> None:
        for _ in range(64):  # then other sandboxes have their turn
            try:
                question, peer = own.recvfrom(65535)
            except OSError:
                return

            def reply(answer: bytes, peer: Any = peer) -> None:
                with suppress(OSError):
                    own.sendto(answer, peer)

            answer = self.answer(question, tcp=False)
            if isinstance(answer, bytes):
                reply(answer)
            elif answer is not None and len(self._tasks) < _AT_ONCE:
                self._start(self._forward(question, answer, reply, tcp=False))
            elif answer is not None:
                reply(_error(answer, dns.rcode.SERVFAIL))

    async def _accept(self, own: socket.socket) -> None:
        while True:
            try:
                connection, _peer = await asyncio.get_running_loop().sock_accept(own)
            except OSError:
                await asyncio.sleep(0.1)
                continue
            if len(self._tasks) < _AT_ONCE:
                self._start(self._converse(connection))
            else:
                connection.close()

    async def _converse(self, connection: socket.socket) -> None:
        """RFC 7766: several questions on one connection, answered in order."""
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            while True:
                async with asyncio.timeout(_TCP_PATIENCE):
                    question = await _message(reader)
                answer = self.answer(question, tcp=True)
                if isinstance(answer, bytes):
                    _say(writer, answer)
                elif answer is None:
                    return
                else:
                    await self._forward(question, answer, lambda text: _say(writer, text), tcp=True)
                await writer.drain()
        except (OSError, EOFError, TimeoutError):
            return
        finally:
            writer.close()

    # -- answers -------------------------------------------------------------------------------------------

    def answer(self, question: bytes, *, tcp: bool) -> bytes | dns.message.Message | None:
        """The answer; or the question, read, when others must be asked; None when nothing can be said at all."""
        try:
            query = dns.message.from_wire(question)
        except dns.exception.DNSException:
            return question[:2] + struct.pack("!HHHHH", 0x8001, 0, 0, 0, 0) if len(question) >= 12 else None  # FORMERR
        if query.flags & dns.flags.QR:
            return None
        if query.opcode() != 0 or len(query.question) != 1:
            return _error(query, dns.rcode.NOTIMP if query.opcode() else dns.rcode.FORMERR)
        (asked,) = query.question
        known, texts = self._look(asked.name, asked.rdtype)
        if not known and self._servers:
            return query
        response = dns.message.make_response(query, recursion_available=True)
        if known:
            response.flags |= dns.flags.AA
        if not texts and not self._exists(asked.name):
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif texts and asked.rdclass == dns.rdataclass.IN:
            turn = next(self._turn) % len(texts)
            response.answer.append(
                dns.rrset.from_text_list(asked.name, TTL, "IN", asked.rdtype, texts[turn:] + texts[:turn])
            )
        size = 65535 if tcp else min(max(query.payload, _UDP) if query.edns >= 0 else _UDP, _LARGEST)
        return response.to_wire(max_size=size, prefer_truncation=True)

    def _look(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> tuple[bool, list[str]]:
        """(whether it is for us to answer, the records' texts)."""
        text = name.to_text(omit_final_dot=True).lower()
        if text == "localhost" or text.endswith(".localhost"):  # RFC 6761, 6.3
            return True, {dns.rdatatype.A: ["127.0.0.1"], dns.rdatatype.AAAA: ["::1"]}.get(kind, [])
        address = _reversed(name)
        if address is not None:
            known, names = self._directory.reverse(address, self._networks)
            ours = known or any(
                ip_address(address) in cidr for cidr in self._local if cidr.version == ip_address(address).version
            )
            return ours, [f"{found}." for found in names] if kind == dns.rdatatype.PTR else []
        known, addresses = self._directory.find(text, self._networks)
        if kind == dns.rdatatype.A:
            return known, [found for found in addresses if ":" not in found]
        return known, [found for found in addresses if ":" in found] if kind == dns.rdatatype.AAAA else []

    def _exists(self, name: dns.name.Name) -> bool:
        """Whether the asking sandbox may know that there is such a name, whatever records it has."""
        text = name.to_text(omit_final_dot=True).lower()
        if text == "localhost" or text.endswith(".localhost"):
            return True
        address = _reversed(name)
        found = (
            self._directory.reverse(address, self._networks) if address else self._directory.find(text, self._networks)
        )
        return bool(found[1])

    async def _forward(
        self, question: bytes, query: dns.message.Message, reply: Callable[[bytes], None], *, tcp: bool
    ) -> None:
        """Ask the servers in turn, each question under a number and from a port that nobody can guess."""
        number = randbits(16).to_bytes(2, "big")
        for server in self._servers:
            try:
                async with asyncio.timeout(_PATIENCE):
                    answer = await (_ask_tcp if tcp else _ask_udp)(server, number + question[2:])
            except (OSError, EOFError, TimeoutError):
                continue
            reply(question[:2] + answer[2:])
            return
        reply(_error(query, dns.rcode.SERVFAIL))


def _reversed(name: dns.name.Name) -> str | None:
    """The address that a name below in-addr.arpa or ip6.arpa stands for; None for all other names."""
    try:
        return str(ip_address(dns.reversename.to_address(name)))
    except (dns.exception.DNSException, ValueError):
        return None


def _error(query: dns.message.Message, code: dns.rcode.Rcode) -> bytes:
    response = dns.message.make_response(query, recursion_available=True)
    response.set_rcode(code)
    return response.to_wire()


async def _message(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))


def _say(writer: asyncio.StreamWriter, text: bytes) -> None:
    writer.write(len(text).to_bytes(2, "big") + text)


async def _ask_udp(server: str, question: bytes) -> bytes:
    """Only an answer from that server, to that very question, counts."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.setblocking(False)
        own.connect((server, 53))
        await loop.sock_sendall(own, question)
        while True:
            answer = await loop.sock_recv(own, 65535)
            if _answers(answer, question):
                return answer


async def _ask_tcp(server: str, question: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server, 53)
    try:
        _say(writer, question)
        answer = await _message(reader)
        if not _answers(answer, question):
            raise EOFError
        return answer
    finally:
        writer.close()


def _answers(answer: bytes, question: bytes) -> bool:
    """The same number, a response, and the same question (RFC 5452, 9.1)."""
    if len(answer) < 12 or answer[:2] != question[:2] or not answer[2] & 0x80:
        return False
    end = 12
    while end < len(question) and question[end]:
        end += question[end] + 1
    return answer[12 : end + 5].lower() == question[12 : end + 5].lower()
