"""What reads interfaces, and makes, changes and removes them, many in one send."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from errno import EBUSY, EEXIST, EINVAL, EIO, ENODEV, ENOENT
from functools import cache
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from reconciler.host.capability import bridge_netfilter
from reconciler.host.files import device_node
from reconciler.netlink import link as wire
from reconciler.netlink.mark import altname, owner_of
from reconciler.netlink.table import BRIDGE_PORT
from reconciler.netlink.wire import Refusal, attribute, u32
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.device import (
    LEFT,
    MADE_BY_SWITCH,
    REPRESENTOR,
    SWITCH,
    astray,
    give_back,
    identity,
    port_of,
    release,
    take,
)
from reconciler.resources.link import BridgePort, Link, Peer, link_key
from reconciler.resources.linkinfo.info import LinkInfo
from reconciler.resources.linkinfo.registry import infos
from reconciler.resources.requests import Requests
from reconciler.resources.resource import Key, Observed

if TYPE_CHECKING:
    from reconciler.host.host import Host
    from reconciler.host.namespace import Namespace

# Indices that we choose start here in the host's namespace, far above those that the kernel gives out in
# turn, so that two programs making interfaces at once do not take each other's number.
FIRST_INDEX = 1 << 20
_AT_ONCE = 1_000  # interfaces made in one go: each may hold a descriptor of the other namespace until it is sent
_SILENT = frozenset(("ipvtap",))  # kinds that do not tell which namespace their parent is in (no get_link_net)
_GROUP_WORTHWHILE = 3  # below this many deletions, finding a free group costs more than it saves


class LinkActuator:
    """Interfaces of all kinds. Expects the namespaces in scope to have been looked at."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        """Every interface but loopback. A mark inside a namespace that is not ours counts only when the
        inventory knows the key as well."""
        ends = _VethEnds(host, scope.netns, scope.only)
        ports: Callable[[], frozenset[str] | None] | None = None  # of switches: asked once, if at all
        root_names = host.root.names()
        for name in scope.netns:
            try:
                namespace = host.netns(name)
            except KeyError:
                continue
            names = namespace.names()
            outside = root_names if name else {}
            trusted = not name or name in host.inventory.netns
            for raw in _narrowed(namespace, scope.only):
                if raw.name == "lo":
                    continue
                key = link_key(name, raw.name)
                owner = owner_of(raw.altnames)[0]
                if owner and not trusted and str(key) not in host.inventory.made:
                    owner = ""
                if not owner and name and raw.kind == "veth":
                    # Killed before it was marked, or the mark was taken off in there: it is ours if its host's end is.
                    other = ends.other(name, raw)
                    owner = host.root.owners.get(raw.link, "") if other is not None and not other[0] else ""
                if not owner and key in host.making:
                    owner = scope.owner
                if owner:
                    namespace.owners[raw.ifindex] = owner
                wanted = scope.wanted.get(key)
                if raw.kind in MADE_BY_SWITCH and not owner and _of_switch(wanted):
                    continue  # just made by Open vSwitch for a port of ours: we have not taken it yet
                held = host.inventory.devices.get(str(key))
                if held is not None and held["hardware"] == identity(raw, held["device"]):
                    seen = _link(name, raw, names, outside, ends, held["device"].startswith(REPRESENTOR))
                    namespace.owners[raw.ifindex] = scope.owner  # killed on its way out, it has no mark any more
                    yield Observed(replace(seen, type=None, parent=None, device=held["device"]), scope.owner)
                    continue
                seen = _link(name, raw, names, outside, ends, bool(owner) or wanted is not None)
                if owner and raw.kind in MADE_BY_SWITCH:
                    ports = ports or cache(host.ovsdb.ports)
                    seen = replace(seen, type=None, device=port_of(host, name, raw, ports))
                if isinstance(wanted, Link) and wanted.first is not None:
                    seen = replace(seen, first=wanted.first)  # an order of making, which no kernel keeps
                yield Observed(seen, owner)

        yield from astray(host, scope.owner)

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        outcomes: dict[str, Outcome] = {op.id: Outcome(op.id) for op in ops}
        hardware = [op for op in ops if op.action != "update" and _is_hardware(host, op)]
        outcomes |= {outcome.id: outcome for outcome in _move(host, hardware, owner)}
        ops = [op for op in ops if op not in hardware]
        deletes = [op for op in ops if op.action == "delete"]
        creates = [op for op in ops if op.action == "create"]
        changes = [op for op in ops if op.action in ("update", "adopt", "release")]
        requests = Requests(host)
        if deletes:
            outcomes |= {outcome.id: outcome for outcome in _delete(host, deletes)}
        if creates:
            outcomes |= {outcome.id: outcome for outcome in _create(host, creates, owner)}
        for op in changes:
            _change(host, requests, op, owner)
        for op_id, refusal in requests.send().items():
            outcomes[op_id] = Outcome(op_id, refusal.errno, refusal.text)
        return outcomes.values()


def _is_hardware(host: Host, op: OpView) -> bool:
    if str(op.key) in host.inventory.devices or _of_switch(op.before):
        return True
    return isinstance(op.after, Link) and op.after.device is not None


def _of_switch(spec: object) -> bool:
    return (
        isinstance(spec, Link) and spec.device is not None and (spec.device.startswith(SWITCH) or spec.device == LEFT)
    )


def _move(host: Host, ops: Sequence[OpView], owner: str) -> Iterator[Outcome]:
    """Hardware goes in and out one by one: there are few, and each is precious."""
    for op in ops:
        try:
            if op.action == "delete":
                if _of_switch(op.before):
                    release(host, op.key, left=getattr(op.before, "device", "") == LEFT)
                else:
                    give_back(host, op.key)
            else:
                spec = op.after
                assert isinstance(spec, Link)
                namespace = host.netns(op.key.netns)
                index = take(host, spec, next(_free_numbers(namespace)))
                refused = namespace.rtnl.send(
                    [wire.set_link(index, *_common(namespace, spec)), *_finish(index, spec, owner)]
                )
                namespace.look()
                namespace.owners[index] = owner
                for refusal in refused.values():
                    raise OSError(refusal.errno, refusal.text)
            yield Outcome(op.id)
        except KeyError:
            yield Outcome(op.id, ENOENT, f"the network namespace of {op.key.netns} is not there")
        except OSError as error:
            yield Outcome(op.id, error.errno or EIO, error.strerror or str(error))


def _narrowed(namespace: Namespace, only: Mapping[str, frozenset[int]]) -> Collection[wire.RawLink]:
    """The interfaces that a scope is about."""
    indices = only.get(namespace.name)
    if indices is None:
        return namespace.links
    return [namespace.by_index[index] for index in indices if index in namespace.by_index]


class _VethEnds:
    """Finds the other end of a veth pair: each end tells the index of the other, in another namespace."""

    def __init__(
        self, host: Host, scope: Iterable[str], only: Mapping[str, frozenset[int]] = MappingProxyType({})
    ) -> None:
        self._found: dict[tuple[int, int], list[tuple[str, str]]] = {}
        for name in scope:
            if name not in host.open_namespaces():
                continue
            for raw in _narrowed(host.netns(name), only):
                if raw.kind == "veth":
                    self._found.setdefault((raw.ifindex, raw.link), []).append((name, raw.name))

    def other(self, netns: str, raw: wire.RawLink) -> tuple[str, str] | None:
        """(namespace, interface name) of the other end, when it is in a namespace that was looked at."""
        # Both ends of one pair are in different namespaces unless netnsid says otherwise (-1: the same).
        for candidate in self._found.get((raw.link, raw.ifindex), ()):
            if (candidate[0] == netns) == (raw.netnsid == -1):
                return candidate
        return None


def _link(
    netns: str, raw: wire.RawLink, names: Mapping[int, str], outside: Mapping[int, str], ends: _VethEnds, details: bool
) -> Link:
    """``names`` are the interfaces of its namespace by index, ``outside`` those of the host as a sandbox's parents."""
    peer: Peer | None = None
    maker = parent = info = port = None
    if raw.kind == "veth" and details:
        other = ends.other(netns, raw)
        if netns:
            maker = link_key(*other) if other is not None and other[0] == "" else None
        else:
            peer = Peer(netns=other[0], name=other[1]) if other is not None else Peer(netns="?", name="?")
    elif raw.link and details:
        here = raw.netnsid == -1 and not (netns and raw.kind in _SILENT)
        parent = link_key(netns if here else "", (names if here else outside).get(raw.link, "?"))
    if details and raw.kind in infos():
        kind = infos()[raw.kind]
        values = kind.table.decode(raw.data)
        if (values.get("nf_call_iptables") or values.get("nf_call_ip6tables")) and bridge_netfilter():
            values.update(nf_call_iptables=False, nf_call_ip6tables=False)  # it says so also while nobody listens
        if kind.character_device:
            values["device"] = device_node(kind.character_device.format(raw.ifindex))
        info = kind(**values)
    if details and raw.port_kind == "bridge":
        port = BridgePort(**BRIDGE_PORT.decode(raw.port))
    return Link(
        key=link_key(netns, raw.name),
        type=raw.kind,
        up=raw.up,
        mtu=raw.mtu,
        mac=raw.mac,
        master=names.get(raw.master, "?") if raw.master else "",
        addr_gen=raw.addr_gen or None,
        txqlen=raw.txqlen,
        peer=peer,
        maker=maker,
        parent=parent,
        info=info,
        port=port,
    )


