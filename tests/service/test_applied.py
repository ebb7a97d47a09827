"""The copy for after a reboot: whole at any time, and written no more than what changed."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from reconciler.engine.applied import Applied
from reconciler.manifest.source import Found, Source


def texts(**files: str) -> Found:
    return Found(
        tuple(Source(name.replace("__", "/") + ".yaml", text.encode()) for name, text in files.items()), (), None
    )


def held(applied: Applied) -> dict[str, bytes]:
    (folder,) = applied.sources()
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*.yaml")
        if path.is_file()
    }


def wanted(found: Found) -> dict[str, bytes]:
    return {source.file: source.raw for source in found.sources}


def test_whatever_changes_the_copy_is_the_same(tmp_path: Path) -> None:
    rng = random.Random(7)
    applied = Applied(tmp_path, "cnm", "host")
    fingerprints: dict[str, tuple[tuple[str, str], ...]] = {}
    files: dict[str, str] = {}
    for number in range(200):
        for _ in range(rng.randrange(3)):
            files[rng.choice("abcde") + rng.choice(("", "__x", "__y__z"))] = str(rng.randrange(4))
        if files and rng.random() < 0.3:
            del files[rng.choice(sorted(files))]
        if rng.random() < 0.05:  # another process
            applied = Applied(tmp_path, "cnm", "host")
        found = texts(**files)
        fingerprint = applied.remember(found)
        assert held(applied) == wanted(found), number
        content = tuple(sorted(files.items()))
        assert fingerprints.setdefault(fingerprint, content) == content
        assert len(list(tmp_path.iterdir())) <= 3  # the link, the copy, the one before


def test_what_did_not_change_is_not_written(tmp_path: Path) -> None:
    applied = Applied(tmp_path, "cnm", "host")
    files = {f"f{number}": "a: 1\n" for number in range(50)}
    for number in range(4):
        applied.remember(texts(**files, changing=str(number)))
    (folder,) = applied.sources()
    before = {name: (Path(folder) / f"{name}.yaml").stat().st_ino for name in files}
    applied.remember(texts(**files, changing="four"))
    applied.remember(texts(**files, changing="five"))  # the same folder again
    assert {name: (Path(folder) / f"{name}.yaml").stat().st_ino for name in files} == before


def test_a_file_that_somebody_took_is_there_again(tmp_path: Path) -> None:
    applied = Applied(tmp_path, "cnm", "host")
    for text in ("1", "2"):
        applied.remember(texts(same="a", changing=text))
    (spare,) = tmp_path.glob("*.before")
    (spare / "same.yaml").unlink()
    found = texts(same="a", changing="3")
    applied.remember(found)
    assert held(applied) == wanted(found)


def test_another_process_wrote_in_between(tmp_path: Path) -> None:
    one, two = Applied(tmp_path, "cnm", "host"), Applied(tmp_path, "cnm", "host")
    one.remember(texts(same="a", changing="1"))
    one.remember(texts(same="a", changing="2"))
    two.remember(texts(same="b", changing="3"))
    found = texts(same="a", changing="4")
    one.remember(found)
    assert held(one) == wanted(found)


def test_a_file_becomes_a_folder_and_back(tmp_path: Path) -> None:
    applied = Applied(tmp_path, "cnm", "host")
    for file in ("a.yaml", "a.yaml/b.yaml", "a.yaml", "a.yaml/b.yaml", "a.yaml"):
        found = Found((Source(file, file.encode()),), (), None)
        applied.remember(found)
        assert held(applied) == wanted(found)


@pytest.mark.parametrize("call", ["rename", "replace", "symlink"])
def test_cut_short_the_copy_before_stands(tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    applied = Applied(tmp_path, "cnm", "host")
    for text in ("1", "2", "3"):
        applied.remember(texts(same="a", changing=text))

    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="No space"):
            applied.remember(texts(same="a", changing="4"))
        assert held(applied) == wanted(texts(same="a", changing="3"))
    for found in (texts(same="a", changing="4"), texts(same="b", changing="5")):
        applied.remember(found)
        assert held(applied) == wanted(found)
