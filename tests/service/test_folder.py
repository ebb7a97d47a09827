"""What a watch hears of the manifests' files: as editors, git-sync and Kubernetes change them."""

from __future__ import annotations

import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.engine.watch.folder import Folder
from reconciler.manifest.source import Texts, find

PATIENCE = 10.0  # seconds until something that must be heard was
SILENCE = 0.3  # seconds without a word, to believe that there is none


class Listener:
    """Serves a folder as the loop does."""

    def __init__(self, *sources: Path) -> None:
        self.folder = Folder([str(source) for source in sources])
        self._epoll = select.epoll()
        self._epoll.register(self.folder.fileno(), select.EPOLLIN)
        self.folder.settled()
        self._again = 0.0  # when to ask again, because somebody still writes
        self.wakes = 0

    def close(self) -> None:
        self._epoll.close()
        self.folder.close()

    def told(self, patience: float = PATIENCE) -> bool | None:
        """What :meth:`Folder.settled` said last within this time: True ends it."""
        deadline, said = time.monotonic() + patience, None
        while (now := time.monotonic()) < deadline:
            if self.folder.due or 0.0 < self._again <= now:
                said = self.folder.settled()
                if said:
                    return said
                self._again = now + 0.05 if said is None else 0.0
            elif self._epoll.poll((min(self._again, deadline) if self._again else deadline) - now):
                self.wakes += 1
                self.folder.hear()
        return said


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    made: list[Listener] = []

    def make(*sources: Path) -> Listener:
        made.append(Listener(*sources))
        return made[-1]

    yield make
    for listener in made:
        listener.close()


Listen = Callable[..., Listener]


def test_nothing_wakes_the_loop_while_nothing_happens(tmp_path: Path, listen: Listen) -> None:
    (tmp_path / "a.yaml").write_text("a: 1\n")
    here = listen(tmp_path)
    assert here.told(SILENCE) is None
    assert here.wakes == 0


def test_files_are_made_written_moved_and_removed(tmp_path: Path, listen: Listen) -> None:
    here = listen(tmp_path)
    file = tmp_path / "a.yaml"
    file.write_text("a: 1\n")
    assert here.told()
    with file.open("a") as writing:
        writing.write("b: 2\n")
        writing.flush()
        assert not here.told(SILENCE)  # somebody still writes
    assert here.told()
    file.rename(tmp_path / "b.yaml")
    assert here.told()
    (tmp_path / "b.yaml").unlink()
    assert here.told()


def test_what_editors_leave_for_the_meantime_is_not_told(tmp_path: Path, listen: Listen) -> None:
    (tmp_path / "a.yaml").write_text("a: 1\n")
    here = listen(tmp_path)
    for name in (".a.yaml.swp", "a.yaml~", "notes.txt"):
        (tmp_path / name).write_text("b0VIM")
    (tmp_path / "a.yaml").touch()  # no other content
    assert not here.told(SILENCE)


def test_many_files_at_once_are_told_once(tmp_path: Path, listen: Listen) -> None:
    here = listen(tmp_path)
    for number in range(50):
        (tmp_path / f"{number}.yaml").write_text("a: 1\n")
    assert here.told()
    assert here.folder.found is not None
    assert len(here.folder.found.sources) == 50
    assert not here.told(SILENCE)


def test_of_many_files_the_one_that_changed_is_read(
    tmp_path: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep").mkdir()
    for number in range(20):
        (tmp_path / "deep" / f"{number}.yaml").write_text("a: 1\n")
    here = listen(tmp_path)
    assert here.folder.found is not None
    before = here.folder.found.sources
    draft, read = tmp_path / ".draft", Texts.read
    asked: list[str] = []

    def noting(self: Texts, path: str) -> bytes:
        asked.append(path)
        return read(self, path)

    monkeypatch.setattr(Texts, "read", noting)
    for text in ("a: 2\n", "a: 3\n"):
        draft.write_text(text)
        draft.replace(tmp_path / "deep" / "7.yaml")
        assert here.told()
        assert here.folder.found == find([str(tmp_path)])
    assert set(asked) == {str(tmp_path / "deep" / "7.yaml")}
    after = here.folder.found.sources
    assert [new.file for old, new in zip(before, after, strict=True) if old is not new] == ["deep/7.yaml"]
    monkeypatch.undo()
    (tmp_path / "deep" / "7.yaml").unlink()
    (tmp_path / "deep" / "30.yaml").write_text("a: 4\n")
    assert here.told()
    assert here.folder.found == find([str(tmp_path)])


def test_folders_come_and_go(tmp_path: Path, listen: Listen) -> None:
    root = tmp_path / "far" / "away" / "manifests"
    here = listen(root)
    (root / "deep").mkdir(parents=True)
    (root / "deep" / "a.yaml").write_text("a: 1\n")
    assert here.told()
    (root / "deep" / "a.yaml").write_text("a: 2\n")
    assert here.told()
    (tmp_path / "far").rename(tmp_path / "gone")
    assert here.told()
    (tmp_path / "gone" / "away" / "manifests" / "deep" / "a.yaml").write_text("a: 3\n")
    assert not here.told(SILENCE)
    (tmp_path / "gone").rename(tmp_path / "far")
    assert here.told()
    (root / "deep" / "a.yaml").write_text("a: 4\n")
    assert here.told()


def test_links_are_exchanged(tmp_path: Path, listen: Listen) -> None:
    """A checkout as git-sync does it; inside of it a volume as the kubelet does it."""
    for name in ("one", "two"):
        volume = tmp_path / ".trees" / name / f"..{name}"
        volume.mkdir(parents=True)
        (volume / "a.yaml").write_text(f"a: {name}\n")
        (volume.parent / "..data").symlink_to(f"..{name}")
        (volume.parent / "a.yaml").symlink_to("..data/a.yaml")
    current = tmp_path / "current"
    current.symlink_to(".trees/one")
    here = listen(current)
    (tmp_path / "next").symlink_to(".trees/two")
    (tmp_path / "next").rename(current)
    assert here.told()
    again = tmp_path / ".trees" / "two" / "..again"
    again.mkdir()
    (again / "a.yaml").write_text("a: again\n")
    (again.parent / "..next").symlink_to("..again")
    (again.parent / "..next").rename(again.parent / "..data")
    assert here.told()
    (again / "a.yaml").write_text("a: in place\n")
    assert here.told()
    (tmp_path / ".trees" / "one" / "..one" / "a.yaml").write_text("a: nobody reads this any more\n")
    assert not here.told(SILENCE)


def test_one_file_is_a_source_too(tmp_path: Path, listen: Listen) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a: 1\n")
    here = listen(file)
    draft = tmp_path / "draft"
    draft.write_text("a: 2\n")
    draft.replace(file)
    assert here.told()
    file.write_text("a: 3\n")
    assert here.told()


def test_doubt_looks_at_once(tmp_path: Path, listen: Listen) -> None:
    here = listen(tmp_path)
    here.folder.doubt()
    assert here.folder.due
    assert here.folder.settled() is False
    assert not here.folder.due


def test_what_the_kernel_has_not_enough_of_is_named(tmp_path: Path, listen: Listen) -> None:
    """In a user namespace, whose own limit is lower."""
    script = (
        "from pathlib import Path; from reconciler.engine.watch.folder import Folder\n"
        "Path('/proc/sys/user/max_inotify_watches').write_text('1')\n"
        f"Folder([{str(tmp_path)!r}]).settled()\n"
    )
    done = subprocess.run(["unshare", "-Ur", sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ObservationError: manifests cannot be watched" in done.stderr
    assert "fs.inotify.max_user_watches" in done.stderr
