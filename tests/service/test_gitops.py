"""A repository, a checkout that is exchanged as git-sync does it, and a host that follows: docs/gitops.md."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.private import isolated, run
from tests.kernel.scene import Scene
from tests.kernel.test_watch import write
from tests.kernel.watched import Watched

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")
CNM = (sys.executable, "-m", "reconciler.cli.main")


def git(folder: Path, *command: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
    return run("git", "-C", str(folder), *identity, *command).strip()


def commit(work: Path, *names: str, broken: bool = False) -> str:
    """Manifests with these sandboxes, pushed; ``broken``: and something that is none."""
    (work / "hosts").mkdir(exist_ok=True)
    wrong = work / "hosts" / "broken.yaml"
    wrong.unlink(missing_ok=True)
    with Scene(work / "hosts") as scene:
        write(scene, *names)
    if broken:
        wrong.write_text("kind: Nothing\n")
    git(work, "add", "-A")
    git(work, "commit", "-qm", " ".join(names))
    git(work, "push", "-q", "origin", "HEAD:main")
    return git(work, "rev-parse", "HEAD")


def sync(bare: Path, root: Path, revision: str) -> None:
    """A worktree of a revision, and the link exchanged for one that leads there: what git-sync does."""
    run("git", "-C", str(bare), "worktree", "add", "-q", "--detach", str(root / ".worktrees" / revision), revision)
    (root / "next").symlink_to(f".worktrees/{revision}")
    (root / "next").rename(root / "current")


@pytest.mark.requires("command:git")
@isolated
def test_a_host_follows_a_repository(tmp_path: Path) -> None:
    bare, work, root, published = (tmp_path / name for name in ("bare.git", "work", "root", "published"))
    (root / ".worktrees").mkdir(parents=True)
    run("git", "init", "-q", "--bare", str(bare))
    run("git", "clone", "-q", str(bare), str(work))
    first = commit(work, "a")
    sync(bare, root, first)

    def applied() -> str:
        path = published / "applied.json"
        return str(json.loads(path.read_text())["commit"]) if path.exists() else ""

    with Watched(root / "current" / "hosts", "--publish", published, "--interval", "600") as watched:
        watched.wait(lambda: applied() == first, "the first revision")
        watched.wait((published / "snapshot.json").exists, "a snapshot")

        # A pull request: checked and planned without the host, and as another user's file.
        second = commit(work, "a", "b")
        run(*CNM, "validate", str(work / "hosts"), "--locked")
        done = subprocess.run(
            [*CNM, "plan", str(work / "hosts"), "--locked", "--node", "here", "--observed",
             str(published / "snapshot.json"), "--markdown"], capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert "netns/b" in done.stdout
        assert "netns/a" not in done.stdout
        assert not Path("/run/netns/b").exists()

        sync(bare, root, second)  # merged
        watched.wait(lambda: applied() == second, "the second revision")
        assert Path("/run/netns/b").exists()
        assert json.loads((published / "status.json").read_text())["state"] == "ok"

        third = commit(work, "a", "b", broken=True)
        sync(bare, root, third)
        watched.hear("invalid")
        watched.wait(lambda: json.loads((published / "status.json").read_text())["state"] == "invalid", "told")
        assert applied() == second, "what holds is still the second"
        fourth = commit(work, "b")
        sync(bare, root, fourth)
        watched.wait(lambda: applied() == fourth, "the fourth revision")
        assert not Path("/run/netns/a").exists()
