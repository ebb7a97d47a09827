"""What cannot be marked on the host itself: which namespaces we made, what we made inside those of others, and
the values that stood before we set ours.

One file an owner and host in the state folder, below /run: it lives exactly as long as what it tells of. Its first line
is all that is known, each later line what has changed since, so that a change costs what it is and not what is known.
A host is its network namespace, known by boot id and cookie, so that many "hosts" can share one machine.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator, Mapping, MutableMapping, MutableSet
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from reconciler.errors import ObservationError
from reconciler.host.line import line
from reconciler.host.step import Step, unhindered

FORMAT_VERSION = 2
SO_NETNS_COOKIE = 71  # include/uapi/asm-generic/socket.h, Linux 5.14
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LONGEST = 1 << 20  # bytes of changes, at least so many as the first line has, after which it is written anew

V = TypeVar("V")


def host_identity() -> str:
    """A name for the network namespace we are in, unique on this machine until it is gone: boot id and cookie."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        (cookie,) = struct.unpack("=Q", probe.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8))
    return f"{BOOT_ID.read_text().strip()[:8]}-{cookie:x}"


class Section(MutableMapping[str, V]):
    """A part of the inventory. It knows what was changed since it was last saved; values are replaced, never changed."""

    __slots__ = ("_data", "_were")

    def __init__(self) -> None:
        self._data: dict[str, V] = {}
        self._were: dict[str, V | None] = {}  # as last saved, of what was changed since; None: it was not there

    def __getitem__(self, key: str) -> V:
        return self._data[key]

    def __contains__(self, key: object) -> bool:
        return key in self._data

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __setitem__(self, key: str, value: V) -> None:
        self._were.setdefault(key, self._data.get(key))
        self._data[key] = value

    def __delitem__(self, key: str) -> None:
        value = self._data.pop(key)
        self._were.setdefault(key, value)

    def changes(self) -> dict[str, V | None]:
        """What is otherwise than it was saved, by key; None: it is gone."""
        if not self._were:
            return {}
        found = {key: self._data.get(key) for key, was in self._were.items() if self._data.get(key) != was}
        return dict(sorted(found.items()))

    def whole(self) -> dict[str, V]:
        return dict(sorted(self._data.items()))

    def saved(self) -> None:
        self._were.clear()


class Keys(MutableSet[str]):
    """A section of which only the keys matter."""

    __slots__ = ("section",)

    def __init__(self, section: Section[bool]) -> None:
        self.section = section

    def __contains__(self, key: object) -> bool:
        return key in self.section

    def __iter__(self) -> Iterator[str]:
        return iter(self.section)

    def __len__(self) -> int:
        return len(self.section)

    def add(self, value: str) -> None:
        if value not in self.section:
            self.section[value] = True

    def discard(self, value: str) -> None:
        self.section.pop(value, None)


