"""What a host looks like to its user, as flat comparable data.

Counters, running timers and lifetimes are left out, and so are neighbours that traffic comes and goes with:
they change although nobody changes anything (NOARP: the kernel's own, of multicast groups).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from reconciler.host import libc

Fingerprint = dict[str, str]
"""``NAMESPACE: link/eth0`` and the like, to its JSON or value; the host's own namespace is the empty name."""

_READINGS = {
    "link": ("ip", "-j", "-d", "link", "show"),
    "address": ("ip", "-j", "-d", "address", "show"),
    "route": ("ip", "-j", "-d", "route", "show", "table", "all"),
    "route6": ("ip", "-6", "-j", "-d", "route", "show", "table", "all"),
    "rule": ("ip", "-j", "-d", "rule", "show"),
    "rule6": ("ip", "-6", "-j", "-d", "rule", "show"),
    "neighbour": ("ip", "-j", "-d", "neighbour", "show", "nud", "all"),
    "proxy": ("ip", "-j", "-d", "neighbour", "show", "proxy"),
    "proxy6": ("ip", "-6", "-j", "-d", "neighbour", "show", "proxy"),
    "nft": ("nft", "-j", "list", "ruleset"),
}
_VOLATILE = frozenset(("valid_life_time", "preferred_life_time", "expires", "packets", "bytes", "used"))
_LEARNED = frozenset(("REACHABLE", "STALE", "DELAY", "PROBE", "INCOMPLETE", "FAILED", "NOARP"))
_COUNTERS = frozenset(("net/netfilter/nf_conntrack_count", "net/ipv4/tcp_fastopen_key"))


def take(namespaces: Sequence[str]) -> Fingerprint:
    """Read the named namespaces of /run/netns ("" is the calling thread's own). Raises CalledProcessError."""
    found: Fingerprint = {}
    for name in namespaces:
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if name:
                with Path("/run/netns", name).open() as file:
                    libc.setns(file.fileno())
            found.update((f"{name}: {what}", value) for what, value in _here())
        finally:
            libc.setns(home)
            os.close(home)
    return found


def _here() -> Iterable[tuple[str, str]]:
    for what, command in _READINGS.items():
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        data = json.loads(text or "[]")
        objects = data["nftables"] if what == "nft" else data
        for number, item in enumerate(objects):
            state = item.get("state")
            if what == "neighbour" and isinstance(state, list) and _LEARNED.intersection(state):
                continue
            name = item.get("ifname") or item.get("dst") or number
            place = f"{what}/{number:03d} {name}" if what not in ("link", "address") else f"{what}/{name}"
            yield place, json.dumps(_steady(item), sort_keys=True)
    for path in _files("/proc/sys/net"):
        name = path.removeprefix("/proc/sys/")
        if name not in _COUNTERS:
            yield f"sysctl/{name}", _read(path)


def _files(folder: str) -> Iterable[str]:
    """Some two thousand a namespace, looked at with as few system calls as can be: they are dear in the lane."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            else:
                yield entry.path


def _read(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:  # some can only be written
        return f"errno {error.errno}"
    try:
        return os.read(fd, 1 << 16).decode(errors="replace").strip()
    except OSError as error:  # stable_secret before it is set
        return f"errno {error.errno}"
    finally:
        os.close(fd)


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _steady(v) for k, v in value.items() if k not in _VOLATILE and not k.endswith("_timer")}
    if isinstance(value, list):
        return [_steady(item) for item in value]
    return value


def difference(before: Fingerprint, after: Fingerprint) -> list[str]:
    """What is otherwise, a line each; empty when nothing is."""
    return [
        f"{key}: {before.get(key, '(absent)')} -> {after.get(key, '(absent)')}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]
