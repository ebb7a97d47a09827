"""Docker's API, as far as a sandbox needs it: the process whose namespace a container lives in."""

from __future__ import annotations

import http.client
import json
import os
import socket
from urllib.parse import quote

from reconciler.errors import ObservationError

_LARGEST = 4 << 20  # bytes; an inspect answer has a few thousand


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def socket_path() -> str:
    """Where Docker's API listens: DOCKER_HOST when it names a unix socket, else the usual place."""
    host = os.environ.get("DOCKER_HOST", "")
    return host.removeprefix("unix://") if host.startswith("unix://") else "/var/run/docker.sock"


def container_pid(name: str) -> int:
    """The process id of a running container; 0 when there is no such container, it does not run, or there is
    no Docker here. Raises ObservationError when Docker answers nonsense."""
    connection = _UnixConnection(socket_path())
    try:
        connection.request("GET", f"/containers/{quote(name, safe='')}/json")
        response = connection.getresponse()
        body = response.read(_LARGEST)
    except OSError:
        return 0
    finally:
        connection.close()
    if response.status == http.HTTPStatus.NOT_FOUND:
        return 0
    try:
        state = json.loads(body)["State"]
        return int(state["Pid"]) if state["Running"] else 0
    except (ValueError, KeyError, TypeError):
        raise ObservationError(f"Docker answered {response.status} to a question about container {name}") from None
