"""What a host has for DPDK: memory in large pages, an IOMMU, drivers that give a device to a program."""

from __future__ import annotations

from pathlib import Path

from reconciler.host.files import read_small

_PAGES = Path("/sys/kernel/mm/hugepages")
_GROUPS = Path("/sys/kernel/iommu_groups")
_DRIVERS = ("vfio-pci", "uio_pci_generic", "igb_uio")


def hugepages() -> dict[str, tuple[int, int]]:
    """Size as the kernel names it (``2048kB``) to (free, all) pages; only sizes of which there are any."""
    found = {}
    for folder in sorted(_PAGES.glob("hugepages-*")) if _PAGES.is_dir() else ():
        counts = [read_small(str(folder / name)).strip() for name in ("free_hugepages", "nr_hugepages")]
        free, whole = (int(text) if text.isdigit() else 0 for text in counts)
        if whole:
            found[folder.name.removeprefix("hugepages-")] = (free, whole)
    return found


def iommu_groups() -> int:
    """How many there are; 0: the IOMMU is off, or there is none."""
    return len(list(_GROUPS.iterdir())) if _GROUPS.is_dir() else 0


def drivers() -> list[str]:
    """Those that are loaded."""
    return [name for name in _DRIVERS if Path("/sys/bus/pci/drivers", name).is_dir()]
