"""cnm.lock: the same decisions, the same bytes; nothing strange comes in or out."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import CnmError, ManifestError, UsageError
from reconciler.manifest.lockfile import LOCK_NAME, Lock, read_lock, render_lock, write_lock
from reconciler.manifest.source import find

LOCK = Lock(
    subnets={"web": ("172.20.0.0/24",), "back": ("172.20.1.0/24", "2001:db8::/64")},
    addresses={"web/shop": ("172.20.0.2", "2001:db8::2"), "back/shop": ("172.20.1.2",)},
)
TEXT = """\
version: 1
subnets:
  back: ["172.20.1.0/24", "2001:db8::/64"]
  web: ["172.20.0.0/24"]
addresses:
  back/shop: ["172.20.1.2"]
  web/shop: ["172.20.0.2", "2001:db8::2"]
"""
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True) | st.sampled_from(
    ["true", "null", "10", "010", "1e3", "0x1f", "9" * 63, "no", "1-2"]
)
LOCKS = st.builds(
    Lock,
    st.dictionaries(NAMES, st.lists(st.ip_addresses(v=4).map(lambda a: f"{a}/32"), max_size=2).map(tuple), max_size=4),
    st.dictionaries(
        st.tuples(NAMES, NAMES).map("/".join), st.lists(st.ip_addresses().map(str), max_size=2).map(tuple), max_size=4
    ),
    st.dictionaries(
        st.sampled_from(["web/192.0.2.0/24", "true/2001:db8::/64", "10/192.0.2.0/24"]),
        st.integers(1, (1 << 24) - 1).map(lambda vni: (str(vni),)),
        max_size=2,
    ),
    st.dictionaries(
        st.sampled_from(["192.0.2.0/26", "2001:db8::/122"]),
        st.sampled_from([(), ("n1",), ("10", "true"), ("n1", "tenant:segment")]),
        max_size=2,
    ),
)


def body(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


def test_text_is_sorted_and_says_what_it_is() -> None:
    assert body(render_lock(LOCK)) == TEXT
    assert render_lock(LOCK).startswith("# Automatic addresses, decided by cnm. Commit this file")
    assert body(render_lock(Lock())) == "version: 1\nsubnets: {}\naddresses: {}\n"


def test_order_of_decisions_does_not_show() -> None:
    backwards = Lock(dict([*LOCK.subnets.items()][::-1]), dict([*LOCK.addresses.items()][::-1]))
    assert render_lock(backwards) == render_lock(LOCK)


@given(LOCKS)
def test_what_was_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, lock: Lock) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.lock"
    write_lock(path, lock)
    assert read_lock(path) == lock
    assert path.read_text() == render_lock(lock)


def test_absent_and_empty_files_are_an_empty_lock(tmp_path: Path) -> None:
    assert read_lock(tmp_path / LOCK_NAME) == Lock()
    (tmp_path / LOCK_NAME).write_text("# nothing yet\n")
    assert read_lock(tmp_path / LOCK_NAME) == Lock()


def test_a_lock_file_is_no_manifest(tmp_path: Path) -> None:
    write_lock(tmp_path / LOCK_NAME, LOCK)
    assert find([str(tmp_path)]).sources == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "cnm.lock:1:1: a lock file has version, subnets and addresses"),
        ("version: 1\nsubnets: {}\n", "cnm.lock:1:1: a lock file has version, subnets and addresses"),
        (TEXT + "more: 1\n", "cnm.lock:1:1: a lock file has version, subnets and addresses"),
        (TEXT.replace("version: 1", "version: 2"), "cnm.lock:1:10: lock file version 2; this cnm reads 1"),
        (TEXT.replace("version: 1", "version: true"), "cnm.lock:1:10: lock file version true; this cnm reads 1"),
        (TEXT.replace("version: 1", 'version: "1"'), "cnm.lock:1:10: lock file version '1'; this cnm reads 1"),
        (TEXT + "---\n" + TEXT, "cnm.lock:1:1: a lock file is one document"),
        ("version: 1\nsubnets: []\naddresses: {}\n", "cnm.lock:2:1: subnets is a mapping"),
        (TEXT.replace('["172.20.1.2"]', "172.20.1.2"), "cnm.lock:6:14: back/shop: expected a list of strings"),
        (TEXT.replace('"172.20.1.2"', "7"), "cnm.lock:6:3: back/shop: expected a list of strings"),
        (TEXT.replace("172.20.1.2", "172.20.1.256"), "cnm.lock:6:15: '172.20.1.256' does not appear to be"),
        (TEXT.replace("172.20.0.0/24", "172.20.0.1/24"), "cnm.lock:4:9: 172.20.0.1/24 has host bits set"),
        (TEXT.replace("172.20.0.0/24", "172.20.0.0"), "cnm.lock:4:9: '172.20.0.0' is not a CIDR"),
        (TEXT.replace("  web:", "  back:"), "cnm.lock:4:3: key 'back' is written twice"),
        (TEXT + "vnis: []\n", "cnm.lock:8:1: vnis is a mapping"),
        (TEXT + 'vnis: {"web/10.0.0.0/8": ["0"]}\n', "cnm.lock:8:27: '0' is not a VNI"),
        (TEXT + 'vnis: {"web/10.0.0.0/8": ["16777216"]}\n', "cnm.lock:8:27: '16777216' is not a VNI"),
        ("<<<<<<< HEAD\n" + TEXT, "cnm.lock:2:8: not valid YAML"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text(text)
    with pytest.raises(ManifestError) as caught:
        read_lock(tmp_path / LOCK_NAME)
    assert str(caught.value).startswith(said)


def test_links_out_of_the_folder_are_neither_read_nor_written(tmp_path: Path) -> None:
    outside, root = tmp_path / "secret", tmp_path / "root"
    outside.write_text("password: 1\n")
    root.mkdir()
    (root / LOCK_NAME).symlink_to(outside)
    with pytest.raises(UsageError, match="leaves the manifest folder"):
        read_lock(root / LOCK_NAME)
    with pytest.raises(UsageError, match="symbolic link"):
        write_lock(root / LOCK_NAME, LOCK)
    assert outside.read_text() == "password: 1\n"


def test_links_inside_the_folder_are_read(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    write_lock(tmp_path / "..data" / LOCK_NAME, LOCK)
    (tmp_path / LOCK_NAME).symlink_to(f"..data/{LOCK_NAME}")
    assert read_lock(tmp_path / LOCK_NAME) == LOCK


def test_a_fifo_in_its_place_never_makes_us_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / LOCK_NAME)
    with pytest.raises(UsageError, match="not a regular file"):
        read_lock(tmp_path / LOCK_NAME)


def test_a_crash_before_the_end_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / LOCK_NAME
    write_lock(path, LOCK)

    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(UsageError, match="Input/output error"):
        write_lock(path, Lock())
    assert read_lock(path) == LOCK
    assert [entry.name for entry in tmp_path.iterdir()] == [LOCK_NAME]


@given(
    st.binary(max_size=200) | st.text(alphabet="version: 1subnetaddr[]{}\"'\n -/.#&*!", max_size=200).map(str.encode)
)
def test_any_bytes_end_in_an_error_of_ours(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.lock"
    path.write_bytes(raw)
    with contextlib.suppress(CnmError):
        assert isinstance(read_lock(path), Lock)
