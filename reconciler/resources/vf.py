"""Virtual functions: what their physical function lets them do, and the driver that they are bound to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from errno import EIO, ENODEV
from time import sleep
from typing import TYPE_CHECKING, Any, ClassVar, Self

from msgspec.structs import replace

from reconciler.host import sysfs
from reconciler.netlink.link import IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, RTM_GETLINK, RawLink, mac_bytes, set_link
from reconciler.netlink.vf import RawVf, decode_vfs, dump_vfs, set_vf
from reconciler.netlink.wire import attribute, text, u32
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.link import link_key
from reconciler.resources.resource import Change, Impact, Key, Need, Observed, Resource
from reconciler.resources.sriov import device_of, sriov_key

if TYPE_CHECKING:
    from reconciler.host.host import Host

_ON_PF = ("mac", "vlan", "qos", "protocol", "min_rate", "max_rate", "spoof_check", "trust", "link_state")
_RATES = ("min_rate", "max_rate")
_TOGETHER = (("vlan", "qos", "protocol"), _RATES)  # the kernel takes each of these whole
_PATIENCE = 50  # tenths of a second


def vf_key(pf: str, index: int) -> Key:
    """The key of a virtual function: ``vf/enp1s0/3``."""
    return Key("vf", "", f"{pf}/{index}")


class Vf(Resource, frozen=True, kw_only=True):
    """``vlan`` 0: none. Rates in Mbit/s, 0: no limit. ``protocol``: 802.1Q | 802.1ad. ``link_state``: auto | enable |
    disable. ``driver``: what it is bound to, like vfio-pci. ``user``: whose it is, ``NETWORK/ENDPOINT``; nothing of the
    host, only remembered."""

    kind: ClassVar[str] = "vf"
    batch: ClassVar[str] = "vf"
    setting: ClassVar[bool] = True

    pf: str
    index: int
    mac: str | None = None
    vlan: int | None = None
    qos: int | None = None
    protocol: str | None = None
    min_rate: int | None = None
    max_rate: int | None = None
    spoof_check: bool | None = None
    trust: bool | None = None
    link_state: str | None = None
    driver: str | None = None
    user: str | None = None

    def identity(self) -> Key:
        return vf_key(self.pf, self.index)

    def needs(self) -> Iterable[Need]:
        yield Need((sriov_key(self.pf), link_key("", self.pf)), f"there is no interface {self.pf}")

    def change_to(self, new: Self) -> Change:
        flaps = {"mac", "vlan", "protocol", "driver", "link_state"}.intersection(self.differs(new))
        return Change(True, Impact.FLAP if flaps else Impact.NONE)


class VfActuator:
    """Sets attributes by the physical function's interface, and puts them back."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        keys = sorted(key for key in scope.settings if key.kind == "vf")
        if not keys:
            return
        found = _look(host)
        for key in keys:
            pf, _, number = key.name.rpartition("/")
            raw = found.get((host.root.index.get(pf, 0), int(number)))
            if raw is None:
                continue
            entry = host.inventory.settings.get(str(key))
            bound = sysfs.vf_device(device_of(host, pf), raw.number)
            spec = Vf(key=key, pf=pf, driver=sysfs.driver(bound) if bound else None, **_fields(raw))
            was = Vf(key=key, pf=pf, index=raw.number, **entry["value"]) if entry is not None else None
            user = entry["user"] if entry is not None else None
            yield Observed(replace(spec, user=user), scope.owner if entry is not None else "", was)

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        found = _look(host)
        for op in ops:
            pf, _, number = op.key.name.rpartition("/")
            raw = found.get((host.root.index.get(pf, 0), int(number)))
            try:
                self._settle(host, op, raw)
                yield Outcome(op.id)
            except OSError as error:
                yield Outcome(op.id, error.errno or EIO, error.strerror or str(error))
        host.root.look()
        host.inventory.save()

    @staticmethod
    def _settle(host: Host, op: OpView, raw: RawVf | None) -> None:
        wanted, name = op.after, str(op.key)
        if raw is None and op.action != "delete":
            raise OSError(ENODEV, f"there is no virtual function {op.key.name}")
        if raw is not None and isinstance(wanted, Vf):
            device = sysfs.vf_device(device_of(host, wanted.pf), wanted.index)
            seen = Vf(key=op.key, pf=wanted.pf, driver=sysfs.driver(device) if device else None, **_fields(raw))
            if op.action != "delete":
                managed = seen.managed(wanted).data().items()
                before = {key: value for key, value in managed if key not in ("pf", "index", "user")}
                if seen.driver is not None:  # also where it is not ours to choose: an address may want it bound anew
                    before["driver"] = seen.driver
                known = host.inventory.settings.get(name, {"value": {}})
                entry = {**known, "value": before | known["value"], "user": wanted.user}
                if "interface" not in entry and (interface := _interface(host, device)) is not None:
                    entry["interface"] = {"name": interface.name, "mtu": interface.mtu, "mac": interface.mac}
                host.inventory.settings[name] = entry
                host.inventory.save()
            _write(host, raw.pf, seen, wanted, device)
            was = host.inventory.settings.get(name, {}).get("interface")
            if was is not None:
                _furnish(host, device, was)
                if op.action == "delete" and _draw_again(host, device, was["mac"]) and wanted.mac is not None:
                    _send(host, set_vf(raw.pf, wanted.index, {"mac": wanted.mac}))  # it was told of the address
        if op.action == "delete":
            host.inventory.settings.pop(name, None)


