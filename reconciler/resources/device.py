"""Hardware that we use as it is: an interface of the host moved into a sandbox in whole, or the representor of a virtual
function made a port of a switch of ours; and given back as it was.

The ledger (``Inventory.devices``) holds what it was before anything is touched, so that a crash between any two steps
loses nothing: where the hardware is now is asked of the kernel, by its place on the bus, whatever its name is. Representors
have their NIC's place: they are known by their switch and which port of it they are
(Documentation/networking/representors.rst).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from errno import EBUSY, EEXIST, ENODEV
from time import sleep
from typing import TYPE_CHECKING, Any

from reconciler.host import sysfs
from reconciler.netlink import link as wire
from reconciler.netlink.mark import owner_of
from reconciler.netlink.wire import attribute, text, u32
from reconciler.resources.link import Link, link_key
from reconciler.resources.resource import Key, Observed

if TYPE_CHECKING:
    from reconciler.host.host import Host
    from reconciler.host.namespace import Namespace

_PATIENCE = 30  # tenths of a second
SWITCH = "ovs:"  # how Link.device begins for what Open vSwitch made for a port, and the kinds that this is of
MADE_BY_SWITCH = frozenset(("tun", "openvswitch"))
LEFT = "left"  # what it is of what is left of a switch that ended
GIVEN = "given"  # what Link.device is of hardware of the host that is in a sandbox
ASTRAY = "astray"  # what Link.device is of hardware that we hold, but that is not where it belongs
REPRESENTOR = "rep:"  # how Link.device begins for the representor of a virtual function
# As devlink_port_attrs names it (net/devlink/port.c); with c1 and on it is of another host, to which this NIC belongs too.
_OF_VF = re.compile(r"(?:c0)?pf(\d+)vf(\d+)")


def identity(raw: wire.RawLink, device: str) -> str:
    """By what the hardware of ``Link.device`` is known again, whatever its name is and wherever it stands."""
    if device.startswith(REPRESENTOR):
        return f"{raw.switch}/{raw.switch_port}" if raw.switch_port else ""
    return raw.device


def located(host: Host, key: Key) -> tuple[Namespace, wire.RawLink] | None:
    """Where the hardware of a ledger entry is now: in its sandbox, or on the host; None when in neither."""
    entry = host.inventory.devices[str(key)]
    places = [host.netns(key.netns)] if key.netns in host.open_namespaces() else []
    for namespace in (*places, host.root):
        for raw in namespace.links:
            if identity(raw, entry["device"]) == entry["hardware"]:
                return namespace, raw
    return None


def astray(host: Host, owner: str) -> Iterable[Observed]:
    """Entries of the ledger whose hardware is on the host: half-way in or out, or put out by its sandbox's end; of
    representors, those that have not our name. And whole NICs that are in a sandbox: the host has them, so that another
    sandbox can be given them in the same plan."""
    for name, entry in host.inventory.devices.items():
        key = Key.parse(name)
        found = located(host, key)
        if found is not None and found[0] is not host.root and entry["device"] == f"pf:{entry['name']}":
            yield Observed(Link(key=link_key("", entry["name"]), type=None, device=GIVEN))
        if found is not None and found[0] is host.root:
            raw = found[1]
            if entry["device"].startswith(REPRESENTOR) and raw.name == key.name:
                continue
            yield Observed(Link(key=key, type=None, device=ASTRAY, up=raw.up, mtu=raw.mtu, mac=raw.mac), owner)


def take(host: Host, spec: Link, index: int) -> int:
    """Move what ``spec.device`` names into the sandbox, under its name and a number of our choice; it is down there. Its
    number there. Raises OSError."""
    name, namespace = str(spec.key), host.netns(spec.key.netns)
    if spec.device is not None and spec.device.startswith(SWITCH):
        return _fetch(host, spec, namespace, index)
    if spec.device is not None and spec.device.startswith(REPRESENTOR):
        return _represent(host, spec, spec.device)
    held = host.inventory.devices.get(name)
    raw = _find(host, spec.device or "", patient=held is not None)
    if held is None or held["hardware"] != raw.device:
        if raw.up and spec.device is not None and spec.device.startswith("vf:"):
            raise OSError(EBUSY, f"{spec.device}: interface {raw.name} is up on the host: somebody uses it")
        _remember(host, name, raw, spec.device or "")
    with namespace.descriptor() as fd:
        _send(host.root, wire.move_link(raw.ifindex, fd, index, spec.key.name))
    host.root.look()
    return index


def _remember(host: Host, name: str, raw: wire.RawLink, device: str) -> None:
    host.inventory.devices[name] = {
        "device": device,
        "hardware": identity(raw, device),
        "name": raw.name,
        "mac": raw.mac,
        "mtu": raw.mtu,
        "up": raw.up,
        "addr_gen": raw.addr_gen,
    }
    host.inventory.save()


def _represent(host: Host, spec: Link, device: str) -> int:
    """Give a representor our name for it; it is down, and a port of nothing."""
    name, key = spec.key.name, str(spec.key)
    raw = _representor(host, device)
    held = host.inventory.devices.get(key)
    if held is None or held["hardware"] != identity(raw, device):
        if raw.master:
            bridge = host.root.names().get(raw.master, "?")
            raise OSError(EBUSY, f"{device}: interface {raw.name} is a port of {bridge} already: somebody uses it")
        _remember(host, key, raw, device)
    marks = [wire.delete_altname(raw.ifindex, mark) for mark in raw.altnames if owner_of([mark])[0]]
    _send(host.root, *marks)
    if raw.name != name:
        _send(host.root, wire.set_link(raw.ifindex, up=False))
        _send(host.root, wire.set_link(raw.ifindex, text(wire.IFLA_IFNAME, name)))
        host.root.look()
    return raw.ifindex


def _fetch(host: Host, spec: Link, namespace: Namespace, index: int) -> int:
    """What Open vSwitch made on the host for a port: nothing of it is to be remembered, it goes with its port."""
    port = (spec.device or "").removeprefix(SWITCH)
    for _ in range(_PATIENCE):
        host.root.look()
        raw = next((raw for raw in host.root.links if raw.name == port), None)
        if raw is not None and raw.kind not in MADE_BY_SWITCH:
            raise OSError(EEXIST, f"interface {port} is not Open vSwitch's, but of kind {raw.kind or 'hardware'}")
        if raw is not None and namespace is host.root:
            return raw.ifindex
        if raw is not None:
            with namespace.descriptor() as fd:
                _send(host.root, wire.move_link(raw.ifindex, fd, index, spec.key.name))
            host.root.look()
            return index
        sleep(0.1)
    raise OSError(ENODEV, f"Open vSwitch has made no interface for port {port}")


def port_of(host: Host, netns: str, raw: wire.RawLink, ports: Callable[[], frozenset[str] | None]) -> str:
    """What Link.device is of an interface that Open vSwitch made and we took. It may be left of a switch that ended: its port
    is not in the database any more (``ports`` are those that are; None: nobody knows), a new ovs-vswitchd made another
    one on the host, or nobody is at the other end of a tap, which outlives who served it."""
    if netns:
        known = ports()
        gone = known is not None and raw.name not in known
        again = any(link.name == raw.name and link.kind in MADE_BY_SWITCH for link in host.root.links)
        dead = raw.kind == "tun" and raw.up and not raw.carrier and host.ovsdb.switching()
        if gone or again or dead:
            return LEFT
    return f"{SWITCH}{raw.name}"


def release(host: Host, key: Key, *, left: bool) -> None:
    """Give back what Open vSwitch made: down, without our mark, on the host. A tap that is ``left`` of a switch is removed;
    the kernel's datapath removes its own. Absent is success. Raises OSError."""
    if key.netns not in host.open_namespaces():
        return
    namespace = host.netns(key.netns)
    namespace.look()
    raw = next((raw for raw in namespace.links if raw.name == key.name), None)
    if raw is None or raw.kind not in MADE_BY_SWITCH:
        return
    if left and raw.kind == "tun":
        _send(namespace, wire.delete_link(raw.ifindex))
    else:
        marks = [wire.delete_altname(raw.ifindex, name) for name in raw.altnames if owner_of([name])[0]]
        _send(namespace, wire.set_link(raw.ifindex, up=False), *marks)
        if namespace is not host.root:
            _move_home(host, namespace, raw.ifindex, key.name)
    namespace.look()


