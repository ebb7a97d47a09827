"""The life of what we attach to: named namespaces, other people's files, processes, Docker containers.

A namespace that we hold open does not die, so the kernel says nothing when its name goes: the folder of names tells.
A name is there before its namespace is mounted on it, so a new one is looked at again when the mounts change.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from reconciler.host.docker import socket_path
from reconciler.host.host import NETNS_FOLDER, Host
from reconciler.host.inotify import Inotify
from reconciler.resources.netns import Netns
from reconciler.resources.resource import Key, Resource

_DOCKER = b"GET /events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D HTTP/1.1\r\nHost: docker\r\n\r\n"
_PATIENCE = 2.0  # seconds between two attempts to reach Docker


class Life:
    """:meth:`changed` names the sandboxes whose namespace may be another one now. ``poll`` objects are registered
    with the loop by ``watch`` and taken back by ``forget`` (both take a descriptor)."""

    def __init__(self, host: Host, watch: Callable[[int, int], None], forget: Callable[[int], None]) -> None:
        self._host = host
        self._watch = watch
        self._forget = forget
        self._names: Inotify | None = None
        self._mounts = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        watch(self._mounts, select.EPOLLPRI | select.EPOLLERR)
        self._awaited: set[str] = set()
        self._pidfds: dict[str, int] = {}
        self._sources: dict[str, str] = {}
        self._led: set[str] = set()  # the sandboxes that a process leads to
        self._docker: socket.socket | None = None
        self._docker_next = 0.0
        self._open_folder()

    def close(self) -> None:
        for fd in self._pidfds.values():
            self._forget(fd)
            os.close(fd)
        self._pidfds.clear()
        self._hang_up()
        if self._names is not None:
            self._forget(self._names.fileno())
            self._names.close()
        self._forget(self._mounts)
        os.close(self._mounts)

    def want(self, keys: Iterable[Key], desired: Mapping[Key, Resource]) -> None:
        """Take over what is wanted of these."""
        for key in keys:
            if key.kind == "netns":
                wanted = desired.get(key)
                self._sources.pop(key.name, None)
                self._led.discard(key.name)
                if isinstance(wanted, Netns):
                    self._sources[key.name] = wanted.source
                    if wanted.source.startswith(("pid:", "docker:")):
                        self._led.add(key.name)

    def follow(self) -> None:
        """Attach to the processes that lead to what is wanted, after a look at the host."""
        for name in self._led - self._pidfds.keys():
            namespace = self._host.netns(name) if name in self._host.open_namespaces() else None
            if namespace is not None and namespace.pidfd >= 0:
                fd = os.dup(namespace.pidfd)
                self._pidfds[name] = fd
                self._watch(fd, select.EPOLLIN)
        self._call()

    def due(self, now: float) -> float | None:
        """Seconds until :meth:`changed` wants to be asked, whatever happens; None: it need not."""
        return max(0.0, self._docker_next - now) if self._docker is None and self._containers() else None

    def changed(self, ready: Iterable[int]) -> set[str]:
        """What the descriptors that are ready (and the time) say."""
        found: set[str] = set()
        signalled = set(ready)
        if self._names is None:
            self._open_folder()
        elif self._names.fileno() in signalled:
            names = self._names.names()
            new = set(self._sources) | set(self._host.inventory.netns) if names is None else names
            self._awaited |= new
            found |= new
        if self._mounts in signalled:
            found |= self._awaited
            found |= {name for name, source in self._sources.items() if source.startswith("path:")}
        self._awaited -= {name for name in self._awaited if self._settled(name)}
        for name, fd in list(self._pidfds.items()):
            if fd in signalled:
                found.add(name)
                self._forget(fd)
                os.close(fd)
                del self._pidfds[name]
        if self._docker is None:
            found |= self._call()
        elif self._docker.fileno() in signalled:
            found |= self._listen()
        if not found:
            return found
        known = (self._sources, self._host.inventory.netns, self._host.open_namespaces())
        return {name for name in found if name and any(name in names for names in known)}

    def _settled(self, name: str) -> bool:
        """Whether nothing more is to come after a name was made."""
        path = NETNS_FOLDER / name
        return not os.path.lexists(path) or os.path.ismount(path)

    def _open_folder(self) -> None:
        with suppress(OSError):  # nobody made a namespace here yet
            self._names = Inotify(NETNS_FOLDER)
            self._watch(self._names.fileno(), select.EPOLLIN)

    def _containers(self) -> set[str]:
        return {name for name in self._led if self._sources[name].startswith("docker:")}

    def _call(self) -> set[str]:
        """Ask Docker to tell what becomes of containers, where there are some; those that may have changed before it
        was asked."""
        containers = self._containers()
        if not containers or self._docker is not None or time.monotonic() < self._docker_next:
            return set()
        self._docker_next = time.monotonic() + _PATIENCE
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connection.settimeout(2.0)
            connection.connect(str(Path(socket_path())))
            connection.sendall(_DOCKER)
            connection.setblocking(False)
        except OSError:
            connection.close()
            return set()
        self._docker = connection
        self._watch(connection.fileno(), select.EPOLLIN)
        return containers

    def _listen(self) -> set[str]:
        """Whatever it says: the sandboxes of containers are looked at again."""
        assert self._docker is not None
        try:
            while data := self._docker.recv(65536):
                if len(data) < 65536:
                    break
            else:
                self._hang_up()
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up()
        return self._containers()

    def _hang_up(self) -> None:
        if self._docker is not None:
            self._forget(self._docker.fileno())
            self._docker.close()
            self._docker = None