def _write(host: Host, pf: int, seen: Vf, wanted: Vf, device: str) -> None:
    changed = set(seen.differs(wanted))
    for group in _TOGETHER:
        if changed.intersection(group):
            changed.update(group)
    values: dict[str, Any] = {}
    for name in _ON_PF:
        if name in changed:
            value = getattr(wanted, name)
            values[name] = getattr(seen, name) if value is None else value
    requests = set_vf(pf, wanted.index, values)
    refused, why = host.root.rtnl.send(requests), ""
    if refused and values.keys() & set(_RATES):
        if _has_link(host, pf):
            refused = host.root.rtnl.send(requests)
        else:
            why = f"; {wanted.pf} has no link, and some NICs take rates only while they have one"
    for refusal in refused.values():
        raise OSError(refusal.errno, f"{refusal.text}{why}")
    if "driver" in changed and device:
        sysfs.bind(device, wanted.driver or "", host.step)
    elif "mac" in values and device and not sysfs.driver(device).startswith("vfio"):
        # Some drivers (igbvf) take the address that they are given only when they begin.
        link = _interface(host, device)
        if link is not None and link.mac != values["mac"]:
            bound = sysfs.driver(device)
            sysfs.bind(device, "", host.step)
            sysfs.bind(device, bound, host.step)


def _interface(host: Host, device: str) -> RawLink | None:
    """The interface of a virtual function, where it is on the host."""
    host.root.look()
    return next((link for link in host.root.links if device and link.device == device), None)


def _furnish(host: Host, device: str, was: Mapping[str, Any]) -> None:
    """A driver that begins makes an interface of its own making: it gets the name and MTU that it had."""
    link = _interface(host, device)
    if link is None:
        return
    body = [u32(IFLA_MTU, was["mtu"])] if link.mtu != was["mtu"] else []
    if link.name != was["name"] and was["name"] not in host.root.index:
        body.append(text(IFLA_IFNAME, was["name"]))
    _send(host, [set_link(link.ifindex, item) for item in body])


def _draw_again(host: Host, device: str, mac: str) -> bool:
    """Where the physical function gives it no address, a driver draws one: it gets the one that it had drawn. False when it
    has that."""
    link = _interface(host, device)
    if link is None or link.mac == mac:
        return False
    _send(host, [set_link(link.ifindex, attribute(IFLA_ADDRESS, mac_bytes(mac)))])
    return True


def _send(host: Host, requests: Sequence[bytes]) -> None:
    for refusal in host.root.rtnl.send(requests).values():
        raise OSError(refusal.errno, refusal.text)


def _has_link(host: Host, pf: int) -> bool:
    """Whether the port of a NIC has a link, or gets one soon: a new number of virtual functions takes igb's down for
    some seconds."""
    for _ in range(_PATIENCE):
        host.root.look()
        if host.root.by_index[pf].carrier:
            return True
        sleep(0.1)
    return False


def _look(host: Host) -> dict[tuple[int, int], RawVf]:
    """(interface index of the physical function, number) -> the virtual function."""
    groups = host.root.rtnl.dump(RTM_GETLINK, dump_vfs(), decode_vfs)
    return {(raw.pf, raw.number): raw for group in groups for raw in group}


def _fields(raw: RawVf) -> dict[str, Any]:
    return {"index": raw.number, **{name: getattr(raw, name) for name in _ON_PF}}


KINDS = (Vf,)
ACTUATOR = VfActuator()