class Inventory:
    """Mutable memory of one owner on one host. Changes reach the disk with :meth:`save`: all of them, or none.

    ``netns``: name of a namespace that we made -> its inode; 0 while it is only intended.
    ``made``: keys of what we made where marks prove nothing (other people's namespaces and interfaces).
    ``sources``: name of a sandbox in somebody else's namespace -> where that is (``pid:123``).
    ``devices``: key of a link -> the hardware that it is, and what that was on the host (resources/device.py).
    ``remotes``: name of what lies beyond this host and in which we made things -> how it is reached (never credentials,
    only the paths of their files).
    ``secrets``: key of a security association -> the file that its key was made from, and the id there.
    ``settings``: key of a sysctl -> {"value": what stood before, "along": {path: value} that changed with it}.
    """

    def __init__(self, path: Path, step: Step = unhindered) -> None:
        self.path = path
        self.lenient = False  # on the way back what cannot be written must not stop the rest; ``trouble`` tells
        self.trouble = ""
        self._step = step
        self.netns = Section[int]()
        self.made = Keys(Section[bool]())
        self.sources = Section[str]()
        self.settings = Section[dict[str, Any]]()
        self.devices = Section[dict[str, Any]]()
        self.remotes = Section[dict[str, Any]]()
        self.secrets = Section[dict[str, str]]()
        self._sections: dict[str, Section[Any]] = {
            "netns": self.netns,
            "made": self.made.section,
            "sources": self.sources,
            "settings": self.settings,
            "devices": self.devices,
            "remotes": self.remotes,
            "secrets": self.secrets,
        }
        self._first = 0  # bytes of the first line; 0: the next save writes the file anew
        self._size = 0  # bytes of the file

    @classmethod
    def load(cls, folder: Path, owner: str, identity: str, step: Step = unhindered) -> Self:
        """Read it; an absent file is an empty inventory. A last line that was not finished does not count: what it
        was to remember was not done. Raises ObservationError for a file that makes no sense: guessing what is ours is
        worse than stopping."""
        inventory = cls(folder / f"{owner}-{identity}.json", step)
        try:
            raw = inventory.path.read_bytes()
        except FileNotFoundError:
            return inventory
        whole, _, rest = raw.partition(b"\n")
        lines, _, torn = rest.rpartition(b"\n")
        try:
            inventory._begin(json.loads(whole))
            for change in lines.splitlines():
                inventory._take(json.loads(change))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ObservationError(f"{inventory.path} is damaged: {error}") from None
        for section in inventory._sections.values():
            section.saved()
        if not torn:
            inventory._first, inventory._size = len(whole) + 1, len(raw)
        return inventory

    def _begin(self, data: dict[str, Any]) -> None:
        if data["format_version"] != FORMAT_VERSION:
            raise ObservationError(
                f"{self.path} has format {data['format_version']}, this cnm writes {FORMAT_VERSION}; "
                "run the cnm that wrote it, or destroy with it first"
            )
        self._take(
            {name: data.get(name, {}) if name in ("remotes", "secrets") else data[name] for name in self._sections}
        )

    def _take(self, data: Mapping[str, Mapping[str, Any]]) -> None:
        shapes = {"netns": int, "made": bool, "sources": str}
        for name, entries in data.items():
            section, shape = self._sections[name], shapes.get(name, dict)
            for key, value in entries.items():
                if value is None:
                    section.pop(key, None)
                else:
                    section[key] = shape(value)

    @property
    def empty(self) -> bool:
        return not any(self._sections.values())

    def save(self) -> None:
        """Write what changed; an empty one is removed. Raises OSError, unless it is lenient."""
        changes = {name: found for name, section in self._sections.items() if (found := section.changes())}
        if changes:
            try:
                self._write(changes)
            except OSError as error:
                self.trouble = error.strerror or str(error)
                if not self.lenient:
                    raise
                return
        self.trouble = ""
        for section in self._sections.values():
            section.saved()

    def _write(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        self._step("file", self.path.name)
        if self.empty:
            self.path.unlink(missing_ok=True)
            self._first = self._size = 0
            with suppress(OSError):
                self.path.parent.rmdir()
            return
        text = line(changes)
        if not self._first or self._size + len(text) > 2 * self._first + _LONGEST or not self._append(text):
            self._anew()

    def _append(self, text: bytes) -> bool:
        """False when the file is not the one that we know."""
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            if os.fstat(fd).st_size != self._size:
                return False
            try:
                if os.write(fd, text) != len(text):
                    return False
                os.fsync(fd)
            except OSError:
                self._first = 0  # it may end in half a line
                with suppress(OSError):
                    os.ftruncate(fd, self._size)
                raise
        finally:
            os.close(fd)
        self._size += len(text)
        return True

    def _anew(self) -> None:
        data = {"format_version": FORMAT_VERSION}
        text = line(data | {name: section.whole() for name, section in self._sections.items()})
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = self.path.with_suffix(".new")
        try:
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        self._first = self._size = len(text)
