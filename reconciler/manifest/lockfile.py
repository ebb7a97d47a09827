"""cnm.lock: the automatic addresses that were decided, beside the manifests and meant to be committed.

Every node of a repository computes the same addresses because it reads the same decisions.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from reconciler.errors import ManifestError, Origin, Problem, UsageError
from reconciler.manifest.complaint import show
from reconciler.manifest.reader import read_documents
from reconciler.manifest.scalar import ScalarError, resolve
from reconciler.manifest.source import UnreadableError, read_regular, real_path

LOCK_NAME = "cnm.lock"
LOCK_VERSION = 1
_WORDS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,252}\Z")
_REQUIRED = frozenset(("version", "subnets", "addresses"))
_OPTIONAL = frozenset(("vnis", "blocks"))  # few networks have any
_HEADER = """\
# Automatic addresses, decided by cnm. Commit this file with the manifests;
# `cnm lock` and `cnm apply` keep it up to date, `--locked` refuses to change it.
"""


class Lock(Struct, frozen=True):
    """``subnets``: network -> CIDRs chosen for it. ``addresses``: ``network/endpoint`` -> addresses, IPv4 first.
    ``vnis``: ``network/CIDR`` -> the virtual network identifier of the segment that this subnet is on. ``blocks``:
    CIDR -> the node whose block it is and, where a driver keeps such apart, its owner."""

    subnets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    vnis: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    blocks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_lock(path: Path) -> Lock:
    """An absent file is an empty lock. Raises ManifestError for one that makes no sense."""
    if not os.path.lexists(path):
        return Lock()
    try:
        raw = read_regular(real_path(path, path.parent.resolve()))
    except UnreadableError as error:
        raise UsageError(f"{path} {error}") from None
    documents = read_documents(raw, path.name)
    if not documents:
        return Lock()
    data, positions = documents[0].data, documents[0].positions
    problems: list[Problem] = []

    def wrong(message: str, *where: str | int) -> None:
        line, column = positions.get(where) or positions.get(()) or (1, 1)
        hint = "restore it from git, or remove it and run `cnm lock` (addresses may change)"
        problems.append(Problem(Origin(file=path.name, line=line, column=column), message, hint))

    if len(documents) > 1:
        wrong("a lock file is one document")
    elif not isinstance(data, dict) or not _REQUIRED <= set(data) <= _REQUIRED | _OPTIONAL:
        wrong("a lock file has version, subnets and addresses, and vnis and blocks where there are any")
    elif type(data["version"]) is not int or data["version"] != LOCK_VERSION:
        wrong(f"lock file version {show(data['version'])}; this cnm reads {LOCK_VERSION}", "version")
    else:
        lock = Lock(
            _section(data["subnets"], "subnets", _cidr, wrong),
            _section(data["addresses"], "addresses", ip_address, wrong),
            _section(data.get("vnis", {}), "vnis", _vni, wrong),
            _section(data.get("blocks", {}), "blocks", _word, wrong, _cidr),
        )
        if not problems:
            return lock
    raise ManifestError(problems)


def _section(data: Any, name: str, parse: Any, wrong: Any, parse_key: Any = str) -> dict[str, tuple[str, ...]]:
    section: dict[str, tuple[str, ...]] = {}
    if not isinstance(data, dict):
        wrong(f"{name} is a mapping", name)
        return section
    for key, values in data.items():
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            wrong(f"{key}: expected a list of strings", name, key)
            continue
        try:
            parse_key(key)
        except ValueError as error:
            wrong(str(error), name, key)
        for number, value in enumerate(values):
            try:
                parse(value)
            except ValueError as error:
                wrong(str(error), name, key, number)
        section[key] = tuple(values)
    return section


def render_lock(lock: Lock) -> str:
    """The file's text: the same lock gives the same bytes."""
    lines = [_HEADER, f"version: {LOCK_VERSION}\n"]
    sections = {"subnets": lock.subnets, "addresses": lock.addresses, "vnis": lock.vnis, "blocks": lock.blocks}
    for name, section in sections.items():
        if name in _OPTIONAL and not section:
            continue
        lines.append(f"{name}:\n" if section else f"{name}: {{}}\n")
        lines += [f"  {_key(key)}: [{', '.join(map(_quoted, section[key]))}]\n" for key in sorted(section)]
    return "".join(lines)


def _cidr(text: str) -> object:
    if "/" not in text:
        raise ValueError(f"{text!r} is not a CIDR")
    return ip_network(text)


def _vni(text: str) -> object:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 24):
        raise ValueError(f"{text!r} is not a VNI")
    return int(text)


def _word(text: str) -> object:
    if not _WORDS.match(text):
        raise ValueError(f"{text!r} is neither a node nor an owner")
    return text


def _key(name: str) -> str:
    """A name as a key; ``true``, ``10`` and ``1e3`` are names too, and would not be read back as such."""
    try:
        plain = isinstance(resolve(name), str)
    except ScalarError:
        plain = False
    return name if plain else _quoted(name)


def _quoted(value: str) -> str:
    return f'"{value}"'


def write_lock(path: Path, lock: Lock, *, keep: bool = True) -> None:
    """Replace the file in one step, so that a crash leaves the old or the new one. ``keep`` False: only try whether
    that can be done. Raises UsageError."""
    if path.is_symlink():
        raise UsageError(f"{path} is a symbolic link; the lock file must be a file of its own")
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            with os.fdopen(fd, "w") as file:
                file.write(render_lock(lock))
                file.flush()
                os.fsync(file.fileno())
            if keep:
                draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; automatic addresses cannot be kept") from None
