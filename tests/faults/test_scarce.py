"""What runs out on a real machine: answers of the kernel, memory, descriptors, room in files, a moment of quiet to read
in. The host is as it was or as it is wanted, and words say why."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from reconciler.engine.controller import NetworkController
from reconciler.errors import StateError, UnreadableError
from reconciler.host import rtnl
from reconciler.host.nftables import Nftables
from reconciler.host.rtnl import Rtnl
from reconciler.netlink.address import RTM_GETADDR, decode_address, delete_address, dump_addresses, new_address
from tests.faults.test_undo import ONE, TWO, names, seen
from tests.kernel.private import isolated, run
from tests.kernel.scene import Scene
from tests.lab.fingerprint import difference

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")

NETLINK_ADD_MEMBERSHIP = 1
GROUPS = (1, 5, 7, 9, 11)  # links, addresses, routes (include/uapi/linux/rtnetlink.h)
CNM = [sys.executable, "-c", "from reconciler.cli.main import main; main()"]


@isolated
def test_lost_answers_of_the_kernel_are_failures_and_are_undone(
    tmp_path: Path,
) -> None:
    """ENOBUFS: the socket has hardly any room, and hears of changes as well, so datagrams are done and nobody is told."""
    before = seen()
    opened, lost, overflowed = Rtnl.__init__, Rtnl._drain, []

    def narrow(self: Rtnl) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # the least that there is: 2,304 bytes
        for group in GROUPS:
            self._socket.setsockopt(rtnl.SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)

    def open_narrow(self: Rtnl, *arguments: Any, **options: Any) -> None:
        opened(self, *arguments, **options)
        if not isinstance(self, Nftables):
            narrow(self)

    def counted(self: Rtnl) -> None:
        overflowed.append(self)
        lost(self)

    with Scene(tmp_path) as scene:
        scene.write(f"{ONE}\n---\n{TWO}")
        planned = scene.controller.plan([str(tmp_path)])
        narrow(scene.controller.host.root.rtnl)
        Rtnl.__init__, Rtnl._drain = open_narrow, counted  # type: ignore[method-assign]  # in this process only
        try:
            report = scene.controller.execute(planned)
        finally:
            Rtnl.__init__, Rtnl._drain = opened, lost  # type: ignore[method-assign]
    assert overflowed, "no acknowledgement was lost"
    assert not report.ok
    assert "the kernel's answer was lost (No buffer space available)" in " ".join(map(str, report.failed))
    assert report.rollback is not None
    assert report.rollback.complete, report.rollback
    assert difference(before, seen()) == []
    with Scene(tmp_path) as scene:
        assert scene.apply().ok


@contextmanager
def restless() -> Iterator[None]:
    """Somebody adds and removes an address in bursts, with short breaks."""
    child = os.fork()
    if not child:
        mine = Rtnl()
        burst = [new_address(1, "198.51.100.1/32", 0), delete_address(1, "198.51.100.1/32")] * 100
        while True:
            mine.send(burst)
            time.sleep(0.01)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@isolated
def test_an_interrupted_dump_is_never_taken_for_the_truth() -> None:
    """Flagged NLM_F_DUMP_INTR by the real kernel, since the table changes between two parts of the dump."""
    lasting = {f"10.{n // 250}.{n % 250}.1" for n in range(3000)}
    run("ip", "-batch", "-", stdin="".join(f"address add {address}/32 dev lo\n" for address in sorted(lasting)))
    reader, interrupted, whole, given_up = Rtnl("a"), 0, 0, 0
    once = Rtnl._dump_once

    def told(self: Rtnl, *arguments: Any) -> Any:
        nonlocal interrupted
        found = once(self, *arguments)
        interrupted += found is None
        return found

    Rtnl._dump_once = told  # type: ignore[method-assign, assignment]
    try:
        with restless():
            deadline = time.monotonic() + 30
            while (interrupted < 10 or whole < 5) and time.monotonic() < deadline:
                try:
                    found = {raw.address for raw in reader.dump(RTM_GETADDR, dump_addresses(), decode_address)}
                except UnreadableError as error:
                    assert "sandbox a could not be read: its tables changed faster" in str(error)  # noqa: PT017
                    given_up += 1
                    continue
                whole += 1
                assert lasting <= found, f"after {interrupted} interruptions {len(lasting - found)} are missing"
    finally:
        Rtnl._dump_once = once  # type: ignore[method-assign]
    assert interrupted >= 10, f"the kernel flagged no dump: {whole} whole, {given_up} given up"
    assert whole >= 5, f"no look was whole: {interrupted} interrupted, {given_up} given up"


def little_memory(amount: int) -> object:
    """So many pieces of 16 KiB are left."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    ballast: list[object] = [None] * (1 << 20)
    pieces = [bytes(1 << 14) for _ in range(amount)]
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    number = 0
    for piece in (1 << 16, 1 << 12, 1 << 9, 1 << 6):
        with suppress(MemoryError):
            while True:
                ballast[number] = bytes(piece)
                number += 1
    del pieces
    return ballast


