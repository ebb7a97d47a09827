"""Network namespaces: those that cnm makes for sandboxes, and those that others made and sandboxes live in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from errno import EEXIST, EINVAL, ENOENT
from typing import TYPE_CHECKING, ClassVar

from reconciler.netlink.link import add_altname, delete_altname, set_link
from reconciler.netlink.mark import altname, owner_of
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.resource import Key, Observed, Resource

if TYPE_CHECKING:
    from reconciler.host.host import Host
    from reconciler.host.namespace import Namespace

LO = 1  # the index of every namespace's loopback


def netns_key(sandbox: str) -> Key:
    """The key of a sandbox's namespace."""
    return Key("netns", "", sandbox)


class Netns(Resource, frozen=True, kw_only=True):
    """A network namespace; ``key.name`` is the sandbox's name (with a hash of where it is, if others made it).

    ``source`` says where it is found: ``named`` (made by us, mounted on /run/netns/NAME), or
    ``path:/run/netns/x``, ``pid:123``, ``docker:web``: somebody else's, awaited and never made or removed.
    ``lo`` True: loopback is up. ``sysctls``: what a stack of our own must not inherit from its host, as
    (slash path below /proc/sys, value), sorted.
    """

    kind: ClassVar[str] = "netns"
    batch: ClassVar[str] = "netns"
    holds: ClassVar[tuple[str, ...]] = ("link",)
    final: ClassVar[bool] = True

    source: str = "named"
    lo: bool | None = None
    sysctls: tuple[tuple[str, str], ...] | None = None

    def eviction(self, other: Key) -> str:
        return f"move or remove that interface first: ip -n {self.key.name} link delete {other.name}"

    def awaited(self) -> str:
        if self.source == "named":
            return ""
        how, _, what = self.source.partition(":")
        return {
            "path": f"there is no network namespace at {what}",
            "pid": f"there is no process {what}",
            "docker": f"there is no running Docker container {what}",
        }[how]


class NetnsActuator:
    """Makes, removes and reads namespaces.

    A namespace is ours when the inventory says so: a mark inside proves nothing, since whoever is root in
    there can write it. The mark on its loopback is for people, and for a crash between making a namespace and
    noting its inode.
    """

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        """Opens every namespace in scope, and looks at its interfaces, which the readers of links, addresses
        and routes then share. Raises ObservationError."""
        if "" in scope.netns:
            host.root.look()
        for name in scope.netns:
            if not name:
                continue
            wanted = scope.wanted.get(netns_key(name))
            source = wanted.source if isinstance(wanted, Netns) else host.inventory.sources.get(name, "named")
            namespace = host.find(name, source)
            if namespace is None:
                continue
            namespace.look()
            paths = [path for path, _value in wanted.sysctls or ()] if isinstance(wanted, Netns) else []
            values = namespace.read_sysctls(paths, keep=True) if paths else []
            lo = namespace.by_index.get(LO)
            found = tuple((path, value) for path, value in zip(paths, values, strict=True) if value is not None)
            if isinstance(wanted, Netns) and found == wanted.sysctls:
                found = wanted.sysctls  # one object does for all that have the same
            spec = Netns(key=netns_key(name), source=source, lo=bool(lo and lo.up), sysctls=found)
            marked = owner_of(lo.altnames)[0] if lo else ""
            yield Observed(spec, scope.owner if self._ours(host, namespace, source, marked) else "")

    @staticmethod
    def _ours(host: Host, namespace: Namespace, source: str, marked: str) -> bool:
        inode = host.inventory.netns.get(namespace.name)
        return source == "named" and (inode == namespace.inode or (inode == 0 and marked == host.owner))

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        for op in ops:
            if op.action == "create":  # intent first: a crash must not leave a namespace that nobody owns
                host.inventory.netns.setdefault(op.key.name, 0)
        host.inventory.save()
        for op in ops:
            try:
                if op.action == "delete":
                    host.delete(op.key.name)
                    host.inventory.netns.pop(op.key.name, None)
                else:
                    self._settle(host, op, owner)
                yield Outcome(op.id)
            except OSError as error:
                if op.action == "create" and host.inventory.netns.get(op.key.name) == 0:
                    host.inventory.netns.pop(op.key.name)
                yield Outcome(op.id, error.errno or EEXIST, error.strerror or str(error))
        host.inventory.save()

    def _settle(self, host: Host, op: OpView, owner: str) -> None:
        """Bring one namespace to what is wanted, making it first where it is not there."""
        spec = op.after
        assert isinstance(spec, Netns)
        name, sysctls = op.key.name, spec.sysctls or ()
        known = host.inventory.netns.get(name)
        namespace = host.find(name, "named")
        # The mark is on it before it has its name: whoever finds it finds it marked.
        # A namespace of ours from before may carry the mark already: EEXIST is success.
        mark = altname(owner, name[:15])
        if namespace is None:
            namespace = host.create(name, sysctls, [set_link(LO, up=spec.lo), add_altname(LO, mark)])
            namespace.index.setdefault("lo", LO)
            host.inventory.netns[name] = namespace.inode
            return
        if op.action == "create" and known != namespace.inode:
            raise FileExistsError(EEXIST, f"there is a network namespace {name} already")
        with namespace.entered():
            for path, value in sysctls:
                namespace.write_sysctl_here(path, value)
        released = op.action == "release"
        requests = [set_link(LO, up=spec.lo), (delete_altname if released else add_altname)(LO, mark)]
        for position, refusal in namespace.rtnl.send(requests).items():
            if position == 0 or refusal.errno not in (EEXIST, EINVAL, ENOENT):
                raise OSError(refusal.errno, refusal.text)
        namespace.index.setdefault("lo", LO)
        if released:
            host.inventory.netns.pop(name, None)
        else:
            host.inventory.netns[name] = namespace.inode


KINDS = (Netns,)
ACTUATOR = NetnsActuator()
