"""This machine, as far as cnm touches it: namespaces, nftables, the inventory. The only door to the kernel."""

from __future__ import annotations

import fcntl
import os
import resource
from collections.abc import Iterable, Sequence, Set
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from reconciler.errors import ObservationError, RemoteError
from reconciler.host import libc
from reconciler.host.config import Config
from reconciler.host.files import read_small
from reconciler.host.inventory import Inventory, host_identity
from reconciler.host.namespace import Namespace
from reconciler.host.nft import Nft
from reconciler.host.openflow import OpenFlow
from reconciler.host.ovsdb import Ovsdb
from reconciler.host.procfs import Procfs
from reconciler.host.secrets import Secrets
from reconciler.host.step import Step, unhindered
from reconciler.resources.resource import Key

if TYPE_CHECKING:
    from reconciler.host.apic import Apic, Login

NETNS_FOLDER = Path("/run/netns")  # where iproute2 looks
STATE_FOLDER = Path("/run/cnm")
OWN_NAMESPACE = "/proc/thread-self/ns/net"
NS_GET_NSTYPE = 0xB703  # include/uapi/linux/nsfs.h


class Host:
    """The host is the network namespace in which this object is made. Keep one open as long as you work:
    namespaces and sockets are opened once and kept. Not for use by two threads at once."""

    def __init__(
        self,
        *,
        owner: str = "cnm",
        state_dir: Path | None = None,
        step: Step = unhindered,
        read_only: bool = False,
    ) -> None:
        """``read_only``: no sysctl is opened for writing. Raises ObservationError, PermissionError."""
        self.owner = owner
        self.state_dir = state_dir or STATE_FOLDER
        self.step = step
        _raise_file_limit()
        self._home = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        self._procfs = Procfs(read_only=read_only)
        self.root = Namespace("", self._home, self._home, self._procfs, step=step)
        self._namespaces: dict[str, Namespace] = {"": self.root}
        self.nft = Nft(step)
        self.ovsdb = Ovsdb(step)
        self.openflow = OpenFlow(self.ovsdb, step)
        self.secrets = Secrets()
        self.config = Config()
        self._apics: dict[str, Apic] = {}
        self.identity = host_identity()
        self.inventory = Inventory.load(self.state_dir, owner, self.identity, step)
        self.next_group = 0
        self.making: frozenset[Key] = frozenset()  # what an interrupted run was about to make: it may lack its mark

    def reload(self) -> None:
        """Read the inventory again: another cnm of this owner may have written it. Raises ObservationError."""
        self.inventory = Inventory.load(self.state_dir, self.owner, self.identity, self.step)

    @cached_property
    def first(self) -> bool:
        """Whether this is the network namespace of the machine's (or container's) first process: it comes back."""
        return self.root.inode == _first_namespace()

    @property
    def runtime(self) -> Path:
        """The folder of this owner's processes on this host: their sockets and what else goes when they end."""
        return self.state_dir / f"{self.owner}-{self.identity}"

    @property
    def mark(self) -> str:
        """What processes of ours carry: whose they are, and on which host."""
        return f"{self.owner}/{self.identity}"

    @staticmethod
    def has_xfrm() -> bool:
        """Whether a module for IPsec is loaded already, so that looking for states loads none."""
        return Path("/sys/module/xfrm_user").is_dir()

    def close(self) -> None:
        for namespace in self._namespaces.values():
            namespace.close()
        self._namespaces.clear()
        for apic in self._apics.values():
            apic.close()
        self._procfs.close()
        self.ovsdb.close()
        os.close(self._home)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def apic(self, login: Login) -> Apic:
        """The session with a fabric's controllers, opened when it is first asked something and then kept."""
        from reconciler.host.apic import Apic  # few hosts speak to any, and it is slow to load

        apic = self._apics.get(login.name)
        if apic is None or apic.login != login:
            if apic is not None:
                apic.close()
            apic = self._apics[login.name] = Apic(login, self.step)
        return apic

    @staticmethod
    def has_password(path: str) -> bool:
        """Whether a file holds a password, as only those may that nobody else can read."""
        from reconciler.host.apic import read_password

        try:
            return bool(read_password(path))
        except RemoteError:
            return False

    def known_apic(self, name: str) -> Apic | None:
        """The session with a fabric that was looked at before."""
        return self._apics.get(name)

    def netns(self, name: str) -> Namespace:
        """The open namespace of a sandbox (``""``: the host's). Raises KeyError when it was not found yet."""
        return self._namespaces[name]

    def open_namespaces(self) -> Set[str]:
        """Names of the sandboxes whose namespaces are open; a view, asked millions of times."""
        return self._namespaces.keys()

    def find(self, name: str, source: str) -> Namespace | None:
        """Open a sandbox's namespace by where it is (``named``, ``path:/x``, ``pid:1``, ``docker:web``); None
        when it is not there. What was opened stays open, and is looked at again only by its identity.

        Raises ObservationError when it is the host's own namespace: that is only for ``stack: host``.
        """
        namespace = self._namespaces.get(name)
        if namespace is not None and self._still(namespace, source):
            return namespace
        self.forget(name)
        namespace = self._open(name, source)
        if namespace is None:
            return None
        if namespace.inode in (self.root.inode, _first_namespace()):
            namespace.close()
            raise ObservationError(
                f"sandbox {name}: {source} is the host's own network namespace; write 'stack: host' if you mean it"
            )
        self._namespaces[name] = namespace
        return namespace

    def _still(self, namespace: Namespace, source: str) -> bool:
        try:
            if source == "named" or source.startswith("path:"):
                path = self._path(namespace.name, source)
                return os.stat(path).st_ino == namespace.inode  # noqa: PTH116 - nsfs inode, one call
            namespace.check()
        except (OSError, ObservationError):
            return False
        return True

    @staticmethod
    def _path(name: str, source: str) -> str:
        return f"{NETNS_FOLDER}/{name}" if source == "named" else source.removeprefix("path:")

    def _open(self, name: str, source: str) -> Namespace | None:
        how, _, what = source.partition(":")
        pid, pidfd = 0, -1
        if how in ("pid", "docker"):
            pid = int(what) if how == "pid" else _container_pid(what)
            if not pid:
                return None
            try:
                pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                return None
            path = f"/proc/{pid}/ns/net"
        else:
            path = self._path(name, source)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
            if pidfd >= 0:
                os.close(pidfd)
            return None
        except OSError as error:
            if pidfd >= 0:
                os.close(pidfd)
            raise ObservationError(f"sandbox {name}: {path}: {error.strerror}") from None
        self._procfs.make_room(fd)
        if not _is_namespace(fd):
            os.close(fd)
            if source == "named":
                return None  # the empty file that a dead namespace leaves behind, or a foreign file: create() decides
            raise ObservationError(f"sandbox {name}: {path} is not a network namespace")
        return Namespace(name, fd, self._home, self._procfs, pid=pid, pidfd=pidfd, step=self.step)

    def create(self, name: str, sysctls: Iterable[tuple[str, str]] = (), requests: Sequence[bytes] = ()) -> Namespace:
        """Make a named network namespace, as ``ip netns add`` does. It gets these sysctls, and these netlink
        requests (its mark) are carried out in it, before it gets its name: whoever finds it finds it whole.
        Raises OSError; FileExistsError when the name is taken."""
        self.step("netns", f"create {name}")
        self._share_folder()
        path = NETNS_FOLDER / name
        self.sweep(name)
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
        try:
            libc.unshare()
            try:
                fd = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
                self._procfs.make_room(fd)
                namespace = Namespace(name, fd, self._home, self._procfs, step=self.step)
                try:
                    namespace.settle(sysctls)
                    for refusal in namespace.rtnl.send(requests).values():
                        raise OSError(refusal.errno, refusal.text)
                    self.step("netns", f"name {name}")
                    libc.mount(OWN_NAMESPACE, str(path), libc.MS_BIND)
                except BaseException:
                    namespace.close()
                    raise
            finally:
                libc.setns(self._home)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._namespaces[name] = namespace
        return namespace

    def sweep(self, name: str) -> None:
        """Remove the empty file that is left of a namespace of ours when cnm is killed while it makes or removes it."""
        path = NETNS_FOLDER / name
        with suppress(FileNotFoundError):
            if not os.path.ismount(path) and path.stat().st_size == 0 and self.inventory.netns.get(name) is not None:
                path.unlink()

    def _share_folder(self) -> None:
        """/run/netns must be a shared mount, or namespaces made here stay invisible to other mount namespaces
        (and theirs cannot be removed): iproute2 does the same."""
        if getattr(self, "_shared", False):
            return
        NETNS_FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            libc.mount("", str(NETNS_FOLDER), libc.MS_SHARED | libc.MS_REC)
        except OSError:  # not a mount point yet
            libc.mount(str(NETNS_FOLDER), str(NETNS_FOLDER), libc.MS_BIND | libc.MS_REC)
            libc.mount("", str(NETNS_FOLDER), libc.MS_SHARED | libc.MS_REC)
        self._shared = True

    def delete(self, name: str) -> None:
        """Remove a named namespace; absent is success. It dies when the last process in it ends. Raises OSError."""
        self.step("netns", f"delete {name}")
        self.forget(name)
        path = NETNS_FOLDER / name
        with suppress(FileNotFoundError):
            with suppress(OSError):  # EINVAL: no mount, only its empty file
                libc.unmount(str(path))
            path.unlink()

    def forget(self, name: str) -> None:
        """Close a sandbox's namespace and its socket."""
        namespace = self._namespaces.pop(name, None)
        if namespace is not None:
            namespace.close()


def _is_namespace(fd: int) -> bool:
    """True for a network namespace, asked of the kernel (ioctl_ns(2))."""
    try:
        return fcntl.ioctl(fd, NS_GET_NSTYPE) == libc.CLONE_NEWNET
    except OSError:
        return False


def _first_namespace() -> int:
    """The inode of the first process's namespace; 0 when we may not look."""
    try:
        return os.stat("/proc/1/ns/net").st_ino  # noqa: PTH116 - a magic link
    except OSError:
        return 0


def _raise_file_limit() -> None:
    """A sandbox costs a descriptor for its socket, and some for its sysctls where there is room: 10,000 of them are more
    than many hosts allow."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(hard, int(read_small("/proc/sys/fs/nr_open") or hard))  # root may go so far (CAP_SYS_RESOURCE)
    for limit in (most, hard):
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            return


def _container_pid(name: str) -> int:
    from reconciler.host.docker import container_pid  # HTTP takes long to import, and few sandboxes are Docker's

    return container_pid(name)