def _port_data(spec: BridgePort) -> bytes:
    """IFLA_INFO_SLAVE_DATA."""
    return BRIDGE_PORT.encode({name: getattr(spec, name) for name in spec.__struct_fields__})


def _common(namespace: Namespace, spec: Link, *, master: bool = True) -> list[bytes]:
    """Attributes that creation and change share."""
    body = []
    if spec.mtu is not None:
        body.append(u32(wire.IFLA_MTU, spec.mtu))
    if spec.mac is not None:
        body.append(attribute(wire.IFLA_ADDRESS, wire.mac_bytes(spec.mac)))
    if spec.txqlen is not None:
        body.append(u32(wire.IFLA_TXQLEN, spec.txqlen))
    if master and spec.master is not None:
        body.append(u32(wire.IFLA_MASTER, namespace.index.get(spec.master, 0) if spec.master else 0))
    return body


def _finish(index: int, spec: Link, owner: str) -> Iterator[bytes]:
    """What creation cannot carry: the mark first, the state last, so that an interface comes up as it shall stay."""
    yield wire.add_altname(index, altname(owner, spec.key.name))
    if spec.type == "bridge" and spec.mtu is not None:
        # A bridge takes on the smallest MTU of its ports until its own is *changed* (BROPT_MTU_SET_BY_USER in
        # net/bridge/br_device.c); naming it on creation, or the value that it has, does not count.
        yield wire.set_link(index, u32(wire.IFLA_MTU, spec.mtu - 1))
        yield wire.set_link(index, u32(wire.IFLA_MTU, spec.mtu))
    both = []
    if spec.addr_gen is not None:
        both.append(wire.ipv6_addr_gen(spec.addr_gen))
    if spec.port is not None:
        both.append(wire.bridge_port(_port_data(spec.port)))
    if both:
        yield wire.set_link(index, *both)
    if spec.up is not None:
        yield wire.set_link(index, up=spec.up)


