"""One network namespace, held open: its socket, its interfaces' indices, its sysctls."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

from reconciler.errors import ObservationError
from reconciler.host import libc
from reconciler.host.nftables import Nftables
from reconciler.host.procfs import Procfs
from reconciler.host.rtnl import Rtnl
from reconciler.host.step import Step, unhindered
from reconciler.netlink.link import RTM_GETLINK, RawLink, decode_link, dump_links
from reconciler.netlink.xfrm import NETLINK_XFRM

PROC_SYS = "/proc/sys/"
UNSEEN: Mapping[str, str] = {}


class Indices(dict[str, int]):
    """Interface names to indices; :attr:`names` is the way back. Changed by ``[]=``, ``setdefault`` and ``pop`` only."""

    __slots__ = ("names",)

    def __init__(self, links: Iterable[RawLink] = ()) -> None:
        super().__init__((link.name, link.ifindex) for link in links)
        self.names: dict[int, str] = {index: name for name, index in self.items()}

    def __setitem__(self, name: str, index: int) -> None:
        super().__setitem__(name, index)
        self.names[index] = name

    def setdefault(self, name: str, index: int = 0) -> int:
        if name not in self:
            self[name] = index
        return self[name]

    def pop(self, name: str, default: int | None = None) -> int | None:  # type: ignore[override]  # absent is no error
        index = super().pop(name, None)
        if index is None:
            return default
        if self.names.get(index) == name:
            del self.names[index]
        return index


class Namespace:
    """A handle that survives renames and unmounts of the name it was opened by.

    It costs one descriptor: that of its socket, which keeps the namespace alive and leads back into it. What it was
    opened by is closed when the socket is there.

    ``by_index`` and ``links`` are its interfaces as of the last :meth:`look`, or as events told since; ``index`` maps
    their names to indices, and whoever makes or removes one keeps it up to date. ``owners`` maps indices to the owner
    whose mark was believed.
    ``pidfd`` is set when the namespace was found through a process: that process must still be the one it was,
    and still be in here, whenever we write (:meth:`check`).
    """

    __slots__ = (
        "_fd",
        "_home",
        "_nftables",
        "_procfs",
        "_rtnl",
        "_step",
        "_xfrm",
        "by_index",
        "index",
        "inode",
        "name",
        "owners",
        "pid",
        "pidfd",
    )

    def __init__(
        self,
        name: str,
        fd: int,
        home: int,
        procfs: Procfs,
        *,
        pid: int = 0,
        pidfd: int = -1,
        step: Step = unhindered,
    ) -> None:
        self.name = name
        self._fd = fd
        self.inode = os.fstat(fd).st_ino
        self.pid = pid
        self.pidfd = pidfd
        self.index = Indices()
        self.by_index: dict[int, RawLink] = {}
        self.owners: dict[int, str] = {}
        self._home = home
        self._procfs = procfs
        self._rtnl: Rtnl | None = None
        self._xfrm: Rtnl | None = None
        self._step = step
        self._nftables: Nftables | None = None

    def close(self) -> None:
        if self._rtnl is not None:
            self._rtnl.close()
        if self._nftables is not None:
            self._nftables.close()
        if self._xfrm is not None:
            self._xfrm.close()
        self._drop()
        self._procfs.drop(self.inode)
        if self.pidfd >= 0:
            os.close(self.pidfd)

    @property
    def rtnl(self) -> Rtnl:
        """The namespace's own socket, opened on first use and kept."""
        if self._rtnl is None:
            with self.entered():
                self._rtnl = Rtnl(self.name, self._step)
            self._drop()
        return self._rtnl

    @property
    def nftables(self) -> Nftables:
        """The same for nftables."""
        if self._nftables is None:
            with self.entered():
                self._nftables = Nftables(self.name)
        return self._nftables

    @property
    def xfrm(self) -> Rtnl:
        """The same for IPsec. Raises OSError when this kernel has none."""
        if self._xfrm is None:
            with self.entered():
                self._xfrm = Rtnl(self.name, self._step, NETLINK_XFRM)
        return self._xfrm

    def _drop(self) -> None:
        """Close what the namespace was opened by."""
        if self._fd not in (self._home, -1):
            os.close(self._fd)
            self._fd = -1

    @contextmanager
    def descriptor(self) -> Iterator[int]:
        """A descriptor of the namespace for the length of the block."""
        if self._fd >= 0:
            yield self._fd
            return
        fd = self.rtnl.namespace()
        try:
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is inside for the length of the block."""
        if self._fd == self._home:
            yield
            return
        with self.descriptor() as fd:
            libc.setns(fd)
        try:
            yield
        finally:
            libc.setns(self._home)

    @property
    def links(self) -> Collection[RawLink]:
        return self.by_index.values()

    def look(self) -> None:
        """Read the interfaces afresh. Raises ObservationError."""
        links: list[RawLink] = self.rtnl.dump(RTM_GETLINK, dump_links(), decode_link)
        self.by_index = {link.ifindex: link for link in links}
        self.index = Indices(links)
        self.owners = {}

    def names(self) -> Mapping[int, str]:
        """Index to name, as ``index`` stands."""
        return self.index.names

    def check(self) -> None:
        """Raise ObservationError when the process that led here is gone or has moved to another namespace."""
        if self.pidfd < 0:
            return
        poll = select.poll()  # not select(2), which ends at descriptor 1,024
        poll.register(self.pidfd, select.POLLIN)
        inode = 0
        if not poll.poll(0):
            with suppress(OSError):
                inode = os.stat(f"/proc/{self.pid}/ns/net").st_ino  # noqa: PTH116 - a magic link, not a path
        if inode != self.inode:
            raise ObservationError(f"sandbox {self.name}: process {self.pid} is gone or has changed its namespace")

    def read_sysctls(self, paths: Sequence[str], *, keep: bool = False, write: Container[str] = ()) -> list[str | None]:
        """Values of sysctls (paths below /proc/sys); None for those that do not exist. One visit for all.

        ``keep``: leave them open for the next time. Opening is most of what a sysctl costs, and what is open is read
        from outside: it knows its namespace. Those of ``write`` will most likely be written next, and are opened for that
        as well.
        """
        if keep:
            kept = self._kept(paths, write)
            if all(path in kept for path in paths):
                try:
                    return [_value(kept[path]) for path in paths]
                except OSError:  # an interface went, and perhaps came again under the same name
                    self._procfs.drop(self.inode)
        with self.entered():
            return [self._read(path) for path in paths]

    def _kept(self, paths: Iterable[str], write: Container[str]) -> Mapping[str, int]:
        """Descriptors, as far as there may be some: for writing as well those of ``write``, unless the host is only looked
        at."""
        kept = self._procfs.kept.get(self.inode, {})
        missing = [path for path in paths if path not in kept]
        if missing and self._fd != self._home:
            fresh: dict[str, int] = {}
            with self.entered(), suppress(OSError):
                for path in missing:
                    fresh[path] = fd = self._open_kept(path) if path in write else self._open(path, os.O_RDONLY)
                    if not self._procfs.may_keep(fd):
                        break
            if len(fresh) < len(missing) or not self._procfs.may_keep(max(fresh.values())):
                for fd in fresh.values():
                    os.close(fd)
            else:
                kept = self._procfs.kept.setdefault(self.inode, {})
                kept.update(fresh)
        return kept

    def _open_kept(self, path: str) -> int:
        if not self._procfs.read_only:
            try:
                return self._open(path, os.O_RDWR)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                    raise
        return self._open(path, os.O_RDONLY)

    def _read(self, path: str) -> str | None:
        try:
            fd = self._open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            return _value(fd)
        finally:
            os.close(fd)

    def _open(self, path: str, flags: int) -> int:
        """A sysctl, for callers that are inside. Raises OSError."""
        if self._fd == self._home:  # through the /proc that everybody sees, also where that is read-only
            return os.open(PROC_SYS + path, flags | os.O_CLOEXEC)
        return os.open(f"sys/{path}", flags | os.O_CLOEXEC, dir_fd=self._procfs.folder(self.inode))

    def settle(self, sysctls: Iterable[tuple[str, str]]) -> None:
        """For a namespace that the calling thread just made and is still in: open its socket, set its sysctls."""
        self._rtnl = Rtnl(self.name, self._step)
        self._drop()
        for path, value in sysctls:
            self.write_sysctl_here(path, value)

    def write_sysctls(
        self, values: Sequence[tuple[str, str]], *, keep: bool = False, seen: Mapping[str, str] = UNSEEN
    ) -> list[OSError | None]:
        """Set sysctls that do not hold their value yet. One visit for all; what went wrong, one by one. ``keep`` as in
        :meth:`read_sysctls`. ``seen``: values that were read before; what had another is not read again."""
        results: list[OSError | None] = []
        paths = [path for path, _value in values]
        kept = self._kept(paths, paths) if keep else {}
        with ExitStack() as visit:
            inside = False
            for path, value in values:
                try:
                    self._step("sysctl", path)
                    if path in kept and seen.get(path, value) == value and _holds(kept[path], value):
                        results.append(None)
                        continue
                    if not inside:
                        visit.enter_context(self.entered())
                        inside = True
                    self._bring(path, value, kept.get(path))
                except OSError as error:
                    results.append(error)
                else:
                    results.append(None)
        return results

    def _bring(self, path: str, value: str, kept: int | None) -> None:
        """``kept`` is its descriptor, if any, perhaps for reading only."""
        if kept is not None:
            try:
                return _write(kept, value)
            except (
                OSError
            ) as error:  # it went with its interface, and there may be another of its name; or: not for writing
                if error.errno not in (errno.ENOENT, errno.EBADF):
                    raise
        fd = self._open(path, os.O_RDWR)
        try:
            if _value(fd) != value:
                _write(fd, value)
        finally:
            os.close(fd)

    def write_sysctl_here(self, path: str, value: str) -> None:
        """Write one sysctl, for callers that are inside already. Raises OSError with the kernel's reason."""
        self._step("sysctl", path)
        fd = self._open(path, os.O_WRONLY)
        try:
            _write(fd, value)
        finally:
            os.close(fd)

    def interfaces_with_sysctls(self, family: str) -> tuple[str, ...]:
        """Names below net/FAMILY/conf: interfaces, ``all`` and ``default``."""
        with self.entered():
            fd = self._open(f"net/{family}/conf", os.O_RDONLY | os.O_DIRECTORY)
            try:
                return tuple(sorted(os.listdir(fd)))  # noqa: PTH208 - by descriptor
            finally:
                os.close(fd)


def _write(fd: int, value: str) -> None:
    os.pwrite(fd, f"{value}\n".encode(), 0)  # the newline is what clears a list: nothing at all is no write


def _holds(fd: int, value: str) -> bool:
    """Whether a kept sysctl has a value. False too when it went with its interface: there may be another of its name."""
    try:
        return _value(fd) == value
    except FileNotFoundError:
        return False


def _value(fd: int) -> str | None:
    """What an open sysctl says, spaces evened out; None while it was never set (stable_secret)."""
    try:
        return " ".join(os.pread(fd, 4096, 0).decode("utf-8", "replace").split())
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EIO):
            raise
        return None
