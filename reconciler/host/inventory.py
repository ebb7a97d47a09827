"""What cannot be marked on the host itself: which namespaces we made, what we made inside those of others, and
the values that stood before we set ours.

One JSON file an owner and host in the state folder, below /run: it lives exactly as long as what it tells of.
A host is its network namespace, known by boot id and cookie, so that many "hosts" can share one machine.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from reconciler.errors import ObservationError
from reconciler.host.step import Step, unhindered

FORMAT_VERSION = 1
SO_NETNS_COOKIE = 71  # include/uapi/asm-generic/socket.h, Linux 5.14
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def host_identity() -> str:
    """A name for the network namespace we are in, unique on this machine until it is gone: boot id and cookie."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        (cookie,) = struct.unpack("=Q", probe.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8))
    return f"{BOOT_ID.read_text().strip()[:8]}-{cookie:x}"


class Inventory:
    """Mutable memory of one owner on one host. Changes reach the disk with :meth:`save`, atomically.

    ``netns``: name of a namespace that we made -> its inode; 0 while it is only intended.
    ``made``: keys of what we made where marks prove nothing (other people's namespaces and interfaces).
    ``sources``: name of a sandbox in somebody else's namespace -> where that is (``pid:123``).
    ``devices``: key of a link -> the hardware that it is, and what that was on the host (resources/device.py).
    ``settings``: key of a sysctl -> {"value": what stood before, "along": {path: value} that changed with it}.
    """

    def __init__(self, path: Path, step: Step = unhindered) -> None:
        self.path = path
        self.lenient = False  # on the way back what cannot be written must not stop the rest; ``trouble`` tells
        self.trouble = ""
        self._step = step
        self.netns: dict[str, int] = {}
        self.made: set[str] = set()
        self.sources: dict[str, str] = {}
        self.settings: dict[str, dict[str, Any]] = {}
        self.devices: dict[str, dict[str, Any]] = {}
        self._saved = self._text()

    @classmethod
    def load(cls, folder: Path, owner: str, identity: str, step: Step = unhindered) -> Self:
        """Read it; an absent file is an empty inventory. Raises ObservationError for one that makes no sense:
        guessing what is ours is worse than stopping."""
        inventory = cls(folder / f"{owner}-{identity}.json", step)
        try:
            text = inventory.path.read_text()
        except FileNotFoundError:
            return inventory
        try:
            data = json.loads(text)
            if data["format_version"] != FORMAT_VERSION:
                raise ObservationError(
                    f"{inventory.path} has format {data['format_version']}, this cnm writes {FORMAT_VERSION}; "
                    "run the cnm that wrote it, or destroy with it first"
                )
            inventory.netns = {str(name): int(inode) for name, inode in data["netns"].items()}
            inventory.made = {str(key) for key in data["made"]}
            inventory.sources = {str(name): str(source) for name, source in data["sources"].items()}
            inventory.settings = {str(key): dict(entry) for key, entry in data["settings"].items()}
            inventory.devices = {str(key): dict(entry) for key, entry in data.get("devices", {}).items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ObservationError(f"{inventory.path} is damaged: {error}") from None
        inventory._saved = inventory._text()
        return inventory

    def _text(self) -> str:
        data = {
            "format_version": FORMAT_VERSION,
            "netns": dict(sorted(self.netns.items())),
            "made": sorted(self.made),
            "sources": dict(sorted(self.sources.items())),
            "settings": dict(sorted(self.settings.items())),
            "devices": dict(sorted(self.devices.items())),
        }
        return json.dumps(data, separators=(",", ":"))

    @property
    def empty(self) -> bool:
        return not (self.netns or self.made or self.sources or self.settings or self.devices)

    def save(self) -> None:
        """Write it when it changed; an empty one is removed. Raises OSError, unless it is lenient."""
        text = self._text()
        if text == self._saved:
            self.trouble = ""
            return
        try:
            self._write(text)
        except OSError as error:
            self.trouble = error.strerror or str(error)
            if not self.lenient:
                raise
        else:
            self.trouble = ""
            self._saved = text

    def _write(self, text: str) -> None:
        self._step("file", self.path.name)
        if self.empty:
            self.path.unlink(missing_ok=True)
            with suppress(OSError):
                self.path.parent.rmdir()
        else:
            self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            draft = self.path.with_suffix(".new")
            try:
                fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                with os.fdopen(fd, "w") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                draft.replace(self.path)
            except OSError:
                draft.unlink(missing_ok=True)
                raise
