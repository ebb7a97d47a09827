"""Finding manifests in files, folders and standard input, and what is refused on the way."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Callable
from pathlib import Path
from time import process_time

import pytest

from reconciler.manifest import source
from reconciler.manifest.source import Found, find

Tree = Callable[[dict[str, str]], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Make files; a text that begins with ``->`` is a symbolic link."""

    def _tree(files: dict[str, str]) -> Path:
        root = tmp_path / "root"
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text.startswith("->"):
                path.symlink_to(text[2:].strip())
            else:
                path.write_text(text)
        return root

    return _tree


def names(found: Found) -> list[str]:
    return [one.file for one in found.sources]


def told(found: Found) -> list[str]:
    return [f"{problem.origin.file}: {problem.message}" for problem in found.problems]


def test_folders_at_any_depth_in_order_of_name(tree: Tree) -> None:
    root = tree({"b.yml": "", "a/z.yaml": "", "a/b/c/d.json": "", "c.yaml": "", "README.md": "", "cnm.lock": ""})
    assert names(find([str(root)])) == ["a/b/c/d.json", "a/z.yaml", "b.yml", "c.yaml"]


def test_hidden_entries_are_left_alone(tree: Tree) -> None:
    root = tree({".git/x.yaml": "", ".hidden.yaml": "", "a.yaml": ""})
    assert names(find([str(root)])) == ["a.yaml"]


@pytest.mark.parametrize("base", ["", "./", "absolute"])
def test_names_are_relative_to_the_root_however_it_is_written(
    base: str, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree({"net/a.yaml": ""})
    monkeypatch.chdir(root.parent)
    found = find([str(root) if base == "absolute" else f"{base}root"])
    assert names(found) == ["net/a.yaml"]
    assert found.root is not None
    assert found.root.resolve() == root


def test_the_root_of_a_file_is_its_folder(tree: Tree) -> None:
    root = tree({"net/a.yaml": "", "net/b.txt": "", "c.yaml": ""})
    found = find([str(root / "net/b.txt"), str(root / "net/a.yaml"), str(root / "c.yaml")])
    assert names(found) == ["b.txt", "a.yaml", str(root / "c.yaml")]
    assert found.root == root / "net"


def test_what_is_named_in_several_ways_is_read_once(tree: Tree) -> None:
    root = tree({"a.yaml": "", "b.yaml": "-> a.yaml", "net/c.yaml": "", "alias": "-> net", "loop": "-> ."})
    found = find([str(root), str(root / "a.yaml"), str(root / "net"), str(root)])
    assert (names(found), told(found)) == (["a.yaml", "alias/c.yaml"], [])


def test_git_sync_layout(tree: Tree) -> None:
    """The folder that is named has a link, which goes to a hidden folder of one revision."""
    root = tree({".worktrees/3f2a/nets/a.yaml": "", "current": "-> .worktrees/3f2a"})
    assert names(find([str(root)])) == ["current/nets/a.yaml"]
    assert names(find([str(root / "current")])) == ["nets/a.yaml"]


def test_kubernetes_volume_layout(tree: Tree) -> None:
    """Each file is a link through ``..data``, a link that is swapped."""
    root = tree({"..2026_11_24/a.yaml": "", "..data": "-> ..2026_11_24", "a.yaml": "-> ..data/a.yaml"})
    assert names(find([str(root)])) == ["a.yaml"]


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("a.yaml", "../outside.yaml"),
        ("a.yaml", "/etc/passwd"),
        ("a.yaml", ".hidden"),  # which leaves
        ("nets", ".."),
        ("nets", "/etc"),
        ("a.yaml", "../missing.yaml"),
    ],
)
def test_a_link_that_leaves_the_root_is_refused(link: str, target: str, tree: Tree) -> None:
    root = tree({link: f"-> {target}", ".hidden": "-> ../outside.yaml", "../outside.yaml": "secret: 1"})
    found = find([str(root)])
    assert (names(found), told(found)) == ([], [f"{link}: is a symbolic link that leaves the manifest folder"])


def test_a_file_argument_that_is_a_link_out_of_its_folder_is_refused(tree: Tree) -> None:
    root = tree({"nets/a.yaml": "-> ../b.yaml", "b.yaml": ""})
    assert told(find([str(root / "nets/a.yaml")])) == ["a.yaml: is a symbolic link that leaves the manifest folder"]