def _create(host: Host, ops: Sequence[OpView], owner: str) -> Iterator[Outcome]:
    """Makes interfaces. A number or name that somebody took meanwhile is looked at once more: what stands
    there and is ours and right is a success, a number is chosen anew, all else is the kernel's refusal."""
    others = {op.key: op for op in ops if isinstance(op.after, Link) and op.after.maker is not None}
    makers = [op for op in ops if op.key not in others]
    refused: dict[str, Refusal] = {}
    for start in range(0, len(makers), _AT_ONCE):
        refused |= _make(host, makers[start : start + _AT_ONCE], others, owner)
    again = [op for op in makers if op.id in refused and refused[op.id].errno in (EBUSY, EEXIST)]
    if again:
        for netns in {op.key.netns for op in ops}:
            host.netns(netns).look()
        standing = {op.id for op in again if _stands(host, op, owner)}
        retry = [op for op in again if op.id not in standing and op.key.name not in host.netns(op.key.netns).index]
        for op_id in standing | {op.id for op in retry}:
            del refused[op_id]
        refused |= _make(host, retry, others, owner)
    for op in makers:
        refusal = refused.get(op.id)
        yield Outcome(op.id, refusal.errno, refusal.text) if refusal else Outcome(op.id)
        other = others.pop(_other_key(op), None)
        if other is not None:
            lost = refused.get(other.id) or refusal
            yield Outcome(other.id, lost.errno, lost.text) if lost else Outcome(other.id)
    for op in others.values():
        yield Outcome(op.id, ENODEV, "its other end is not made in the same step")


