"""A name server that knows one answer and notes every question, and a client.

::

    nameserver.py serve FILE          answers A 198.51.100.1 to all; TXT so long that it does not fit into a datagram
    nameserver.py ask NAME TYPE [tcp] [SERVER]      prints "RCODE answer answer ..."
    nameserver.py flood NAME SECONDS  asks without a pause; prints "asked failed"
    nameserver.py time NAME COUNT     asks so often; prints the median time of an answer in seconds
"""

from __future__ import annotations

import socket
import statistics
import sys
import threading
import time

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset

RESOLVER = "127.0.0.11"


def answer(question: bytes, log: str, size: int) -> bytes:
    query = dns.message.from_wire(question)
    asked = query.question[0]
    with open(log, "a") as file:  # noqa: PTH123
        file.write(f"{asked.name} {dns.rdatatype.to_text(asked.rdtype)}\n")
    response = dns.message.make_response(query)
    if asked.rdtype == dns.rdatatype.A:
        response.answer.append(dns.rrset.from_text(asked.name, 60, "IN", "A", "198.51.100.1"))
    elif asked.rdtype == dns.rdatatype.TXT:
        texts = [f'"{number:03}{"x" * 200}"' for number in range(20)]
        response.answer.append(dns.rrset.from_text_list(asked.name, 60, "IN", "TXT", texts))
    return response.to_wire(max_size=size, prefer_truncation=True)


def serve(log: str) -> None:
    own = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    own.bind(("::", 53))
    listener = socket.create_server(("::", 53), family=socket.AF_INET6, dualstack_ipv6=True)

    def streams() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                length = int.from_bytes(connection.recv(2, socket.MSG_WAITALL), "big")
                text = answer(connection.recv(length, socket.MSG_WAITALL), log, 65535)
                connection.sendall(len(text).to_bytes(2, "big") + text)

    threading.Thread(target=streams, daemon=True).start()
    print("ready", flush=True)
    while True:
        question, peer = own.recvfrom(65535)
        own.sendto(answer(question, log, 512), peer)


def ask(name: str, kind: str, how: str, server: str) -> str:
    query = dns.message.make_query(name, kind)
    try:
        response = (dns.query.tcp if how == "tcp" else dns.query.udp)(query, server, timeout=8)
    except (dns.exception.DNSException, OSError) as error:
        return f"{type(error).__name__}"
    records = sorted(str(record) for rrset in response.answer for record in rrset)
    cut = ["cut"] if response.flags & dns.flags.TC else []
    return " ".join([dns.rcode.to_text(response.rcode()), *cut, *records])


def flood(name: str, seconds: float) -> str:
    asked = failed = 0
    end = time.monotonic() + seconds
    print("ready", flush=True)
    while time.monotonic() < end:
        asked += 1
        failed += not ask(name, "A", "udp", RESOLVER).startswith("NOERROR ")
    return f"{asked} {failed}"


def took(name: str, count: int) -> float:
    """Seconds, the median."""
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        assert ask(name, "A", "udp", RESOLVER).startswith("NOERROR ")
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def main() -> None:
    verb, *rest = sys.argv[1:]
    if verb == "serve":
        serve(rest[0])
    elif verb == "ask":
        how = "tcp" if "tcp" in rest else "udp"
        words = [word for word in rest if word != "tcp"]
        print(ask(words[0], words[1], how, words[2] if len(words) > 2 else RESOLVER))
    elif verb == "time":
        print(took(rest[0], int(rest[1])))
    else:
        print(flood(rest[0], float(rest[1])))


if __name__ == "__main__":
    main()
