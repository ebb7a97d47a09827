"""The inventory's file: a line of all, a line for each change; whole after every save, whatever breaks in between."""

from __future__ import annotations

import errno
import json
import random
from pathlib import Path

import pytest

from reconciler.errors import ObservationError
from reconciler.host import inventory as module
from reconciler.host.inventory import Inventory


class Breaks:
    """A seam at which the next step can be made to fail."""

    def __init__(self) -> None:
        self.failing = False
        self.steps = 0

    def __call__(self, sort: str, what: str) -> None:
        self.steps += 1
        if self.failing:
            raise OSError(errno.ENOSPC, "No space left on device")


def loaded(folder: Path) -> Inventory:
    return Inventory.load(folder, "cnm", "host")


def content(inventory: Inventory) -> object:
    return (
        dict(inventory.netns),
        set(inventory.made),
        dict(inventory.sources),
        dict(inventory.settings),
        dict(inventory.devices),
    )


def test_a_change_is_a_line_and_not_all_anew(tmp_path: Path) -> None:
    inventory = loaded(tmp_path)
    inventory.netns["web"] = 0
    inventory.made.add("link/@x/eth0")
    inventory.save()
    first = inventory.path.read_bytes()
    inventory.netns["web"] = 7
    inventory.made.discard("link/@x/eth0")
    inventory.settings["sysctl/net/ipv4/ip_forward"] = {"value": "0"}
    inventory.save()
    lines = inventory.path.read_bytes().splitlines()
    assert inventory.path.read_bytes().startswith(first)
    assert json.loads(lines[1]) == {
        "netns": {"web": 7},
        "made": {"link/@x/eth0": None},
        "settings": {"sysctl/net/ipv4/ip_forward": {"value": "0"}},
    }
    assert content(loaded(tmp_path)) == content(inventory)


def test_what_changed_and_changed_back_is_not_written(tmp_path: Path) -> None:
    steps = Breaks()
    inventory = Inventory.load(tmp_path, "cnm", "host", steps)
    inventory.made.add("a")
    inventory.save()
    inventory.made.discard("a")
    inventory.made.add("a")
    inventory.sources["b"] = "pid:1"
    del inventory.sources["b"]
    inventory.save()
    assert steps.steps == 1


def test_a_line_that_was_not_finished_does_not_count(tmp_path: Path) -> None:
    inventory = loaded(tmp_path)
    inventory.made.add("a")
    inventory.save()
    inventory.made.add("b")
    inventory.save()
    for torn in (b'{"made":{"c":true}}', b'{"ma', b"\0"):
        whole = inventory.path.read_bytes()
        inventory.path.write_bytes(whole + torn)
        again = loaded(tmp_path)
        assert set(again.made) == {"a", "b"}
        again.made.add("d")
        again.save()
        assert set(loaded(tmp_path).made) == {"a", "b", "d"}
        inventory.path.write_bytes(whole)


def test_a_save_that_fails_is_made_good_by_the_next(tmp_path: Path) -> None:
    breaks = Breaks()
    inventory = Inventory.load(tmp_path, "cnm", "host", breaks)
    inventory.netns["a"] = 1
    inventory.save()
    breaks.failing = True
    inventory.netns["b"] = 2
    with pytest.raises(OSError, match="No space left"):
        inventory.save()
    assert dict(loaded(tmp_path).netns) == {"a": 1}
    inventory.lenient = True
    del inventory.netns["a"]
    inventory.save()
    assert inventory.trouble == "No space left on device"
    breaks.failing = False
    inventory.save()
    assert not inventory.trouble
    assert dict(loaded(tmp_path).netns) == {"b": 2}


def test_half_a_line_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = loaded(tmp_path)
    inventory.made.add("a")
    inventory.save()
    before = inventory.path.read_bytes()
    write = module.os.write

    def short(fd: int, data: bytes) -> int:
        write(fd, data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    inventory.made.add("b")
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "write", short)
        with pytest.raises(OSError, match="No space left"):
            inventory.save()
    assert inventory.path.read_bytes() == before
    inventory.save()
    assert set(loaded(tmp_path).made) == {"a", "b"}


def test_a_file_that_is_not_as_we_left_it_is_written_anew(tmp_path: Path) -> None:
    inventory = loaded(tmp_path)
    inventory.made.add("a")
    inventory.save()
    for other in (None, b'{"half'):
        inventory.path.unlink()
        if other is not None:
            inventory.path.write_bytes(other)
        name = f"b{other!r}"
        inventory.made.add(name)
        inventory.save()
        assert {"a", name} <= set(loaded(tmp_path).made)


def test_it_does_not_grow_for_ever_and_goes_when_there_is_nothing_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST", 4096)
    inventory, rng = loaded(tmp_path), random.Random(1)
    for number in range(500):
        inventory.settings[f"sysctl/{rng.randrange(20)}"] = {"value": str(number)}
        if rng.random() < 0.3:
            inventory.settings.pop(f"sysctl/{rng.randrange(20)}", None)
        inventory.save()
        assert content(loaded(tmp_path)) == content(inventory)
        assert inventory.path.stat().st_size < 16384
        inventory = loaded(tmp_path) if rng.random() < 0.1 else inventory
    for key in list(inventory.settings):
        del inventory.settings[key]
    inventory.save()
    assert not tmp_path.joinpath("cnm-host.json").exists()


@pytest.mark.parametrize("text", ["", "{}\n", "[]\n", '{"format_version":1}\n', '{"format_version":2}\n', "nonsense\n"])
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "cnm-host.json").write_text(text)
    with pytest.raises(ObservationError):
        loaded(tmp_path)
