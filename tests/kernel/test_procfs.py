"""Sysctls of many namespaces: each its own, and what a visit costs does not grow with how many were visited."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from reconciler.engine.controller import NetworkController
from reconciler.errors import UsageError
from reconciler.host import libc, procfs
from reconciler.host.host import Host
from reconciler.host.namespace import Namespace
from reconciler.host.procfs import Procfs
from tests.kernel.private import isolated

pytestmark = pytest.mark.requires("netns")

REDIRECTS, FORWARD = "net/ipv4/conf/all/send_redirects", "net/ipv4/ip_forward"


@isolated
def test_each_namespace_has_its_own_values() -> None:
    with Host() as host:
        spaces = [host.create(f"n{number}", [(REDIRECTS, str(number % 2))]) for number in range(150)]
        for number, space in enumerate(spaces):
            assert space.write_sysctls([(FORWARD, "1"), ("net/no/such", "1")]) == [None, space_error(2)]
            assert space.read_sysctls([REDIRECTS, FORWARD, "net/no/such"]) == [str(number % 2), "1", None]
        assert host.root.read_sysctls([FORWARD]) == ["0"]


def space_error(number: int) -> object:
    """Equals every OSError of this errno."""

    class Same:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, OSError) and other.errno == number

        __hash__ = None  # type: ignore[assignment]

    return Same()


@isolated
def test_what_holds_already_is_not_written() -> None:
    """Writing the global forwarding sysctl rewrites the value of each interface, also when it changes nothing."""
    with Host() as host:
        space = host.create("web")
        space.write_sysctls([("net/ipv4/ip_forward", "1"), ("net/ipv4/conf/lo/forwarding", "0")])
        space.write_sysctls([("net/ipv4/ip_forward", "1")])
        assert space.read_sysctls(["net/ipv4/conf/lo/forwarding"]) == ["0"]


@pytest.mark.requires("root")
def test_a_procfs_serves_few_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel looks through the entries of all namespaces that were visited through one instance."""
    made: list[int] = []
    make = libc.new_mount

    def counted(kind: str) -> int:
        made.append(make(kind))
        return made[-1]

    monkeypatch.setattr(libc, "new_mount", counted)
    procfs = Procfs()
    for inode in range(1, 200):
        assert procfs.folder(inode) == procfs.folder(inode)
        assert os.fstat(made[-1]).st_dev != Path("/proc").stat().st_dev
    procfs.close()
    assert 2 <= len(made) <= 16
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(made[-1])


@isolated
def test_an_empty_value_is_written() -> None:
    """Nothing at all would be no write: a list that was set stayed."""
    with Host() as host:
        space = host.create("web")
        ports = "net/ipv4/ip_local_reserved_ports"
        for value in ("8080", "", "9090"):
            assert space.write_sysctls([(ports, value)]) == [None]
            assert space.read_sysctls([ports]) == [value]


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@isolated
def test_a_namespace_costs_one_descriptor() -> None:
    with Host() as host:
        before = _descriptors()
        spaces = [host.create(f"n{number}") for number in range(20)]
        assert all(space.read_sysctls([FORWARD]) == ["0"] for space in spaces)
        assert _descriptors() - before <= len(spaces) + 1  # and the procfs
        for space in spaces:
            with space.descriptor() as fd:
                assert os.fstat(fd).st_ino == space.inode


@isolated
def test_what_is_kept_open_is_each_namespaces_own_and_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "_SPARE", 50)
    with Host() as host:
        procfs_ = host._procfs
        before = _descriptors()
        spaces = [host.create(f"n{number}") for number in range(6)]
        for number, space in enumerate(spaces):
            assert space.write_sysctls([(REDIRECTS, str(number % 2)), (FORWARD, "1")], keep=True) == [None, None]
        assert [space.read_sysctls([REDIRECTS, FORWARD], keep=True) for space in spaces] == [["0", "1"], ["1", "1"]] * 3
        assert _descriptors() - before >= len(spaces) * 3
        assert [space.read_sysctls([REDIRECTS]) for space in spaces] == [["0"], ["1"]] * 3
        monkeypatch.setattr(procfs_, "_most", 60)  # nothing is left
        procfs_.make_room(max(int(path.name) for path in Path("/proc/self/fd").iterdir()))
        assert _descriptors() - before <= len(spaces) + 1
        assert [space.read_sysctls([REDIRECTS, "net/no/such"], keep=True) for space in spaces] == [
            ["0", None],
            ["1", None],
        ] * 3
        assert [space.write_sysctls([(REDIRECTS, "1")], keep=True) for space in spaces] == [[None]] * 6
        assert _descriptors() - before <= len(spaces) + 1
    assert _descriptors() <= before


@isolated
def test_what_was_seen_with_another_value_is_not_read_again_and_what_was_seen_with_this_one_is() -> None:
    with Host() as host:
        space = host.create("web", [(REDIRECTS, "1"), (FORWARD, "1")])
        seen = {REDIRECTS: "0", FORWARD: "1"}
        space.read_sysctls([REDIRECTS, FORWARD], keep=True)
        values = [("net/ipv4/conf/lo/forwarding", "0"), (FORWARD, "1"), (REDIRECTS, "0")]
        assert space.write_sysctls(values, keep=True, seen=seen) == [None, None, None]
        assert space.read_sysctls([path for path, _value in values]) == ["0", "1", "0"]


@isolated
def test_who_only_looks_opens_nothing_for_writing() -> None:
    def modes(space: Namespace) -> set[int]:
        space.read_sysctls([REDIRECTS, FORWARD], keep=True, write=[REDIRECTS, FORWARD])
        kept = space._procfs.kept[space.inode].values()
        return {fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE for fd in kept}

    with Host() as host, Host(read_only=True) as looking:
        space = host.create("web", [(REDIRECTS, "1"), (FORWARD, "1")])
        same = looking.find("web", "named")
        assert same is not None
        assert modes(space) == {os.O_RDWR}
        assert modes(same) == {os.O_RDONLY}
        assert same.write_sysctls([(REDIRECTS, "0")], keep=True) == [None]  # where nothing may be opened for both
        assert space.read_sysctls([REDIRECTS], keep=True) == ["0"]
    with (
        NetworkController(read_only=True) as controller,
        pytest.raises(UsageError, match="only looks"),
        controller.changing(),
    ):
        raise AssertionError
    with NetworkController(read_only=True) as controller, pytest.raises(UsageError, match="only looks"):
        controller.recover(forget=True)