def test_links_that_lead_nowhere_are_told(tree: Tree) -> None:
    root = tree({"a.yaml": "-> a.yaml", "b.yaml": "-> missing", "c": "-> c"})
    assert told(find([str(root)])) == [
        "a.yaml: is a symbolic link that leads nowhere",
        "b.yaml: cannot be read: No such file or directory",
    ]


def test_a_fifo_never_makes_us_wait(tree: Tree) -> None:
    root = tree({"b.yaml": ""})
    os.mkfifo(root / "a.yaml")
    start = process_time()
    found = find([str(root), str(root / "a.yaml")])
    assert process_time() - start < 1
    assert (names(found), told(found)) == (["b.yaml"], ["a.yaml: is not a regular file"])


def test_a_fifo_that_comes_after_the_look_never_makes_us_wait(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree({"a.yaml": ""})
    look = os.lstat(root / "a.yaml")
    (root / "a.yaml").unlink()
    os.mkfifo(root / "a.yaml")
    monkeypatch.setattr("os.lstat", lambda path: look)
    with pytest.raises(source.UnreadableError, match="not a regular file"):
        source.read_regular(root / "a.yaml")


def test_sockets_and_devices_are_refused(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree({"b.yaml": ""})
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("a.yaml")
        assert told(find(["."])) == ["a.yaml: is not a regular file"]
    assert told(find(["/dev/zero"])) == ["zero: is not a regular file"]


def test_what_may_not_be_read_is_told(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree({"a.yaml": "", "nets/b.yaml": ""})

    def deny(path: object, *args: object) -> int:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("os.open", deny)
        found = find([str(root)])
    assert told(found) == [
        "a.yaml: cannot be read: Permission denied",
        "nets/b.yaml: cannot be read: Permission denied",
    ]
    with monkeypatch.context() as patch:
        patch.setattr("os.scandir", deny)
        assert told(find([str(root)])) == [".: cannot be listed: Permission denied"]


@pytest.mark.parametrize("argument", ["missing", "missing/a.yaml", "a" * 300, "b\0c", "", "a/" * 3000])
def test_an_argument_that_is_not_there(argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = find([argument])
    assert (names(found), len(found.problems)) == ([], 1)


def test_standard_input() -> None:
    found = find(["-", "-"], io.BytesIO(b"a: 1"))
    assert [(one.file, one.raw) for one in found.sources] == [("<stdin>", b"a: 1")]
    assert found.root is None


def test_standard_input_that_is_absent_closed_or_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.BytesIO()
    closed.close()
    monkeypatch.setattr(source, "MAX_FILE", 8)
    for stdin in (None, closed, io.BytesIO(b"123456789")):
        assert len(find(["-"], stdin).problems) == 1


def test_a_file_of_100_megabytes_is_not_read(tree: Tree) -> None:
    root = tree({"a.yaml": ""})
    os.truncate(root / "a.yaml", 100 << 20)
    start = process_time()
    found = find([str(root)])
    assert process_time() - start < 0.2
    assert told(found) == ["a.yaml: is larger than 8 MiB (104,857,600 bytes)"]


def test_a_file_that_grows_while_it_is_read(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """/proc and pipes say 0 bytes; what counts is what comes."""
    root = tree({"a.yaml": "12345678"})
    monkeypatch.setattr(source, "MAX_FILE", 7)
    monkeypatch.setattr(source, "_check", lambda about: None)
    assert told(find([str(root)])) == ["a.yaml: is larger than 0 MiB"]


@pytest.mark.parametrize(("limit", "value"), [("MAX_FILES", 2), ("MAX_TOTAL", 6)])
def test_too_much_altogether(limit: str, value: int, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree({f"{name}.yaml": "abc" for name in "abcde"})
    monkeypatch.setattr(source, limit, value)
    found = find([str(root)])
    assert names(found) == ["a.yaml", "b.yaml"]
    assert [problem.origin.file for problem in found.problems] == ["c.yaml"]


def test_folders_too_deep(tree: Tree) -> None:
    root = tree({"d/" * 40 + "a.yaml": "", "b.yaml": ""})
    found = find([str(root)])
    assert names(found) == ["b.yaml"]
    assert [problem.message for problem in found.problems] == ["folders are nested more than 32 levels deep"]


def test_ten_thousand_files_are_found_fast(tree: Tree) -> None:
    root = tree({f"{number:05}.yaml": "a: 1" for number in range(10_000)})
    start = process_time()
    found = find([str(root)])
    assert len(found.sources) == 10_000
    assert process_time() - start < 4
