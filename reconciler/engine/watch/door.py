"""What others may ask of a running watch: HTTP on a unix socket, so that curl and Prometheus's agents can.

``GET /v1/status`` answers the situation as JSON, ``GET /v1/follow`` a line of it now and at every change, ``GET
/metrics`` Prometheus's text. On the status socket the kernel says who asks (SO_PEERCRED): root, or who runs the watch;
others get 403. Metrics may be served on another unix socket, or on a port of loopback.
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path
from struct import Struct
from typing import Any

from reconciler.engine.watch.metrics import CONTENT_TYPE
from reconciler.errors import UsageError

_CREDENTIALS = Struct("=iII")  # struct ucred: pid, uid, gid
_MOST = 32  # connections at once
_PATIENCE = 10.0  # seconds that a client may take to ask or to read
_KEEPALIVE = 15.0  # seconds between two lines to those who follow


class Board:
    """The latest situation, for threads that wait for the next."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._number = 0
        self._data: dict[str, Any] = {}

    def put(self, data: dict[str, Any]) -> None:
        with self._condition:
            self._number += 1
            self._data = data
            self._condition.notify_all()

    def get(self, after: int = -1, timeout: float | None = None) -> tuple[int, dict[str, Any]]:
        """(its number, the situation), as soon as there is one past number ``after``; after ``timeout`` the same again."""
        with self._condition:
            self._condition.wait_for(lambda: self._number > after, timeout)
            return self._number, self._data


class _Server(socketserver.ThreadingMixIn, socketserver.BaseServer):
    daemon_threads = True

    def __init__(self, own: socket.socket, board: Board, metrics: Callable[[], bytes], *, status: bool) -> None:
        super().__init__("", _Handler)
        self.socket = own
        self.board = board
        self.metrics = metrics
        self.status = status
        self._free = threading.BoundedSemaphore(_MOST)

    def fileno(self) -> int:
        return self.socket.fileno()

    def get_request(self) -> tuple[socket.socket, Any]:
        return self.socket.accept()

    def server_close(self) -> None:
        self.socket.close()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            request.close()
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def shutdown_request(self, request: Any) -> None:
        with suppress(OSError):
            request.shutdown(socket.SHUT_WR)
        request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes while it is answered is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _PATIENCE
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        if self.server.status and not self._allowed():
            self._answer(403, "text/plain", b"only root, and who runs the watch, may ask\n")
        elif self.path == "/metrics":
            self._answer(200, CONTENT_TYPE, self.server.metrics())
        elif self.server.status and self.path == "/v1/status":
            self._answer(200, "application/json", json.dumps(self.server.board.get()[1]).encode() + b"\n")
        elif self.server.status and self.path == "/v1/follow":
            self._follow()
        else:
            self._answer(404, "text/plain", b"there is /v1/status, /v1/follow and /metrics\n")

    def _allowed(self) -> bool:
        raw = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _pid, uid, _gid = _CREDENTIALS.unpack(raw)
        return uid in (0, os.geteuid())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _follow(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/jsonl")
        self.end_headers()
        number = -1
        while True:
            number, data = self.server.board.get(number, _KEEPALIVE)
            self.wfile.write(json.dumps(data).encode() + b"\n")
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Nothing: who asks is not logged."""

    def address_string(self) -> str:
        return "unix"


class Door:
    """The sockets of one watch, each with a thread of its own. Raises OSError, UsageError."""

    def __init__(self, path: Path, board: Board, metrics: Callable[[], bytes], *, metrics_at: str = "") -> None:
        self._paths: list[Path] = []
        self._servers = [_Server(self._unix(path, 0o600), board, metrics, status=True)]
        if metrics_at:
            self._servers.append(_Server(self._listen(metrics_at), board, metrics, status=False))
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.5,), daemon=True, name="cnm-door").start()

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for path in self._paths:
            path.unlink(missing_ok=True)

    def _unix(self, path: Path, mode: int) -> socket.socket:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with suppress(OSError):
            own.connect(str(path))
            own.close()
            raise UsageError(f"{path}: another watch of this owner runs on this host")
        own.close()
        own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        path.unlink(missing_ok=True)
        before = os.umask(0o777 & ~mode)
        try:
            own.bind(str(path))
        finally:
            os.umask(before)
        own.listen(_MOST)
        self._paths.append(path)
        return own

    def _listen(self, where: str) -> socket.socket:
        if where.startswith("unix:"):
            return self._unix(Path(where.removeprefix("unix:")), 0o666)
        host, _, port = where.rpartition(":")
        try:
            address = ip_address(host.strip("[]"))
            number = int(port)
        except ValueError:
            raise UsageError(f"--metrics {where}: write unix:/path, 127.0.0.1:PORT or [::1]:PORT") from None
        if not address.is_loopback:
            raise UsageError(
                f"--metrics {where}: metrics are served on loopback only; let an agent on this host fetch them"
            )
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        own = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.bind((str(address), number))
        own.listen(_MOST)
        return own


def door_path(folder: Path, owner: str, identity: str) -> Path:
    """Where the watch of an owner on a host is to be asked."""
    return folder / f"watch-{owner}-{identity}.socket"
