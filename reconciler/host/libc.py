"""The system calls that Python 3.11 does not have: setns, unshare, mount, umount2, fsopen and what goes with it."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED = 0x1000, 0x4000, 0x40000, 0x100000
MNT_DETACH = 2
# Numbers that are the same for all architectures but alpha; glibc has names for them only since 2.36.
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_FSOPEN_CLOEXEC, _FSCONFIG_CMD_CREATE, _FSMOUNT_CLOEXEC = 1, 6, 1
_NOSUID_NODEV_NOEXEC = 0x2 | 0x4 | 0x8

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def setns(fd: int, kind: int = CLONE_NEWNET) -> None:
    """Move the calling thread into the namespace of ``fd``. Raises OSError."""
    _check(_libc.setns(fd, kind), "setns")


def unshare(kind: int = CLONE_NEWNET) -> None:
    """Give the calling thread a new namespace. Raises OSError."""
    _check(_libc.unshare(kind), "unshare")


def mount(source: str, target: str, flags: int) -> None:
    """mount(2) with ``flags`` only (bind and propagation changes). Raises OSError."""
    _check(_libc.mount(source.encode(), target.encode(), b"none", flags, None), target)


def unmount(target: str) -> None:
    """umount2(2), detached: it succeeds while somebody still uses what is mounted. Raises OSError."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), target)


def new_mount(kind: str) -> int:
    """A descriptor of a new file system's root that is mounted nowhere and goes with the descriptor. Raises OSError."""
    context = _libc.syscall(_FSOPEN, kind.encode(), _FSOPEN_CLOEXEC)
    _check(min(context, 0), "fsopen")
    try:
        _check(_libc.syscall(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0), "fsconfig")
        root: int = _libc.syscall(_FSMOUNT, context, _FSMOUNT_CLOEXEC, _NOSUID_NODEV_NOEXEC)
        _check(min(root, 0), "fsmount")
        return root
    finally:
        os.close(context)