def few_descriptors(amount: int) -> object:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    taken = []
    with suppress(OSError):
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    for fd in taken[-amount:]:
        os.close(fd)
    return None


def short_files(amount: int) -> object:
    """A full disk is tried in test_undo; here each file ends early (EFBIG)."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (amount, amount))
    return None


SCARCE = {
    "memory": (little_memory, (0, 1, 2, 4, 8, 16, 32, 64)),
    "descriptors": (few_descriptors, (1, 2, 3, 4, 6, 8, 12)),
    "files": (short_files, (0, 64, 1024, 4096)),
}
ENDINGS = ("applied", "undone", "refused", "left", "died")


@pytest.mark.parametrize("what", SCARCE)
@isolated
def test_when_it_runs_out_of(what: str, tmp_path: Path) -> None:
    """In the middle of an apply; however it ends then, afterwards the host is as before, or as wanted."""
    take, amounts = SCARCE[what]
    before = seen()
    endings: dict[str, int] = {}
    with Scene(tmp_path) as scene:
        scene.write(f"{ONE}\n---\n{TWO}")
        scene.controller.lock([str(tmp_path)])
    for amount in amounts:
        child = os.fork()
        if not child:
            ending = "died"
            try:
                with NetworkController(node="here") as controller, controller.changing():
                    planned = controller.plan([str(tmp_path)])
                    kept = take(amount)
                    report = controller.execute(planned)
                    ending = "applied" if report.ok else "undone" if report.rollback.complete else "left"  # type: ignore[union-attr]
                    reasons = [*map(str, report.failed), report.reason]
                    assert report.ok or any(reasons)
                    del kept
            except StateError:
                ending = "refused"
            except (MemoryError, OSError):
                ending = "died"
            finally:
                os._exit(ENDINGS.index(ending))
        _, status = os.waitpid(child, 0)
        ending = ENDINGS[os.WEXITSTATUS(status)] if os.WIFEXITED(status) else "died"
        endings[ending] = endings.get(ending, 0) + 1
        with NetworkController(node="here") as controller:
            recovery = controller.recover()
            assert recovery is None or recovery.rollback.complete, (amount, recovery)
            assert (recovery is None) or ending in ("died", "left"), (amount, ending)
        if names():  # all was done, and what ran out after that changes nothing of it
            assert recovery is None or recovery.finished, (amount, ending, recovery)
            with Scene(tmp_path) as scene:
                assert scene.plan().empty, (amount, ending)
                scene.destroy()
        assert difference(before, seen()) == [], (amount, ending)
        assert names() == []
    print(what, endings)
    assert endings.keys() & {"undone", "refused", "died", "left"}, f"{what} never ran out: {endings}"


@isolated
def test_the_command_says_what_ran_out(tmp_path: Path) -> None:
    before = seen()
    with Scene(tmp_path) as scene:
        scene.write(ONE)
    heard = set()
    for limit in range(32, 100, 4):  # MiB; the interpreter alone needs some
        argv = ["prlimit", f"--as={limit << 20}", *CNM, "apply", "--yes", "--node", "here", str(tmp_path)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode == 0:
            break
        heard.add(
            "out of memory" in (done.stderr + done.stdout).lower()
            or "Cannot allocate memory" in done.stderr + done.stdout
        )
        assert run(*CNM, "recover") is not None
        assert difference(before, seen()) == [], (limit, done.stdout, done.stderr)
    assert True in heard