def give_back(host: Host, key: Key) -> None:
    """Bring the hardware of a ledger entry back to the host, with the name and attributes that it had. Raises OSError."""
    entry = host.inventory.devices.get(str(key))
    if entry is None:
        return
    for netns in {key.netns, ""}.intersection(host.open_namespaces()):
        host.netns(netns).look()
    found = located(host, key)
    if found is not None:
        _return(host, *found, entry)
    del host.inventory.devices[str(key)]
    host.inventory.save()


def _return(host: Host, namespace: Namespace, raw: wire.RawLink, entry: dict[str, Any]) -> None:
    if entry["device"].startswith(REPRESENTOR):
        _unplug(host, raw, entry["name"])
    else:
        raw = _bring_home(host, namespace, raw, entry["name"])
    body = [u32(wire.IFLA_MTU, entry["mtu"])]
    if raw.mac != entry["mac"]:
        body.append(attribute(wire.IFLA_ADDRESS, wire.mac_bytes(entry["mac"])))
    _send(host.root, wire.set_link(raw.ifindex, *body))
    if entry["addr_gen"]:
        _send(host.root, wire.set_link(raw.ifindex, wire.ipv6_addr_gen(entry["addr_gen"])))
    if entry["up"]:
        _send(host.root, wire.set_link(raw.ifindex, up=True))
    host.root.look()