def _other_key(op: OpView) -> Key:
    spec = op.after
    assert isinstance(spec, Link)
    return link_key(spec.peer.netns, spec.peer.name) if spec.peer else Key("", "", "")


def _stands(host: Host, op: OpView, owner: str) -> bool:
    namespace = host.netns(op.key.netns)
    raw = next((raw for raw in namespace.links if raw.name == op.key.name), None)
    if raw is None or owner_of(raw.altnames)[0] != owner:
        return False
    seen = _link(op.key.netns, raw, namespace.names(), host.root.names(), _VethEnds(host, host.open_namespaces()), True)
    return isinstance(op.after, Link) and not seen.differs(op.after)


def _make(host: Host, makers: Sequence[OpView], others: dict[Key, OpView], owner: str) -> dict[str, Refusal]:
    """One pass: create all in one send per namespace, then finish those that another namespace's socket made."""
    refused: dict[str, Refusal] = {}
    numbers: dict[str, Iterator[int]] = {}
    abroad: Iterator[int] | None = None
    far = Requests(host)
    elsewhere: list[tuple[OpView, OpView, int]] = []  # (what made it, what it is, its index)
    with ExitStack() as descriptors:
        near = Requests(host)
        for op in makers:
            spec = op.after
            assert isinstance(spec, Link)
            try:
                birth = _birth(host, spec, others, descriptors)
            except LookupError as error:
                refused[op.id] = Refusal(ENODEV, str(error.args[0]))
                continue
            namespace = host.netns(spec.key.netns)
            for place in (namespace, birth.peer):
                if place is not None and place.name not in numbers:
                    numbers[place.name] = _free_numbers(place)
            if birth.netns != spec.key.netns:
                abroad = abroad or _numbers_everywhere(host)
                index = next(abroad)
            else:
                index = next(numbers[spec.key.netns])
            body, data = birth.body, birth.data
            if spec.peer is not None and birth.peer is not None:
                far_index = next(numbers[spec.peer.netns])
                other = others.get(_other_key(op))
                fd = descriptors.enter_context(birth.peer.descriptor())
                data = wire.veth_peer(far_index, spec.peer.name, fd, *birth.peer_body)
                if other is not None:
                    elsewhere.append((op, other, far_index))
            elif spec.type == "veth":
                refused[op.id] = Refusal(EINVAL, "a veth needs its other end named")
                continue
            near.add(birth.netns, op.id, wire.new_link(index, spec.key.name, spec.type or "", *body, data=data))
            if birth.netns == spec.key.netns:
                near.add(spec.key.netns, op.id, *_finish(index, spec, owner))
            else:
                elsewhere.append((op, op, index))
            namespace.index[spec.key.name] = index
            namespace.owners[index] = owner
        refused |= near.send()
    for op in makers:
        if op.id in refused:
            host.netns(op.key.netns).index.pop(op.key.name, None)
    for maker, op, index in elsewhere:
        if maker.id in refused:
            continue
        spec = op.after
        assert isinstance(spec, Link)
        namespace = host.netns(spec.key.netns)
        far.add(spec.key.netns, op.id, *_finish(index, spec, owner))
        namespace.index[spec.key.name] = index
        namespace.owners[index] = owner
    return refused | far.send()


