"""IP addresses on links."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from errno import EADDRNOTAVAIL, ENODEV
from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING, ClassVar, Self

from reconciler.netlink import address as wire
from reconciler.netlink.mark import PROTOCOL
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.belief import owner_by_protocol
from reconciler.resources.link import link_key
from reconciler.resources.onlink import OnLink
from reconciler.resources.requests import Requests
from reconciler.resources.resource import Claim, Key, Observed, Resource, Seen

if TYPE_CHECKING:
    from reconciler.host.host import Host


def address_key(netns: str, dev: str, address: str) -> Key:
    """The key of an address; ``address`` is ``192.0.2.1/24``."""
    return Key("address", netns, f"{dev}/{address}")


class Address(OnLink, frozen=True, kw_only=True):
    """An address with its prefix length on an interface.

    ``nodad`` True: no duplicate address detection, so it can be used at once. ``secondary`` is only ever
    observed: an IPv4 address that goes when the primary one of its subnet goes.
    """

    kind: ClassVar[str] = "address"
    batch: ClassVar[str] = "address"
    marked: ClassVar[str] = "link"
    follows: ClassVar[tuple[str, ...]] = ("sysctl",)
    fixed: ClassVar[Mapping[str, str]] = {"nodad": "the kernel takes this flag only when the address is added"}

    address: str
    nodad: bool | None = None
    secondary: bool | None = None

    def identity(self) -> Key:
        return address_key(self.key.netns, self.dev, self.address)

    def claims(self) -> Iterable[Claim]:
        interface = ip_interface(self.address)
        yield Claim("address", self.key.netns, f"{self.dev}/{interface.ip}")
        if interface.version == 4:
            # Added beside another address of its subnet it would be that one's secondary, and go with it.
            yield Claim("subnet", self.key.netns, f"{self.dev}/{interface.network}")

    def differs(self, new: Self) -> tuple[str, ...]:
        return tuple(name for name in Resource.differs(self, new) if name != "secondary")

    def takes_along(self, seen: Seen) -> Iterable[Key]:
        """With a primary IPv4 address go the secondaries of its subnet, the routes through that subnet and its
        permanent neighbours; with the last IPv4 address of an interface all its IPv4 routes and neighbours; with any
        address the routes that name it as source (net/ipv4/fib_frontend.c: fib_del_ifaddr, fib_disable_ip)."""
        mine = ip_interface(self.address)
        others = [other for other in seen.hanging_on(link_key(self.key.netns, self.dev)) if other.key != self.key]
        if mine.version == 6:
            yield from (other.key for other in others if getattr(other, "src", None) == str(mine.ip))
            return
        primary = not self.secondary
        kept = False
        for other in others:
            if isinstance(other, Address) and "." in other.address:
                if primary and other.secondary and ip_interface(other.address).network == mine.network:
                    yield other.key
                else:
                    kept = True
        for other in others:
            kind, name = other.key.kind, other.key.name
            if kind == "route" and ":" not in name:
                via = getattr(other, "via", None) or ""
                through = primary and via != "" and ip_address(via) in mine.network
                if through or not kept or getattr(other, "src", None) == str(mine.ip):
                    yield other.key
            elif kind == "neighbour" and ":" not in name.partition("/")[2]:
                near = primary and ip_address(name.partition("/")[2]) in mine.network
                if near or not kept:
                    yield other.key


class AddressActuator:
    """Reads and writes addresses. Those that the kernel gives by itself (loopback's, link-local ones) are left out."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        for name in scope.netns:
            if name not in host.open_namespaces():
                continue
            namespace = host.netns(name)
            names = namespace.names()
            for raw in namespace.rtnl.dump(wire.RTM_GETADDR, wire.dump_addresses(), wire.decode_address):
                dev = names.get(raw.ifindex)
                kernels = raw.protocol in (wire.IFAPROT_KERNEL_LO, wire.IFAPROT_KERNEL_LL)
                if dev is None or dev == "lo" or kernels:
                    continue
                ipv6 = ":" in raw.address
                cidr = f"{raw.address}/{raw.prefix}"
                key = address_key(name, dev, cidr)
                spec = Address(
                    key=key,
                    dev=dev,
                    address=cidr,
                    nodad=bool(raw.flags & wire.IFA_F_NODAD) if ipv6 else None,
                    secondary=None if ipv6 else bool(raw.flags & wire.IFA_F_SECONDARY),
                )
                yield Observed(spec, owner_by_protocol(host, namespace, raw.ifindex, raw.protocol, key))

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        requests = Requests(host)
        missing: dict[str, Outcome] = {}
        for op in sorted(ops, key=_is_secondary):
            spec = op.before if op.action == "delete" else op.after
            assert isinstance(spec, Address)
            netns = op.key.netns
            index = host.netns(netns).index.get(spec.dev) if netns in host.open_namespaces() else None
            if op.action == "delete":
                if index is not None:
                    gone = (EADDRNOTAVAIL, ENODEV)
                    requests.add(netns, op.id, wire.delete_address(index, spec.address), forgive=gone)
            elif index is None:
                missing[op.id] = Outcome(op.id, ENODEV, f"there is no interface {spec.dev}")
            else:
                protocol = 0 if op.unmarked else PROTOCOL
                requests.add(netns, op.id, wire.new_address(index, spec.address, protocol, nodad=bool(spec.nodad)))
        refused = requests.send()
        for op in ops:
            refusal = refused.get(op.id)
            yield missing.get(op.id) or (Outcome(op.id, *refusal) if refusal else Outcome(op.id))


def _is_secondary(op: OpView) -> bool:
    """An address that was a secondary one comes after its primary when it is put back."""
    return bool(getattr(op.after, "secondary", None))


KINDS = (Address,)
ACTUATOR = AddressActuator()
