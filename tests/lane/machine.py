"""The two machines that a guest can be: how each is started, and how its standard streams come out of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from tests.lane.kernel import kernel, qemu


class Machine(StrEnum):
    """Which one."""

    UML = "uml"  # User Mode Linux: a program that is a kernel; starts in a second
    QEMU = "qemu"  # a whole machine in pure emulation, with a network card that has VFs; starts in ten, and is slow


def command(machine: Machine, folder: Path, memory: str, console: int, outputs: Sequence[int]) -> list[str]:
    """The command line of a guest whose job is in ``folder`` (tests/lane/init reads the rest of it there).

    Its standard input and output are those of the process; ``outputs`` are file descriptors for standard error and
    for the answers of relay.py; ``console`` is one for what the kernel says. Raises NoKernel.
    """
    make = _uml if machine is Machine.UML else _qemu
    return make(folder, memory, console, outputs)


def _uml(folder: Path, memory: str, console: int, outputs: Sequence[int]) -> list[str]:
    options = {
        "mem": memory,
        "uml_dir": f"{folder}/",
        "umid": "uml",
        "rootfstype": "hostfs",
        "init": f"{folder}/init",
        "lane.job": str(folder),
        "con": "null",
        "con0": f"null,fd:{console}",
        "ssl": "null",
        "ssl0": "fd:0,fd:1",
        **{f"ssl{number}": f"null,fd:{fd}" for number, fd in enumerate(outputs, start=1)},
        # A new namespace has `lo` and nothing else.
        "fb_tunnels": "none",
        "bonding.max_bonds": "0",
        "dummy.numdummies": "0",
        "ifb.numifbs": "0",
    }
    return [str(kernel()), "ro", "quiet", *(f"{name}={value}" for name, value in options.items())]


def _qemu(folder: Path, memory: str, console: int, outputs: Sequence[int]) -> list[str]:
    kit = qemu()
    # That /dev/kvm can be opened is no proof that the processor offers it to us.
    accelerated = os.access("/dev/kvm", os.W_OK) and {"vmx", "svm"} & set(Path("/proc/cpuinfo").read_text().split())
    boot = {
        "console": "ttyS0",
        "panic": "-1",
        "mitigations": "off",
        "tsc": "reliable",
        "intel_iommu": "on",
        "iommu": "pt",
        "lane.init": f"{folder}/init",
        "lane.job": str(folder),
        "lane.modules": str((kit / "modules").resolve()),
    }
    machine = {
        "accel": "kvm" if accelerated else "tcg,thread=multi",
        "cpu": "host" if accelerated else "max",
        "M": "q35,kernel-irqchip=split" if accelerated else "q35",
        "m": memory,
        "smp": "1",
        "kernel": str(kit / "vmlinuz"),
        "initrd": str(kit / "initrd"),
        "append": " ".join(["quiet", "no_timer_check", *(f"{name}={value}" for name, value in boot.items())]),
    }
    devices = [
        # This machine's files, and the job.
        *("-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"),
        *("-device", "virtio-9p-pci,fsdev=root,mount_tag=root"),
        *("-fsdev", f"local,id=job,path={folder},security_model=none"),
        *("-device", "virtio-9p-pci,fsdev=job,mount_tag=job"),
        # The console, and the streams.
        *_written("console", console),
        *("-serial", "chardev:console"),
        *("-device", "virtio-serial-pci"),
        *("-chardev", "stdio,id=stdio,signal=off", "-device", "virtserialport,chardev=stdio,nr=1"),
        *_written("stderr", outputs[0]),
        *("-device", "virtserialport,chardev=stderr,nr=2"),
        *_written("answers", outputs[1]),
        *("-device", "virtserialport,chardev=answers,nr=3"),
        # An Intel 82576 with 7 VFs, alone on its wire, behind an IOMMU.
        *("-device", "intel-iommu"),
        *("-device", "pcie-root-port,id=root-port,slot=1", "-netdev", "hubport,id=wire,hubid=0"),
        *("-device", "igb,bus=root-port,netdev=wire,mac=52:54:00:aa:bb:01"),
    ]
    options = [word for name, value in machine.items() for word in (f"-{name}", value)]
    return ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-nographic", "-no-reboot", *options, *devices]


def _written(name: str, fd: int) -> list[str]:
    return ["-add-fd", f"fd={fd},set={fd}", "-chardev", f"file,id={name},path=/dev/fdset/{fd},append=on"]
