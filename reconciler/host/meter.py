"""Meters of a bridge, in OpenFlow 1.3's own words (Open Networking Foundation, TS-006): ovs-ofctl takes one a process, and
none in a bundle."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import NamedTuple

_VERSION = 4
_HELLO, _ERROR, _ECHO_REQUEST, _ECHO_REPLY, _REQUEST, _REPLY, _BARRIER, _BARRIER_DONE, _METER_MOD = (
    0, 1, 2, 3, 18, 19, 20, 21, 29,
)  # fmt: skip
_METER_CONFIG, _ALL, _MORE = 10, 0xFFFFFFFF, 1
ADD, MODIFY, DELETE = 0, 1, 2
_KBPS, _BURST, _DROP = 1, 4, 1
_HEADER, _MOD, _BAND, _CONFIG, _MULTIPART, _CODES = (
    Struct("!BBHI"), Struct("!HHI"), Struct("!HHII4x"), Struct("!HHI"), Struct("!HH4x"), Struct("!HH"),
)  # fmt: skip
_MOD_FAILED, _HELLO_FAILED = 12, 0  # enum ofp_error_type
_WORDS = {
    (_MOD_FAILED, 1): "there is such a meter already",
    (_MOD_FAILED, 2): "the switch does not take this number for a meter",
    (_MOD_FAILED, 3): "there is no such meter",
    (_MOD_FAILED, 6): "the switch does not take this rate",
    (_MOD_FAILED, 7): "the switch does not take this burst",
    (_MOD_FAILED, 8): "the switch has no kind of meter that would do",
    (_MOD_FAILED, 11): "the switch has no more meters",
}
EXISTS, UNKNOWN = (_MOD_FAILED, 1), (_MOD_FAILED, 3)
_PATIENCE = 30.0


class Meter(NamedTuple):
    """``rate`` in kbit/s, ``burst`` in kbit: what is above is dropped."""

    number: int
    rate: int
    burst: int


class Change(NamedTuple):
    """``command``: ADD, MODIFY or DELETE."""

    command: int
    meter: Meter


class Refusal(NamedTuple):
    code: tuple[int, int]
    text: str


class MeterSocket:
    """A connection to a bridge's management socket. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._buffer = b""
        try:
            self._socket.settimeout(_PATIENCE)
            self._socket.connect(str(path))
            self._socket.sendall(_HEADER.pack(_VERSION, _HELLO, 8, 0))
            for kind, _number, body in self._messages():
                if kind == _HELLO:
                    break
                if kind == _ERROR:
                    raise OSError(93, f"the bridge does not speak OpenFlow 1.3 ({_refusal(body).text})")
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def meters(self) -> list[Meter]:
        """All of them."""
        ask = _MULTIPART.pack(_METER_CONFIG, 0) + _CONFIG.pack(0xFFFF, 0xFFFF, 0)  # meter id OFPM_ALL, 4 bytes unused
        self._send(_REQUEST, 1, ask)
        found: list[Meter] = []
        for kind, number, body in self._messages():
            if kind == _ERROR and number == 1:
                raise OSError(95, f"the bridge tells no meters: {_refusal(body).text}")
            if kind == _REPLY and number == 1:
                found += _configs(body[_MULTIPART.size :])
                if not _MULTIPART.unpack_from(body)[1] & _MORE:
                    break
        return found

    def change(self, changes: Sequence[Change]) -> dict[int, Refusal]:
        """Carry them out, in one send; what was refused, by its place."""
        parts = []
        for place, (command, meter) in enumerate(changes):
            body = _MOD.pack(command, _KBPS | _BURST, meter.number)
            if command != DELETE:
                body += _BAND.pack(_DROP, _BAND.size, meter.rate, meter.burst)
            parts.append(_HEADER.pack(_VERSION, _METER_MOD, 8 + len(body), 16 + place) + body)
        self._socket.sendall(b"".join(parts))
        self._send(_BARRIER, 1, b"")
        refused: dict[int, Refusal] = {}
        for kind, number, body in self._messages():
            if kind == _ERROR and number >= 16:
                refused[number - 16] = _refusal(body)
            elif kind == _BARRIER_DONE and number == 1:
                break
        return refused

    def _send(self, kind: int, number: int, body: bytes) -> None:
        self._socket.sendall(_HEADER.pack(_VERSION, kind, 8 + len(body), number) + body)

    def _messages(self) -> Iterator[tuple[int, int, bytes]]:
        """(type, transaction, body) of what comes in; echo requests are answered."""
        while True:
            while len(self._buffer) >= 8:
                _version, kind, length, number = _HEADER.unpack_from(self._buffer)
                if len(self._buffer) < length:
                    break
                body, self._buffer = self._buffer[8:length], self._buffer[length:]
                if kind == _ECHO_REQUEST:
                    self._send(_ECHO_REPLY, number, body)
                else:
                    yield kind, number, body
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionResetError(104, "the bridge closed the connection")
            self._buffer += data


def _configs(body: bytes) -> Iterator[Meter]:
    while len(body) >= _CONFIG.size:
        length, _flags, number = _CONFIG.unpack_from(body)
        rate = burst = 0
        if length >= _CONFIG.size + _BAND.size:
            _type, _length, rate, burst = _BAND.unpack_from(body, _CONFIG.size)
        yield Meter(number, rate, burst)
        body = body[max(length, _CONFIG.size) :]


def _refusal(body: bytes) -> Refusal:
    kind, code = _CODES.unpack_from(body)
    return Refusal((kind, code), _WORDS.get((kind, code), f"OpenFlow error {kind}, {code}"))