class _Birth(NamedTuple):
    """How an interface is made: by the socket of which namespace, with which attributes; a veth's other end in
    namespace ``peer``."""

    netns: str
    body: list[bytes]
    data: bytes
    peer: Namespace | None = None
    peer_body: Sequence[bytes] = ()


def _birth(host: Host, spec: Link, others: Mapping[Key, OpView], descriptors: ExitStack) -> _Birth:
    """Raises LookupError in words when something that it needs is not there."""
    namespace = host.netns(spec.key.netns)
    if spec.master and spec.master not in namespace.index:
        raise LookupError(f"there is no interface {spec.master}")
    body = _common(namespace, spec)
    data = spec.info.encode() if spec.info is not None else b""
    if spec.peer is not None:
        if spec.peer.netns not in host.open_namespaces():
            raise LookupError(f"the network namespace of {spec.peer.netns} is not there")
        peer = host.netns(spec.peer.netns)
        other = others.get(link_key(spec.peer.netns, spec.peer.name))
        far_spec = other.after if other is not None else None
        return _Birth(spec.key.netns, body, data, peer, _common(peer, far_spec) if isinstance(far_spec, Link) else ())
    if spec.parent is None:
        return _Birth(spec.key.netns, body, data)
    # The parent's index means something in the parent's namespace only: its socket makes the link, in ours.
    ridden = host.netns(spec.parent.netns)
    number = ridden.index.get(spec.parent.name)
    if number is None:
        raise LookupError(f"there is no interface {spec.parent.name}")
    if spec.info is not None and spec.info.parent_attribute:
        data += u32(spec.info.parent_attribute, number)
    else:
        body.append(u32(wire.IFLA_LINK, number))
    if spec.parent.netns != spec.key.netns:
        body.append(u32(wire.IFLA_NET_NS_FD, descriptors.enter_context(namespace.descriptor())))
    return _Birth(spec.parent.netns, body, data)


def _free_numbers(namespace: Namespace) -> Iterator[int]:
    """Indices that nothing had when we last looked: low ones in a sandbox, far ones in the host."""
    first = 2 if namespace.name else FIRST_INDEX
    return count(max((first, *(index + 1 for index in namespace.index.values()))))


def _numbers_everywhere(host: Host) -> Iterator[int]:
    """The same for interfaces that the socket of one namespace makes in another. The number must be free in both
    (before Linux 6.13 the kernel looks for it where the socket is), and there is one /dev for all /dev/tapN."""
    taken = (index for name in host.open_namespaces() for index in host.netns(name).index.values())
    return count(max(FIRST_INDEX, max(taken, default=0) + 1))


