"""The floor: plain netlink, 200 messages a send, nothing checked but the kernel's answers.

Written out here and not taken from the package, so that it cannot become slower along with it. Message layouts:
include/uapi/linux/{netlink,rtnetlink,if_link,if_addr}.h.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from struct import pack, unpack_from
from time import perf_counter

from reconciler.host import libc
from tests.bench.scene import PREFIX, Endpoint, Scene

A_SEND = 200
FIRST_BRIDGE, FIRST_VETH, INSIDE = 9_000, 10_000, 1_000  # interface indices, chosen by us
GROUP = 4711
CREATE = 0x1 | 0x400 | 0x200  # REQUEST, CREATE, EXCL
UP = 1


def attr(kind: int, data: bytes) -> bytes:
    return pack("=HH", len(data) + 4, kind) + data + bytes(-len(data) % 4)


def message(kind: int, flags: int, body: bytes) -> bytes:
    return pack("=IHHII", len(body) + 16, kind, flags, 0, 0) + body


def link(index: int, up: int = 0) -> bytes:
    return pack("=BxHiII", 0, 0, index, up, up)


def number(kind: int, value: int) -> bytes:
    return pack("=HHI", 8, kind, value)


def new_bridge(index: int, name: str) -> bytes:
    info = attr(18, attr(1, b"bridge"))
    return message(16, CREATE, link(index, UP) + attr(3, name.encode() + b"\0") + info)


def new_veth(index: int, name: str, master: int, netns: int) -> bytes:
    peer = link(INSIDE) + attr(3, b"eth0\0") + number(28, netns)
    info = attr(18, attr(1, b"veth") + attr(2, attr(1, peer)))
    return message(16, CREATE, link(index, UP) + attr(3, name.encode() + b"\0") + number(10, master) + info)


def new_address(index: int, address: str) -> bytes:
    raw = socket.inet_aton(address)
    return message(20, CREATE, pack("=BBBBI", 2, PREFIX, 0, 0, index) + attr(2, raw) + attr(1, raw))


def default_route(index: int, gateway: str) -> bytes:
    header = pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 4, 0, 1, 0)
    return message(24, CREATE, header + attr(5, socket.inet_aton(gateway)) + number(4, index))


class Wire:
    """A netlink socket in the namespace that the thread is in when it is made."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self.socket.bind((0, 0))
        self.socket.setsockopt(270, 10, 1)  # NETLINK_CAP_ACK

    def send(self, messages: Sequence[bytes]) -> None:
        """Raises OSError for the first message that the kernel refused."""
        for start in range(0, len(messages), A_SEND):
            part = messages[start : start + A_SEND]
            last = bytearray(part[-1])
            last[6] |= 4  # NLM_F_ACK: the others answer only when they fail
            self.socket.send(b"".join(part[:-1]) + last)
            answer = self.socket.recv(65536)
            error = unpack_from("=i", answer, 16)[0]
            if error:
                raise OSError(-error, os.strerror(-error))

    def dump(self, kind: int, body: bytes) -> int:
        """Read a table to its end and look at nothing; the number of bytes."""
        self.socket.send(message(kind, 0x301, body))
        total = 0
        while True:
            data = self.socket.recv(65536)
            total += len(data)
            offset = 0
            while offset < len(data):
                length, answer = unpack_from("=IH", data, offset)
                if answer in (2, 3):  # NLMSG_ERROR, NLMSG_DONE
                    return total
                offset += length + 3 & ~3


TABLES = ((18, link(0) + number(29, 8)), (22, pack("=BBBBI", 2, 0, 0, 0, 0)), (26, pack("=BBBBBBBBI", 2, *[0] * 8)))


def _open(endpoint: Endpoint) -> int:
    return os.open(f"/run/netns/{endpoint.netns}", os.O_RDONLY | os.O_CLOEXEC)


def play(scene: Scene) -> dict[str, float]:
    """Seconds to write, read and delete; namespaces stand before and after."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    seconds: dict[str, float] = {}
    clock = perf_counter()
    host = Wire()
    inside: list[Wire] = []  # one descriptor each: two times 10,000 are more than many hosts allow
    for endpoint in scene.endpoints:
        fd = _open(endpoint)
        libc.setns(fd)
        inside.append(Wire())
        os.close(fd)
    libc.setns(home)
    messages = []
    for n, bridge in enumerate(scene.bridges):
        messages += [new_bridge(FIRST_BRIDGE + n, bridge.name), new_address(FIRST_BRIDGE + n, bridge.gateway)]
    host.send(messages)
    for start in range(0, scene.size, A_SEND):
        part = scene.endpoints[start : start + A_SEND]
        fds = [_open(endpoint) for endpoint in part]
        host.send(
            [
                new_veth(FIRST_VETH + start + n, endpoint.host, FIRST_BRIDGE + endpoint.bridge, fds[n])
                for n, endpoint in enumerate(part)
            ]
        )
        for fd in fds:
            os.close(fd)
    for endpoint, wire in zip(scene.endpoints, inside, strict=True):
        wire.send(
            [
                message(16, 1, link(INSIDE, UP)),
                new_address(INSIDE, endpoint.address),
                default_route(INSIDE, endpoint.gateway),
            ]
        )
    seconds["write"] = perf_counter() - clock
    scene.works()
    clock = perf_counter()
    for wire in (host, *inside):
        for kind, body in TABLES:
            wire.dump(kind, body)
    seconds["read"] = perf_counter() - clock
    clock = perf_counter()
    # Two groups: the ports, then bridges that have none.
    for first, count in ((FIRST_VETH, scene.size), (FIRST_BRIDGE, scene.width)):
        host.send([message(16, 1, link(index) + number(27, GROUP)) for index in range(first, first + count)])
        host.send([message(17, 1, link(0) + number(27, GROUP))])
    seconds["delete"] = perf_counter() - clock
    for wire in inside:
        wire.socket.close()
    host.socket.close()
    os.close(home)
    return seconds
