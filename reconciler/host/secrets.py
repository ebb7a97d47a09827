"""Keys in files: read when they are compared or written, kept in memory only, known to others by fingerprint."""

from __future__ import annotations

import hmac
import os
import re
import stat
from pathlib import Path

_LARGEST = 1 << 16
_LEAST = 32  # bytes of a key
_LINE = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]{0,62})\s+([0-9A-Fa-f]+)\s*\Z")
_PASSWORD = re.compile(r"[!#-~]([ !#-~]{0,78}[!#-~])?\Z")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Secrets:
    """The keys of all files that were asked for. A file is looked at again when it has changed.

    A file is text: a line a key, its id and its bytes in hexadecimal digits; ``#`` begins a comment.
    """

    def __init__(self) -> None:
        self._files: dict[str, tuple[tuple[int, ...], dict[str, bytes]]] = {}

    def get(self, file: str, key_id: str) -> bytes | None:
        """A key; None when the file is absent, not a regular file, readable by others, of another owner than root or
        us, or has no such key of at least 32 bytes."""
        return self._read(file).get(key_id)

    @classmethod
    def password(cls, file: str) -> str | None:
        """The first line of a file that only root or we can read: 1 to 80 printable ASCII characters (RFC 2385 and the
        kernel's TCP_MD5SIG_MAXKEYLEN), without quotation marks, which BIRD has no way to write. None when it is not so."""
        found = _open(file)
        if found is None:
            return None
        fd, _version = found
        try:
            line = os.read(fd, _LARGEST).partition(b"\n")[0].decode("ascii", "replace").strip()
        except OSError:
            return None
        finally:
            os.close(fd)
        return line if _PASSWORD.match(line) else None

    def ids(self, file: str) -> tuple[str, ...]:
        return tuple(self._read(file))

    @staticmethod
    def fingerprint(key: bytes) -> str:
        """Tells one key from another until the next boot, and nothing about either."""
        return hmac.digest(_BOOT_ID.read_bytes(), key, "sha256")[:8].hex()

    def _read(self, file: str) -> dict[str, bytes]:
        found = _open(file)
        if found is None:
            return {}
        fd, version = found
        try:
            known = self._files.get(file)
            if known is None or known[0] != version:
                known = self._files[file] = (version, _parse(os.read(fd, _LARGEST)))
            return known[1]
        except OSError:
            return {}
        finally:
            os.close(fd)


def _open(file: str) -> tuple[int, tuple[int, ...]] | None:
    """A descriptor, and what changes with the file; None for what is absent, no regular file, readable by others, or of
    another owner than root or us."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    about = os.fstat(fd)
    if not stat.S_ISREG(about.st_mode) or about.st_mode & 0o077 or about.st_uid not in (0, os.geteuid()):
        os.close(fd)
        return None
    return fd, (about.st_dev, about.st_ino, about.st_mtime_ns, about.st_ctime_ns, about.st_size)


def _parse(raw: bytes) -> dict[str, bytes]:
    """Lines that make no sense are no keys; an id that is there twice is none either."""
    found: dict[str, bytes] = {}
    twice: set[str] = set()
    for line in raw.decode("utf-8", "replace").splitlines():
        match = _LINE.match(line.partition("#")[0])
        if match is None or len(match[2]) % 2 or len(match[2]) < 2 * _LEAST:
            continue
        if match[1] in found:
            twice.add(match[1])
        found[match[1]] = bytes.fromhex(match[2])
    return {key_id: key for key_id, key in found.items() if key_id not in twice}
