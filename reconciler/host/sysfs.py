"""What sysfs alone knows of hardware: physical and virtual functions (Documentation/PCI/pci-iov-howto.rst).

Devices are named ``BUS/NAME`` as netlink tells them (``pci/0000:01:00.0``). Their folders below /sys/bus are the same in every
network namespace, those below /sys/class/net are not.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from reconciler.host.files import read_small
from reconciler.host.step import Step, unhindered

BUSES = Path("/sys/bus")
_DEVICE = re.compile(r"[a-z0-9]+/[A-Za-z0-9][A-Za-z0-9:._-]*\Z")


def _folder(device: str) -> Path:
    if not _DEVICE.match(device):
        raise ValueError(f"not a device: {device!r}")
    bus, _, name = device.partition("/")
    return BUSES / bus / "devices" / name


def vf_count(device: str) -> int | None:
    """How many virtual functions a device has now; None when it can have none."""
    text = read_small(str(_folder(device) / "sriov_numvfs")).strip()
    return int(text) if text.isdigit() else None


def vf_limit(device: str) -> int:
    """How many it can have; 0 when nobody says."""
    text = read_small(str(_folder(device) / "sriov_totalvfs")).strip()
    return int(text) if text.isdigit() else 0


def set_vf_count(device: str, number: int, step: Step = unhindered) -> None:
    """Drivers take a new number only when there are none. Raises OSError."""
    path = _folder(device) / "sriov_numvfs"
    now = vf_count(device)
    if now == number:
        return
    if now and number:
        _write(path, "0", step)
    _write(path, str(number), step)


def vf_device(device: str, index: int) -> str:
    """The device of a virtual function; "" when it is not there (or has none of its own, as netdevsim's)."""
    try:
        link = (_folder(device) / f"virtfn{index}").readlink()
    except OSError:
        return ""
    return f"{device.partition('/')[0]}/{link.name}"


def ids(device: str) -> tuple[str, str]:
    """(vendor, product) in hexadecimal, like ("8086", "10c9"); "" where there are none."""
    folder = _folder(device)
    vendor, product = (read_small(str(folder / name)).strip().removeprefix("0x") for name in ("vendor", "device"))
    return vendor, product


def driver(device: str) -> str:
    """The driver that a device is bound to; "" for none."""
    try:
        return (_folder(device) / "driver").readlink().name
    except OSError:
        return ""


def bind(device: str, name: str, step: Step = unhindered) -> None:
    """Bind a device to a driver ("" for none), and leave no override behind but for drivers that take only what they
    are told to (vfio-pci). Raises OSError."""
    folder = _folder(device)
    override = folder / "driver_override"
    if driver(device):
        _write(folder / "driver" / "unbind", folder.name, step)
    if not name:
        return
    _write(override, f"{name}\n", step)
    try:
        _write(BUSES / device.partition("/")[0] / "drivers_probe", folder.name, step)
    finally:
        if not name.startswith("vfio"):
            with suppress(OSError):
                _write(override, "\n", step)
    if driver(device) != name:
        raise OSError(19, f"driver {name} did not take {device}")


def _write(path: Path, text: str, step: Step) -> None:
    step("file", str(path))
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
