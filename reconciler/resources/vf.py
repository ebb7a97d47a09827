"""Virtual functions: what their physical function lets them do, and the driver that they are bound to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from errno import EIO, ENODEV
from typing import TYPE_CHECKING, Any, ClassVar, Self

from reconciler.host import sysfs
from reconciler.netlink.link import RTM_GETLINK
from reconciler.netlink.vf import RawVf, decode_vfs, dump_vfs, set_vf
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.link import link_key
from reconciler.resources.resource import Change, Impact, Key, Need, Observed, Resource
from reconciler.resources.sriov import device_of, sriov_key

if TYPE_CHECKING:
    from reconciler.host.host import Host

_ON_PF = ("mac", "vlan", "qos", "protocol", "min_rate", "max_rate", "spoof_check", "trust", "link_state")
_TOGETHER = (("vlan", "qos", "protocol"), ("min_rate", "max_rate"))  # the kernel takes each of these whole


def vf_key(pf: str, index: int) -> Key:
    """The key of a virtual function: ``vf/enp1s0/3``."""
    return Key("vf", "", f"{pf}/{index}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vf(Resource):
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
                known = host.inventory.settings.get(name, {"value": {}})["value"]
                host.inventory.settings[name] = {"value": before | known, "user": wanted.user}
                host.inventory.save()
            _write(host, raw.pf, seen, wanted, device)
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
    for refusal in host.root.rtnl.send(set_vf(pf, wanted.index, values)).values():
        raise OSError(refusal.errno, refusal.text)
    if "driver" in changed and device:
        sysfs.bind(device, wanted.driver or "", host.step)
    elif "mac" in values and device and not sysfs.driver(device).startswith("vfio"):
        # Some drivers (igbvf) take the address that they are given only when they begin.
        host.root.look()
        link = next((link for link in host.root.links if link.device == device), None)
        if link is not None and link.mac != values["mac"]:
            bound = sysfs.driver(device)
            sysfs.bind(device, "", host.step)
            sysfs.bind(device, bound, host.step)


def _look(host: Host) -> dict[tuple[int, int], RawVf]:
    """(interface index of the physical function, number) -> the virtual function."""
    groups = host.root.rtnl.dump(RTM_GETLINK, dump_vfs(), decode_vfs)
    return {(raw.pf, raw.number): raw for group in groups for raw in group}


def _fields(raw: RawVf) -> dict[str, Any]:
    return {"index": raw.number, **{name: getattr(raw, name) for name in _ON_PF}}


KINDS = (Vf,)
ACTUATOR = VfActuator()
