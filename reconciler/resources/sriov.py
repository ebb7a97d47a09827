"""Physical functions: how many virtual functions they have, and in which mode their switch is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from errno import EBUSY, EIO, ENODEV
from typing import TYPE_CHECKING, ClassVar, Self

from reconciler.host import eswitch, sysfs
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.link import link_key
from reconciler.resources.resource import Change, Impact, Key, Need, Observed, Resource

if TYPE_CHECKING:
    from reconciler.host.host import Host


def sriov_key(pf: str) -> Key:
    """The key of a physical function, by the name of its interface."""
    return Key("sriov", "", pf)


class Sriov(Resource, frozen=True, kw_only=True):
    """``vfs``: the number of virtual functions. ``eswitch``: legacy | switchdev."""

    kind: ClassVar[str] = "sriov"
    batch: ClassVar[str] = "sriov"
    setting: ClassVar[bool] = True

    vfs: int | None = None
    eswitch: str | None = None

    def needs(self) -> Iterable[Need]:
        yield Need((link_key("", self.key.name),), f"there is no interface {self.key.name}")

    def change_to(self, new: Self) -> Change:
        """Virtual functions that exist go when their number changes (unless there were none)."""
        return Change(True, Impact.OUTAGE if self.vfs else Impact.NONE)


class SriovActuator:
    """Sets numbers and modes, and puts them back. It refuses while a virtual function is in use by anybody."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        for key in sorted(key for key in scope.settings if key.kind == "sriov"):
            device = device_of(host, key.name)
            count = sysfs.vf_count(device) if device else None
            if count is None:
                continue
            entry = host.inventory.settings.get(str(key))
            wanted = scope.wanted.get(key)
            asks = isinstance(wanted, Sriov) and wanted.eswitch is not None
            remembers = entry is not None and "eswitch" in entry
            spec = Sriov(key=key, vfs=count, eswitch=eswitch.mode(device) or None if asks or remembers else None)
            was = Sriov(key=key, vfs=entry.get("vfs"), eswitch=entry.get("eswitch")) if entry is not None else None
            yield Observed(spec, scope.owner if entry is not None else "", was)

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        for op in ops:
            try:
                self._settle(host, op)
                yield Outcome(op.id)
            except OSError as error:
                yield Outcome(op.id, error.errno or EIO, error.strerror or str(error))
        host.root.look()
        host.inventory.save()

    @staticmethod
    def _settle(host: Host, op: OpView) -> None:
        device = device_of(host, op.key.name)
        wanted = op.after
        if not device:
            if op.action == "delete":
                host.inventory.settings.pop(str(op.key), None)
                return
            raise OSError(ENODEV, f"there is no interface {op.key.name}")
        now = sysfs.vf_count(device)
        if isinstance(wanted, Sriov):
            if op.action != "delete" and str(op.key) not in host.inventory.settings:
                before = {"vfs": now, "eswitch": eswitch.mode(device) or None}
                kept = {name: value for name, value in before.items() if getattr(wanted, name) is not None}
                host.inventory.settings[str(op.key)] = {key: value for key, value in kept.items() if value is not None}
                host.inventory.save()
            if wanted.vfs is not None and wanted.vfs != now:
                for index in range(now or 0):
                    used = in_use(host, device, index) or _switched(host, op.key.name, index)
                    if used:
                        raise OSError(EBUSY, f"virtual function {index} of {op.key.name} is in use: {used}")
            _set(host, device, now or 0, wanted)
        if op.action == "delete":
            host.inventory.settings.pop(str(op.key), None)


def _set(host: Host, device: str, now: int, wanted: Sriov) -> None:
    """The mode changes first, while there are no virtual functions where that can be had: drivers differ in whether
    they take it later."""
    changes_mode = wanted.eswitch is not None and eswitch.mode(device) not in ("", wanted.eswitch)
    if changes_mode and wanted.vfs not in (None, now):
        sysfs.set_vf_count(device, 0, host.step)
    if wanted.eswitch is not None and (changes_mode or wanted.eswitch != "legacy"):
        host.step("netlink", f"devlink eswitch {device}")
        eswitch.set_mode(device, wanted.eswitch)
    if wanted.vfs is not None:
        sysfs.set_vf_count(device, wanted.vfs, host.step)
    if wanted.eswitch not in (None, "legacy") and eswitch.mode(device) != wanted.eswitch:
        # Some drivers fall back to legacy when the last virtual function goes, as it does on the way to another number.
        host.step("netlink", f"devlink eswitch {device}")
        eswitch.set_mode(device, wanted.eswitch)


def device_of(host: Host, pf: str) -> str:
    """The hardware of an interface of the host; "" when it is not there."""
    return next((link.device for link in host.root.links if link.name == pf), "")


def _switched(host: Host, pf: str, index: int) -> str:
    """Whether its representor is a port of ours: whose it then is may have no interface on this host."""
    held = (Key.parse(name) for name, entry in host.inventory.devices.items() if entry["device"] == f"rep:{pf}/{index}")
    return next((f"representor {key.name} is a port of ours" for key in held), "")


def in_use(host: Host, device: str, index: int) -> str:
    """Why a virtual function is not free; "" when it is. One whose interface is not on the host is somebody's."""
    vf = sysfs.vf_device(device, index)
    if not vf:
        return ""
    bound = sysfs.driver(vf)
    if bound.startswith("vfio"):
        return f"driver {bound}"
    link = next((link for link in host.root.links if link.device == vf), None)
    if link is None:
        return "its interface is in another namespace" if bound else ""
    return f"interface {link.name} is up" if link.up else ""


KINDS = (Sriov,)
ACTUATOR = SriovActuator()
