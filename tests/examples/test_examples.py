"""Every folder of manifests/examples is held by being there: it is valid, its plan is known, and it works.

``NAME.sh`` beside this file prepares a private host for an example that needs more than an empty one, like a
parent interface.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from reconciler.drivers.registry import drivers
from reconciler.engine.controller import NetworkController
from reconciler.engine.result import PlanOptions, Validated
from reconciler.features.registry import features
from tests.golden.case import FOLDER as GOLDEN
from tests.golden.case import render
from tests.lab import Host, difference, missing
from tests.text import TextFile

EXAMPLES = sorted(path for path in (Path(__file__).parents[2] / "manifests" / "examples").iterdir() if path.is_dir())
every_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)


def node_of(example: Path) -> str:
    """The first host of the example, where it has several."""
    for path in sorted(example.glob("**/*.yaml")):
        for text in path.read_text().split("\n---"):
            if "\nkind: Node\n" in text:
                return text.partition("name: ")[2].split("\n")[0].split(",")[0].rstrip("}").strip()
    return "here"


def validated(example: Path) -> Validated:
    with NetworkController(node=node_of(example)) as controller:
        return controller.validate([str(example)])


@every_example
def test_it_is_valid_and_shows_its_driver(example: Path) -> None:
    topology = validated(example).topology
    shown = {network.driver for network in topology.networks} | {sandbox.stack for sandbox in topology.sandboxes}
    shown |= {feature.name for feature in features().values() if feature.requires(topology)}
    shown |= {"aci" for _document in topology.documents("AciFabric")}
    assert any(example.name == name or example.name.startswith(f"{name}-") for name in shown)
    for path in example.glob("**/*.yaml"):
        assert path.read_text().startswith("# yaml-language-server: $schema=../../../schemas/cnm.json\n# "), path


@every_example
def test_its_plan_is_known(example: Path, snapshot: SnapshotAssertion) -> None:
    with NetworkController(node=node_of(example)) as controller:
        planned = controller.plan([str(example)], options=PlanOptions(snapshot=GOLDEN / "bare.json"))
    assert not planned.plan.conflicts
    assert render(planned) == snapshot.use_extension(TextFile)


_HARDWARE = {
    "sriov": "sriov-nic",
    "sriov-switchdev": "netdevsim",
}  # what an example waits for, and so cannot be shown to work without


@every_example
def test_it_works_and_leaves_nothing(example: Path, host: Host, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    topology = validated(example).topology
    needs = {capability for network in topology.networks for capability in drivers()[network.driver].requires(network)}
    needs |= {capability for feature in features().values() for capability in feature.requires(topology)}
    for capability in sorted(needs | {_HARDWARE[example.name]} if example.name in _HARDWARE else needs):
        reason = missing(capability)
        if reason:
            pytest.skip(f"{capability}: {reason}")
    folder = tmp_path / example.name  # apply writes the lock file beside the manifests
    shutil.copytree(example, folder)
    script = Path(__file__).with_name(f"{example.name}.sh")
    if script.exists():
        host.run("sh", "-e", script)
    before = host.fingerprint()
    node = ("--node", node_of(example))
    env = request.getfixturevalue("warm").environment  # only now: most examples wait for another kernel
    host.run("cnm", "apply", "--yes", *node, folder, env=env)
    assert "No changes." in host.run("cnm", "plan", *node, folder, env=env).stdout
    status = host.run("cnm", "status", *node, folder, check=False, env=env)
    assert status.returncode == (2 if topology.documents("BGPPeer") else 0), "a session's other end is not here"
    host.run("cnm", "destroy", "--yes", env=env)
    assert difference(before, host.fingerprint()) == []
