"""Standard input over a serial line of User Mode Linux, in frames that are answered one by one.

The kernel's line discipline holds 4 KiB; when it is full, UML's driver (arch/um/drivers/line.c) stops reading the
line and does not always begin again. So no more than one frame is ever under way: two bytes of length (big-endian),
at most `LIMIT` bytes, and one byte back when they have been taken. A frame without bytes is the end of the input.

This file runs alone inside the guest: frames from standard input, bytes to standard output, answers to descriptor 5.
"""

from __future__ import annotations

import os
import sys

LIMIT = 2048


def send(source: int, frames: int, answers: int) -> None:
    """Outside: all of ``source`` (file descriptors) to the guest, and its end."""
    while True:
        data = os.read(source, LIMIT)
        frame = len(data).to_bytes(2) + data
        while frame:
            frame = frame[os.write(frames, frame) :]
        if not os.read(answers, 1) or not data:
            return


def take() -> None:
    """Inside: the other half."""
    while length := int.from_bytes(_exactly(2)):
        data = _exactly(length)
        while data:
            data = data[os.write(1, data) :]
        os.write(5, b"+")


def _exactly(length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = os.read(0, length - len(data))
        if not more:
            sys.exit(1)
        data += more
    return data


if __name__ == "__main__":
    take()
