"""Probes: whether the network does what it is for, asked from this host."""

from __future__ import annotations

import http.client
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from msgspec import Struct

from reconciler.errors import UsageError

SYNTAX = "ping:ADDRESS, tcp:HOST:PORT, http(s)://URL, dns:NAME@SERVER, or cmd:COMMAND"
_DNS_A, _DNS_AAAA, _DNS_IN = 1, 28, 1


class Probe(Struct, frozen=True):
    """``text`` is how the user wrote it, and one of :data:`SYNTAX`."""

    text: str
    sort: str
    target: str

    def run(self, timeout: float) -> str:
        """Ask once, for at most ``timeout`` seconds; "" when the answer is good, else why not."""
        try:
            return _RUN[self.sort](self.target, timeout)
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__


def parse_probe(text: str) -> Probe:
    """Raises UsageError for what is none."""
    sort, _, target = text.partition(":")
    checks: dict[str, Callable[[str], object]] = {
        "ping": _address,
        "tcp": _host_port,
        "http": _url,
        "https": _url,
        "dns": _question,
        "cmd": str.strip,
    }
    if sort not in checks or not checks[sort](target):
        raise UsageError(f"--probe {text}: write {SYNTAX}")
    return Probe(text, sort, text if sort in ("http", "https") else target)


def wait_for(probes: Sequence[Probe], patience: float, stop: Callable[[], str] = lambda: "") -> str:
    """Ask until every probe has had a good answer, each at least once, for ``patience`` seconds in all. "" when all
    have, else which has not and why. ``stop`` ends it earlier, with its reason."""
    deadline = time.monotonic() + patience
    for probe in probes:
        while True:
            left = max(deadline - time.monotonic(), 0.5)
            words = probe.run(min(left, 5.0))
            if not words:
                break
            reason = stop()
            if reason:
                return reason
            if time.monotonic() + 0.2 >= deadline:
                return f"probe {probe.text}: {words}"
            time.sleep(0.2)
    return ""


def _address(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def _url(rest: str) -> bool:
    """What follows ``http:``."""
    try:
        parts = urlsplit(f"http:{rest}")
        return rest.startswith("//") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _host_port(text: str) -> tuple[str, int] | None:
    """``192.0.2.1:80``, ``[2001:db8::1]:80``, ``name:80``."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or (":" in host and not bracketed) or not (port.isascii() and port.isdigit()):
        return None
    return (host.strip("[]"), int(port)) if 0 < int(port) < 65536 else None


def _question(text: str) -> tuple[str, str, int] | None:
    """(name, server, port) of ``NAME@SERVER`` or ``NAME@SERVER:PORT`` (``[...]`` around an IPv6 address then)."""
    name, at, server = text.rpartition("@")
    labels = name.rstrip(".").split(".")
    if not at or not all(0 < len(label.encode()) < 64 for label in labels) or len(name.encode()) > 253:
        return None
    if _address(server):
        return name, server, 53
    split = _host_port(server)
    return (name, *split) if split is not None and _address(split[0]) else None


def _ping(target: str, timeout: float) -> str:
    program = shutil.which("ping") or "/bin/ping"
    wait = str(max(1, round(timeout)))
    argv = [program, "-n", "-q", "-c", "1", "-W", wait, "-w", wait, target]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603 - no shell; the target is an address
    return "" if done.returncode == 0 else done.stderr.strip() or "no answer"


def _tcp(target: str, timeout: float) -> str:
    where = _host_port(target)
    assert where is not None
    with socket.create_connection(where, timeout=timeout):
        return ""


def _http(target: str, timeout: float) -> str:
    parts = urlsplit(target)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    # With a port said, the address is not searched for one: the last group of an IPv6 address looks like it.
    connection = kind(parts.hostname or "", parts.port or kind.default_port, timeout=timeout)
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        status = connection.getresponse().status
    finally:
        connection.close()
    return "" if status < 400 else f"HTTP status {status}"


def _dns(target: str, timeout: float) -> str:
    """Ask for addresses (RFC 1035); an answer of either family is good."""
    question = _question(target)
    assert question is not None
    name, server, port = question
    words = ""
    for kind in (_DNS_A, _DNS_AAAA):
        words = _dns_once(name, kind, server, port, timeout / 2)
        if not words:
            break
    return words


def _dns_once(name: str, kind: int, server: str, port: int, timeout: float) -> str:
    number = secrets.randbelow(1 << 16)
    labels = b"".join(bytes((len(label.encode()),)) + label.encode() for label in name.rstrip(".").split("."))
    query = struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, _DNS_IN)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    deadline = time.monotonic() + timeout
    with socket.socket(family, socket.SOCK_DGRAM) as asked:
        asked.connect((server, port))  # answers of others do not reach a connected socket
        asked.send(query)
        while True:
            asked.settimeout(max(deadline - time.monotonic(), 0.01))
            reply = asked.recv(4096)
            if len(reply) >= 12 and reply[:2] == query[:2]:
                break
    _number, flags, _questions, answers, _authority, _more = struct.unpack_from("!HHHHHH", reply)
    code = flags & 0xF
    if code:
        return f"{server} answers with code {code}" + (" (no such name)" if code == 3 else "")
    return "" if answers else f"{server} knows no address of {name}"


def _command(target: str, timeout: float) -> str:
    """Exit status 0 is good. What it started is ended with it."""
    process = subprocess.Popen(  # noqa: S603 - what the user asked to run
        ["/bin/sh", "-c", target],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        words = process.communicate(timeout=timeout)[1]
    except subprocess.TimeoutExpired:
        words = f"no end within {timeout:.0f} s"
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return words
    return "" if process.returncode == 0 else words.strip() or f"exit status {process.returncode}"


_RUN: dict[str, Callable[[str, float], str]] = {
    "ping": _ping,
    "tcp": _tcp,
    "http": _http,
    "https": _http,
    "dns": _dns,
    "cmd": _command,
}
