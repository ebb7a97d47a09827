"""A server that tells its clients who they are, and a client that prints what it is told.

::

    echo.py serve tcp 80 [WORD]          answers "WORD from PEER" on both families
    echo.py ask udp 192.0.2.1 53 [SOURCE_PORT]   prints the answer; exit status 1 after a second without one
    echo.py init 192.0.2.1 80            an SCTP INIT by hand: exit status 0 when it reached a host that has no SCTP
    echo.py hear 80                      prints the source of the first SCTP INIT to that port that comes by
"""

from __future__ import annotations

import socket
import struct
import sys
import time

PATIENCE = 1.0
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
SCTP = 132


def serve(protocol: str, port: int, word: str) -> None:
    own = socket.socket(socket.AF_INET6, _KINDS[protocol])
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    own.bind(("::", port))
    if protocol == "tcp":
        own.listen()
    print("ready", flush=True)
    while True:
        if protocol == "tcp":
            connection, peer = own.accept()
            with connection:
                connection.sendall(answer(word, peer))
        else:
            _, peer = own.recvfrom(100)
            own.sendto(answer(word, peer), peer)


def answer(word: str, peer: tuple[str, int]) -> bytes:
    return f"{word} from {peer[0].removeprefix('::ffff:')}".encode()


def ask(protocol: str, address: str, port: int, source: int) -> str:
    own = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, _KINDS[protocol])
    with own:
        own.settimeout(PATIENCE)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if source:
            own.bind(("", source))
        own.connect((address, port))
        if protocol == "udp":
            own.send(b"?")
        return own.recv(100).decode()


def init(address: str, port: int) -> bool:
    """RFC 9260, 3.3.2. Whoever has no SCTP answers with an ICMP error, or an ABORT."""
    version = 6 if ":" in address else 4
    raw = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_RAW, SCTP)
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65536, 1, 1, 1)
    packet = struct.pack("!HHI", 40000, port, 0) + b"\0\0\0\0" + chunk
    packet = packet[:8] + struct.pack("<I", crc32c(packet)) + packet[12:]
    raw.sendto(packet, (address, 0))
    return True


def hear(port: int) -> str:
    """All that comes to any interface, as frames: the kernel itself would take SCTP for nobody's."""
    own = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))
    own.settimeout(5)
    print("ready", flush=True)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        packet = own.recv(2048)
        if packet[0] >> 4 == 4 and packet[9] == SCTP:
            start, source = (packet[0] & 15) * 4, socket.inet_ntop(socket.AF_INET, packet[12:16])
        elif packet[0] >> 4 == 6 and packet[6] == SCTP:
            start, source = 40, socket.inet_ntop(socket.AF_INET6, packet[8:24])
        else:
            continue
        if struct.unpack_from("!H", packet, start + 2)[0] == port and packet[start + 12] == 1:
            return source
    raise TimeoutError


def crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def main() -> int:
    verb, *rest = sys.argv[1:]
    try:
        if verb == "serve":
            serve(rest[0], int(rest[1]), rest[2] if len(rest) > 2 else "hello")
        elif verb == "ask":
            print(ask(rest[0], rest[1], int(rest[2]), int(rest[3]) if len(rest) > 3 else 0))
        elif verb == "init":
            init(rest[0], int(rest[1]))
        else:
            print(hear(int(rest[0])))
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
