"""Who is at the other end: the addresses from which the person who runs us is connected to this host."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import NamedTuple

from reconciler.host.files import read_small

_ESTABLISHED = "01"  # include/net/tcp_states.h
_GENERATIONS = 64

IPAddress = IPv4Address | IPv6Address


class Peer(NamedTuple):
    """``address`` is the peer's, ``local`` ours that it speaks to (None: not known), ``known_by`` says how we know."""

    address: IPAddress
    local: IPAddress | None
    known_by: str


def connected_peers(environ: Mapping[str, str], pid: int | None = None) -> tuple[Peer, ...]:
    """From SSH_CONNECTION (sshd(8)); where that is not passed on (sudo drops it), the TCP connections that our
    ancestors hold: sshd's is one of them. Connections of this host with itself are left out."""
    found = _from_ssh(environ.get("SSH_CONNECTION", "")) or _from_ancestors(os.getpid() if pid is None else pid)
    return tuple(dict.fromkeys(peer for peer in found if not peer.address.is_loopback))


def _from_ssh(text: str) -> list[Peer]:
    words = text.split()
    try:
        return [Peer(_plain(words[0]), _plain(words[2]), "your ssh session")] if len(words) == 4 else []
    except ValueError:
        return []


def _plain(text: str) -> IPAddress:
    address = ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _from_ancestors(pid: int) -> list[Peer]:
    sockets = {f"socket:[{inode}]": ends for inode, ends in _connections()}
    found = []
    for ancestor in _ancestors(pid) if sockets else ():
        name = read_small(f"/proc/{ancestor}/comm").strip()
        for target in _descriptors(ancestor):
            if target in sockets:
                local, remote = sockets[target]
                found.append(Peer(remote, local, f"the connection of {name}, process {ancestor}, which started this"))
    return found


def _ancestors(pid: int) -> Iterable[int]:
    for _ in range(_GENERATIONS):
        if pid <= 0:
            return
        yield pid
        fields = read_small(f"/proc/{pid}/stat").rpartition(")")[2].split()
        pid = int(fields[1]) if len(fields) > 1 else 0


def _descriptors(pid: int) -> Iterable[str]:
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names are all that is wanted
    except OSError:
        return
    for name in names:
        try:
            yield str(Path(folder, name).readlink())
        except OSError:
            continue


def _connections() -> Iterable[tuple[str, tuple[IPAddress, IPAddress]]]:
    """(inode, (local, remote)) of the TCP connections of this network namespace (proc_net_tcp.rst)."""
    for table in ("tcp", "tcp6"):
        for line in read_small(f"/proc/thread-self/net/{table}").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _ESTABLISHED and fields[9] != "0":
                yield fields[9], (_hex(fields[1]), _hex(fields[2]))


def _hex(text: str) -> IPAddress:
    raw = bytes.fromhex(text.partition(":")[0])
    words = [raw[i : i + 4][::-1] for i in range(0, len(raw), 4)]  # 32-bit words in host order
    return _plain(str(ip_address(b"".join(words))))