def _bring_home(host: Host, namespace: Namespace, raw: wire.RawLink, name: str) -> wire.RawLink:
    """Down, without our mark, on the host."""
    marks = [wire.delete_altname(raw.ifindex, mark) for mark in raw.altnames if owner_of([mark])[0]]
    _send(namespace, wire.set_link(raw.ifindex, up=False), *marks)
    if namespace is host.root:
        if raw.name != name:
            _send(host.root, wire.set_link(raw.ifindex, text(wire.IFLA_IFNAME, name)))
        return raw
    try:
        _move_home(host, namespace, raw.ifindex, name)
    except OSError as error:
        if error.errno != EEXIST:
            raise
        _move_home(host, namespace, raw.ifindex, f"{name[:12]}%d")
    namespace.look()
    host.root.look()
    return next(link for link in host.root.links if link.device == raw.device)


def _unplug(host: Host, raw: wire.RawLink, name: str) -> None:
    """A representor: down, a port of nothing, under its own name. Our mark goes last: who ends before that leaves one that is
    seen to be half-way."""
    _send(host.root, wire.set_link(raw.ifindex, up=False))
    if raw.master and raw.port_kind == "bridge":
        _send(host.root, wire.set_link(raw.ifindex, u32(wire.IFLA_MASTER, 0)))
    if raw.name != name:
        free = name if name not in host.root.index else f"{name[:12]}%d"
        _send(host.root, wire.set_link(raw.ifindex, text(wire.IFLA_IFNAME, free)))
    _send(host.root, *(wire.delete_altname(raw.ifindex, mark) for mark in raw.altnames if owner_of([mark])[0]))


def _move_home(host: Host, namespace: Namespace, index: int, name: str) -> None:
    with host.root.descriptor() as fd:
        _send(namespace, wire.move_link(index, fd, 0, name))


def _find(host: Host, device: str, *, patient: bool) -> wire.RawLink:
    """The interface of ``pf:NAME`` or ``vf:PF/NUMBER`` on the host. ``patient``: its namespace may just have ended, and
    then it comes back by itself within a moment."""
    how, _, what = device.partition(":")
    pf, _, number = what.rpartition("/") if how == "vf" else (what, "", "")
    for attempt in range(_PATIENCE):
        hardware = ""
        for raw in host.root.links:
            if raw.name == pf:
                hardware = sysfs.vf_device(raw.device, int(number)) if how == "vf" else raw.device
        for raw in host.root.links:
            if hardware and raw.device == hardware:
                return raw
        if not patient or attempt + 1 == _PATIENCE:
            break
        sleep(0.1)
        host.root.look()
    reason = f"its driver is {sysfs.driver(hardware) or 'none'}" if hardware else "there is no such hardware"
    raise OSError(ENODEV, f"{device} has no interface on the host: {reason}")


def _representor(host: Host, device: str) -> wire.RawLink:
    """The representor of ``rep:PF/NUMBER``. It may come a moment after the mode of the switch is set."""
    pf, _, number = device.removeprefix(REPRESENTOR).rpartition("/")
    for attempt in range(_PATIENCE):
        if attempt:
            sleep(0.1)
        host.root.look()
        nic = next((raw for raw in host.root.links if raw.name == pf), None)
        found = representors(host.root.links, nic, int(number)) if nic is not None else []
        if len(found) == 1:
            return found[0]
    if nic is None:
        reason = f"there is no interface {pf}"
    elif not nic.switch:
        reason = f"{pf} is a port of no switch: is the NIC in mode switchdev?"
    else:
        several = ", ".join(raw.name for raw in found)
        reason = f"it could be any of {several}" if found else f"no port of switch {nic.switch} is pf*vf{number}"
    raise OSError(ENODEV, f"virtual function {number} of {pf} has no representor on the host: {reason}")


def representors(links: Iterable[wire.RawLink], nic: wire.RawLink, number: int) -> list[wire.RawLink]:
    """What may be the representor of a virtual function of this NIC: one, unless the driver says too little. Where the ports
    of several NICs are of one switch, it is the one with this NIC's place, else with the number of its PCI function."""
    found = []
    for raw in links:
        port = _OF_VF.fullmatch(raw.switch_port)
        if port is not None and nic.switch and raw.switch == nic.switch and int(port[2]) == number:
            found.append((raw, int(port[1])))
    function = nic.device.rpartition(".")[2]
    for fits in (lambda raw, _pf: raw.device == nic.device, lambda _raw, pf: str(pf) == function):
        if len(found) > 1:
            found = [(raw, pf) for raw, pf in found if fits(raw, pf)] or found
    return [raw for raw, _pf in found]


def _send(namespace: Namespace, *requests: bytes) -> None:
    for refusal in namespace.rtnl.send(requests).values():
        raise OSError(refusal.errno, refusal.text)