def _change(host: Host, requests: Requests, op: OpView, owner: str) -> None:
    """In place: only the fields that differ go down."""
    before, after = op.before, op.after
    assert isinstance(after, Link)
    namespace = host.netns(after.key.netns)
    index = namespace.index.get(after.key.name, 0)
    differs = set(before.differs(after)) if isinstance(before, Link) else set()
    send: list[bytes] = []
    if op.action == "adopt":
        requests.add(after.key.netns, op.id, wire.add_altname(index, altname(owner, after.key.name)), forgive=(EEXIST,))
    elif op.action == "release":
        unmark = wire.delete_altname(index, altname(owner, after.key.name))
        requests.add(after.key.netns, op.id, unmark, forgive=(EINVAL, ENOENT))
    plain = Link(
        key=after.key,
        type=after.type,
        **{name: getattr(after, name) for name in ("mtu", "mac", "txqlen", "master") if name in differs},
    )
    body = _common(namespace, plain)
    if body:
        send.append(wire.set_link(index, *body))
    if "addr_gen" in differs and after.addr_gen is not None:
        send.append(wire.set_link(index, wire.ipv6_addr_gen(after.addr_gen)))
    if "info" in differs and after.info is not None:
        data = _only(before, after, "info").encode()
        send.append(wire.set_link(index, wire.link_info(after.type or "", data)))
    if after.port is not None and ("port" in differs or ("master" in differs and after.master)):
        # A port that moves to another bridge has that bridge's defaults: send all of them.
        spec = after.port if "master" in differs else _only(before, after, "port")
        send.append(wire.set_link(index, wire.bridge_port(_port_data(spec))))
    if "up" in differs:
        send.append(wire.set_link(index, up=after.up))
    requests.add(after.key.netns, op.id, *send)


def _only(before: object, after: Link, name: str) -> Any:
    """The nested spec cut down to the fields that differ."""
    wanted = getattr(after, name)
    seen = getattr(before, name, None)
    changed = {
        name: value
        for name in wanted.__struct_fields__
        if (value := getattr(wanted, name)) is not None and (seen is None or getattr(seen, name) != value)
    }
    if isinstance(wanted, LinkInfo) and wanted.together.intersection(changed):
        changed |= {name: value for name in wanted.together if (value := getattr(wanted, name)) is not None}
    return type(wanted)(**changed)


def _delete(host: Host, ops: Sequence[OpView]) -> Iterator[Outcome]:
    by_netns: dict[str, list[OpView]] = {}
    for op in ops:
        by_netns.setdefault(op.key.netns, []).append(op)
    requests = Requests(host)
    outcomes = {op.id: Outcome(op.id) for op in ops}
    for netns, here in by_netns.items():
        try:
            namespace = host.netns(netns)
        except KeyError:
            continue  # the namespace is gone, and with it what was in it
        # By number, as last seen: a name that somebody gave to another interface meanwhile is not followed.
        doomed = {namespace.index[op.key.name]: op for op in here if op.key.name in namespace.index}
        if len(doomed) >= _GROUP_WORTHWHILE and _delete_by_group(namespace, set(doomed)):
            pass
        else:
            for index, op in doomed.items():
                requests.add(netns, op.id, wire.delete_link(index), forgive=(ENODEV,))
        for op in here:
            namespace.index.pop(op.key.name, None)
    for op_id, refusal in requests.send(side_by_side=True).items():
        outcomes[op_id] = Outcome(op_id, refusal.errno, refusal.text)
    yield from outcomes.values()


def _delete_by_group(namespace: Namespace, doomed: set[int]) -> bool:
    """Delete many interfaces with one wait for RCU instead of one each: put them into a group of their own and
    delete that. False when it was not done; then nothing is lost but the group number that they carry.

    The group is a random number that a look just showed unused, and its members are compared before the
    deletion, so that nothing foreign goes along.
    """
    namespace.look()
    used = {raw.group for raw in namespace.links}
    standing = doomed.intersection(raw.ifindex for raw in namespace.links)
    group = next(number for _ in range(64) if (number := secrets.randbelow((1 << 31) - 2) + 2) not in used)
    requests = [wire.set_link(index, u32(wire.IFLA_GROUP, group)) for index in sorted(standing)]
    if namespace.rtnl.send(requests):
        return False
    namespace.look()
    members = {raw.ifindex for raw in namespace.links if raw.group == group}
    if not members or members != standing:
        return not standing
    refused = namespace.rtnl.send([wire.delete_group(group)])
    return not refused


KINDS = (Link,)
ACTUATOR = LinkActuator()
