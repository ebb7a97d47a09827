"""Asking a running watch."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reconciler.errors import UsageError


def follow(path: Path) -> Iterator[dict[str, Any]]:
    """The situation of the watch behind a socket, now and at each change, until it ends. Raises UsageError when none
    runs, or when it does not let us ask."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as own:
        try:
            own.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            raise UsageError("no watch of this owner runs on this host; start one: cnm watch") from None
        except PermissionError:
            raise UsageError(f"{path}: only root, and who runs the watch, may ask it") from None
        own.sendall(b"GET /v1/follow HTTP/1.0\r\n\r\n")
        with own.makefile("rb") as answer:
            status = answer.readline().split()
            while answer.readline().strip():
                pass
            if len(status) < 2 or status[1] != b"200":
                raise UsageError(answer.readline().decode(errors="replace").strip() or "the watch does not answer")
            before: dict[str, Any] = {}
            for line in answer:
                data = json.loads(line)
                if data != before:
                    before = data
                    yield data
