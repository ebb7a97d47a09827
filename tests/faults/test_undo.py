"""What going back brings back, and what cannot be remembered stops a run before it begins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from reconciler.engine.controller import NetworkController
from reconciler.engine.observe import observe
from reconciler.engine.result import Planned, PlanOptions, Report
from reconciler.errors import LockError, StateError
from reconciler.host import libc
from reconciler.planner.diff import make_plan
from reconciler.topology.view import NodeFacts
from tests.contract.sample import Sample
from tests.contract.samples import samples
from tests.faults.scene import Steps
from tests.kernel.private import isolated, run
from tests.kernel.scene import Scene
from tests.lab.fingerprint import difference, take

_REMOUNT_READ_ONLY = 0x20 | 0x1  # MS_REMOUNT | MS_RDONLY

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")

NETWORK = "kind: Network\nmetadata: {{name: {0}}}\nspec: {{driver: bridge, subnets: [{{cidr: 10.{1}.0.0/24}}]}}"
ENDPOINT = (
    "kind: Sandbox\nmetadata: {{name: {0}}}\nspec: {{}}\n---\n"
    "kind: Endpoint\nmetadata: {{name: {0}}}\nspec: {{network: {1}, sandbox: {0}}}"
)
ONE = "\n---\n".join([NETWORK.format("front", 1), ENDPOINT.format("web", "front")])
TWO = "\n---\n".join([NETWORK.format("back", 2), ENDPOINT.format("db", "back")])


def failing(scene: Scene, text: str, **options: object) -> Report:
    """A run of which everything was done and found good, and that is undone then."""
    scene.write(text)
    planned = scene.controller.plan([str(scene.folder)], options=PlanOptions(**options))  # type: ignore[arg-type]
    report = scene.controller.execute(planned, check=lambda: "the test says no")
    assert not report.ok
    return report


def names() -> list[str]:
    return sorted(path.name for path in Path("/run/netns").glob("*"))


# Numbers are others when a thing was made anew; an interface that was up once has another queue and other limits.
_NUMBERS = (
    "ifindex",
    "handle",
    "link_index",
    "index",
    "qdisc",
    "operstate",
    "tso_max_size",
    "tso_max_segs",
    "bridge_id",
    "root_id",
)


def seen() -> dict[str, str]:
    """From outside, by ip(8), nft(8) and /proc: links, addresses, rules, filters, sysctls and the main routes. Without
    neighbours, which traffic brings and takes, link-local addresses, which the kernel adds a while after an interface
    came up, and loopback, which keeps its address once it was up."""
    found: dict[str, str] = {}
    for key, value in take(["", *names()]).items():
        what = key.partition(": ")[2].split("/")
        if what[0] in ("link", "address", "rule", "rule6", "nft") and what[-1] != "lo":
            if what[0] == "nft":  # in no order that means something
                key = json.dumps(_bare(json.loads(value)), sort_keys=True)
            found[key] = json.dumps(_bare(json.loads(value)), sort_keys=True)
        elif what[0] == "sysctl" and not {"neigh", "lo"}.intersection(what):
            found[key] = value
    for netns in ("", *names()):
        for family in ("-4", "-6"):
            lines = run("ip", *(("-n", netns) if netns else ()), family, "route").splitlines()
            found |= {f"{netns}: {line}": "" for line in lines if not line.startswith(("fe80", "ff00"))}
    return found


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _bare(item) for name, item in value.items() if name not in _NUMBERS}
    if isinstance(value, list):
        return [_bare(item) for item in value if not (isinstance(item, dict) and item.get("scope") == "link")]
    return value


@isolated
def test_from_outside_nothing_can_be_told_afterwards(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        run("ip", "link", "add", "uplink", "type", "bridge")
        before = seen()
        report = failing(scene, f"{ONE}\n---\n{TWO}")
        assert report.rollback is not None
        assert report.rollback.complete, report.rollback
        assert difference(before, seen()) == []
        assert names() == []
        assert not any(Path("/run/cnm").glob("cnm-*")), "nothing is remembered of what is gone"

        scene.apply(ONE)
        before = seen()
        report = failing(scene, TWO)  # one network goes, another comes
        assert report.rollback is not None
        assert report.rollback.complete, report.rollback
        assert difference(before, seen()) == []
        scene.write(ONE)
        assert scene.plan().empty


@isolated
def test_who_lives_in_a_namespace_does_not_notice(tmp_path: Path) -> None:
    """Namespaces go last of all: one that is to be removed is still the same one after going back."""
    with Scene(tmp_path) as scene:
        scene.apply(ONE)
        child = subprocess.Popen(["ip", "netns", "exec", "web", "sleep", "60"])
        inode = Path("/run/netns/web").stat().st_ino
        report = failing(scene, NETWORK.format("front", 1))
        assert report.rollback is not None
        assert report.rollback.complete, report.rollback
        assert Path("/run/netns/web").stat().st_ino == inode
        assert "eth0" in run("ip", "netns", "exec", "web", "ip", "-o", "link")
        child.kill()
        scene.write(ONE)
        assert scene.plan().empty


@isolated
def test_what_others_hung_on_ours_is_put_back_without_our_mark(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.apply(ONE)
        run("ip", "address", "add", "198.51.100.1/24", "dev", "br-front")
        run("ip", "route", "add", "203.0.113.0/24", "via", "198.51.100.9", "proto", "static")
        run("ip", "link", "add", "theirs", "type", "veth", "peer", "name", "other")
        run("ip", "link", "set", "theirs", "master", "br-front", "up")
        report = failing(scene, TWO)
        assert report.rollback is not None
        assert report.rollback.complete, report.rollback
        assert "198.51.100.1/24" in run("ip", "address", "show", "dev", "br-front")
        assert "proto static" in run("ip", "route", "show", "203.0.113.0/24")
        assert "master br-front" in run("ip", "link", "show", "theirs")
        assert not [
            line
            for line in run("ip", "-j", "-d", "address", "show", "dev", "br-front").split("{")
            if "147" in line and "198.51" in line
        ]
        scene.write(ONE)
        assert scene.plan().empty, "what is theirs is not ours to prune"


FOREIGN = [s for s in samples() if s.foreign]


@pytest.mark.parametrize(
    "sample", [pytest.param(s, marks=pytest.mark.requires(*s.requires), id=str(s.spec.key)) for s in FOREIGN]
)
@isolated
def test_what_was_taken_over_is_given_back(sample: Sample) -> None:
    """Adopted, and then undone: theirs again, as it was."""
    if sample.setup:
        run("sh", "-c", sample.setup)
    run("sh", "-c", sample.foreign)
    with NetworkController() as controller:
        desired = [*sample.given_base, sample.spec]
        look = lambda: observe(controller.host, desired, NodeFacts())  # noqa: E731
        now = look()
        plan = make_plan(desired, now, owner="cnm", adopt={sample.spec.key})
        if sample.spec.unadoptable:
            assert any(sample.spec.unadoptable in problem.message for problem in plan.conflicts), plan.conflicts
            assert plan.empty
            return
        if plan.conflicts:  # what it stands on is not ours either, and was not named
            assert not any(str(sample.spec.key) in problem.message for problem in plan.conflicts), plan.conflicts
            return
        before = seen()
        report = controller.execute(Planned(plan, now, tuple(desired)), check=lambda: "the test says no")
        assert report.rollback is not None
        if any(op.recreate and op.key.kind == "link" for op in plan.ops()):
            # Somebody else's interface is more than what is read of it: it was to be made anew, so it is gone, and told.
            assert {line.partition(" is gone; ")[2] for line in report.rollback.left} == {"it was not ours"}
            return
        assert report.rollback.complete, (report.rollback, report.failed)
        assert look().items[sample.spec.key].owner == ""
        changed = difference(before, seen())
        assert changed == [], "\n".join(changed)


@isolated
def test_the_addresses_that_were_chosen_are_not_kept(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        failing(scene, ONE)
        assert not (tmp_path / "cnm.lock").exists()
        scene.apply(ONE)
        kept = (tmp_path / "cnm.lock").read_text()
        failing(scene, f"{ONE}\n---\n{TWO}")
        assert (tmp_path / "cnm.lock").read_text() == kept
        assert sorted(path.name for path in tmp_path.iterdir()) == ["all.yaml", "cnm.lock"]


@isolated
def test_a_full_disk_stops_a_run_or_undoes_it(tmp_path: Path) -> None:
    state = Path("/run/state")
    state.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "tmpfs", str(state))
    before = seen()
    for free in (0, 4096, 8192, 12288, 16384):
        (state / "ballast").write_bytes(b"")
        with (state / "ballast").open("wb", buffering=0) as file:
            try:
                while os.statvfs(state).f_bavail * 4096 > free:
                    file.write(b"x" * 4096)
            except OSError:
                pass
        with Scene(tmp_path, state_dir=state) as scene:  # type: ignore[arg-type]
            scene.write(f"{ONE}\n---\n{TWO}")
            planned = scene.controller.plan([str(tmp_path)])
            report = None
            with suppress(StateError):  # refused: nothing was touched
                report = scene.controller.execute(planned)
            if report is not None:
                if report.ok:
                    (state / "ballast").write_bytes(b"")
                    scene.destroy()
                else:
                    assert "No space left" in " ".join(map(str, report.failed))
                    assert report.rollback is not None
                    # All is gone again; that it is gone may not have found its room on the disk, and is told.
                    assert all("could not be written" in line for line in report.rollback.left), report.rollback
        (state / "ballast").unlink()
        assert difference(before, seen()) == []
        with NetworkController(state_dir=state) as controller:
            assert controller.recover() is None


@isolated
def test_a_read_only_state_folder_stops_it_before_anything_is_touched(tmp_path: Path) -> None:
    state = Path("/run/state")
    state.mkdir()
    run("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(state))
    before = seen()
    with Scene(tmp_path, state_dir=state) as scene:  # type: ignore[arg-type]
        scene.write(ONE)
        with pytest.raises(StateError, match="Read-only file system; without a journal nothing is changed"):
            scene.controller.execute(scene.controller.plan([str(tmp_path)]))
    assert difference(before, seen()) == []


@isolated
def test_a_manifest_folder_that_cannot_be_written_stops_it_too(tmp_path: Path) -> None:
    run("mount", "-t", "tmpfs", "tmpfs", str(tmp_path))
    with Scene(tmp_path) as scene:
        scene.write(ONE)
        libc.mount("tmpfs", str(tmp_path), _REMOUNT_READ_ONLY)
        before = seen()
        from reconciler.errors import UsageError

        with pytest.raises(UsageError, match="automatic addresses cannot be kept"):
            scene.controller.execute(scene.controller.plan([str(tmp_path)]))
        assert difference(before, seen()) == []


def _interrupt(scene: Scene, at: str) -> None:
    """Have the process killed before its first step of this sort, in a child."""
    import signal

    class Kill(Steps):
        def __call__(self, sort: str, what: str) -> None:
            if f"{sort} {what}".startswith(at):
                os.kill(os.getpid(), signal.SIGKILL)

    pid = os.fork()
    if not pid:
        with NetworkController(node="here", owner=scene.controller.owner, step=Kill()) as controller:
            controller.execute(controller.plan([str(scene.folder)]))
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])


@isolated
def test_the_next_command_that_writes_undoes_an_interrupted_run_of_any_owner(tmp_path: Path) -> None:
    before = seen()
    with Scene(tmp_path, owner="theirs") as scene:
        scene.write(ONE)
        _interrupt(scene, "nft")
        assert difference(before, seen()) != []
    with NetworkController() as ours:
        assert "apply of owner theirs" in ours.interrupted()
        with ours.changing() as found:
            assert found is not None
            assert found.rollback.complete, found
        assert ours.recover() is None
    assert difference(before, seen()) == []


@isolated
def test_a_journal_that_cannot_be_read_is_refused_in_words(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.write(ONE)
        _interrupt(scene, "nft")
        (journal,) = Path("/run/cnm").glob("journal-*")
        good = journal.read_text()
        first, *rest = good.splitlines()
        other = json.dumps({**json.loads(first), "format_version": 99})
        for text, words in (
            ("\n".join([other, *rest, ""]), "format 99"),
            ("\n".join(["rubbish", *rest, ""]), "damaged"),
            ("\n".join([json.dumps({**json.loads(first), "items": [{"key": "x"}]}), *rest, ""]), "makes no sense"),
        ):
            journal.write_text(text)
            cnm = [sys.executable, "-c", "from reconciler.cli.main import main; main()", "recover"]
            done = subprocess.run(cnm, capture_output=True, text=True, check=False)
            assert (done.returncode, words in done.stderr) == (1, True), done.stderr
            assert journal.exists()
        journal.write_text(good + '{"record":"batch","op')  # a last line that was not finished
        with NetworkController() as controller:
            found = controller.recover()
        assert found is not None
        assert found.rollback.complete
        assert names() == []


@isolated
def test_the_lock_is_one_a_host_whatever_the_owner_and_the_folder(tmp_path: Path) -> None:
    with (
        NetworkController(owner="one") as one,
        NetworkController(owner="two", state_dir=Path("/run/elsewhere")) as two,
        one.changing("a test"),
        pytest.raises(LockError, match="a test, owner one"),
        two.changing(),
    ):
        pass


@isolated
def test_two_at_once_do_no_harm(tmp_path: Path) -> None:
    """Several processes apply different manifests again and again; each run ends whole, undone or refused."""
    folders = []
    for number, text in enumerate((ONE, TWO, f"{ONE}\n---\n{TWO}")):
        folder = tmp_path / str(number)
        folder.mkdir()
        with Scene(folder) as scene:
            scene.write(text)
        folders.append(folder)
    children = []
    for folder in folders:
        pid = os.fork()
        if not pid:
            status = 1
            try:
                for _ in range(4):
                    with NetworkController(node="here") as controller:
                        try:
                            with controller.changing():
                                report = controller.execute(controller.plan([str(folder)]))
                                assert report.ok, (report.failed, report.left)
                        except LockError:
                            continue
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0, 0]
    with Scene(folders[0]) as scene:
        scene.apply()
        scene.destroy()
    assert names() == []
