"""A flow of numbered packets, and what became of it.

::

    flow.py echo PORT               sends back what comes, UDP and TCP, on both families; says "ready"
    flow.py send ADDRESS PORT       a packet each 2 ms until standard input ends, and a TCP stream beside; then one line
                                    of JSON: {"sent", "lost", "gap" (the longest wait for an answer, s), "resent" (TCP
                                    segments that the kernel sent again)}
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import threading
import time
from contextlib import suppress

EVERY = 0.002
PATIENCE = 2.0  # seconds to wait for the last answers
_ROOM = 8 << 20  # bytes of buffer: a busy machine may be late to read, and that is no loss of the network's
SO_RCVBUFFORCE, TCP_INFO = 33, 11
_TOTAL_RETRANS = 100  # offset of tcpi_total_retrans in struct tcp_info (include/uapi/linux/tcp.h)


def _udp(family: int) -> socket.socket:
    own = socket.socket(family, socket.SOCK_DGRAM)
    make_room(own)
    return own


def make_room(own: socket.socket) -> None:
    """For what arrives while a busy machine is late to read; less of it where root is root in a user namespace only."""
    try:
        own.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, _ROOM)
    except PermissionError:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)


def _pipe(connection: socket.socket) -> None:
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


def _accept(stream: socket.socket) -> None:
    while True:
        threading.Thread(target=_pipe, args=(stream.accept()[0],)).start()


def echo(port: int) -> None:
    packets, stream = _udp(socket.AF_INET6), socket.socket(socket.AF_INET6)
    for own in (packets, stream):
        own.bind(("::", port))
    stream.listen()
    print("ready", flush=True)
    threading.Thread(target=_accept, args=(stream,)).start()
    while True:
        data, peer = packets.recvfrom(100)
        packets.sendto(data, peer)


def send(address: str, port: int) -> dict[str, float]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packets = _udp(family)
    packets.connect((address, port))
    stream = socket.create_connection((address, port))
    sent, last, gap = 0, time.monotonic(), 0.0
    heard: set[int] = set()
    over = threading.Event()

    def hear() -> None:
        nonlocal last, gap
        packets.settimeout(0.1)
        while not over.is_set():
            try:
                heard.add(struct.unpack("!Q", packets.recv(100))[0])
            except (TimeoutError, ConnectionError):
                continue
            now = time.monotonic()
            gap, last = max(gap, now - last), now

    listener = threading.Thread(target=hear)
    listener.start()
    talker = threading.Thread(target=_pipe_back, args=(stream, over))
    talker.start()
    while not select.select([sys.stdin], [], [], EVERY)[0]:
        with suppress(ConnectionError):  # told by an earlier packet; this one counts as lost
            packets.send(struct.pack("!Q", sent))
        sent += 1
    deadline = time.monotonic() + PATIENCE
    while len(heard) < sent and time.monotonic() < deadline:
        time.sleep(0.02)
    info = stream.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 256)
    over.set()
    listener.join()
    talker.join()
    return {
        "sent": sent,
        "lost": sent - len(heard),
        "gap": round(gap, 4),
        "resent": struct.unpack_from("=I", info, _TOTAL_RETRANS)[0],
    }


def _pipe_back(stream: socket.socket, over: threading.Event) -> None:
    """Questions and answers over TCP, one after the other."""
    while not over.is_set():
        stream.sendall(b"x" * 1000)
        left = 1000
        while left:
            left -= len(stream.recv(left))
        time.sleep(EVERY)


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        echo(int(sys.argv[2]))
    else:
        print(json.dumps(send(sys.argv[2], int(sys.argv[3]))))
