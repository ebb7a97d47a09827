"""What is wrong inside documents and what is wrong between them is told in one run, and nothing is made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.engine.controller import NetworkController
from reconciler.errors import ManifestError
from reconciler.manifest.kinds import kinds
from reconciler.manifest.reader import read_documents

MANIFESTS = Path(__file__).parents[2] / "manifests"

MIXED = """\
apiVersion: cnm/v1alpha1
kind: Network
metadata: {name: twice}
spec: {subnets: [{cidr: 10.1.0.0/24}, {cidr: 10.1.0.128/25}]}
---
apiVersion: cnm/v1alpha1
kind: Network
metadata: {name: fine}
spec: {subnets: [{cidr: 10.3.0.0/24}]}
---
apiVersion: cnm/v1alpha1
kind: Network
metadata: {name: broken}
spec: {subnets: [{cidr: 10.2.0.0/24}], internal: "yes"}
---
apiVersion: cnm/v1alpha1
kind: Sandbox
metadata: {name: s}
---
apiVersion: cnm/v1alpha1
kind: Endpoint
metadata: {name: dangling}
spec: {network: nope, sandbox: s}
---
apiVersion: cnm/v1alpha1
kind: Endpoint
metadata: {name: of-broken}
spec: {network: broken, sandbox: s, addresses: [10.9.9.9]}
---
apiVersion: cnm/v1alpha1
kind: Endpoint
metadata: {name: outside}
spec: {network: fine, sandbox: s, addresses: [10.9.9.9]}
"""


def _told(*sources: Path) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        NetworkController().validate([str(source) for source in sources])
    return [str(problem).partition(": ")[2].splitlines()[0] for problem in caught.value.problems]


def test_all_errors_come_in_one_run(tmp_path: Path) -> None:
    manifest = tmp_path / "mixed.yaml"
    manifest.write_text(MIXED)
    assert _told(manifest) == [
        "subnet 10.1.0.128/25 of network twice overlaps 10.1.0.0/24 of network twice (mixed.yaml:4:25)",
        "internal: expected true or false, found 'yes'",
        "there is no network 'nope'",
        "10.9.9.9 is in no subnet of network fine",
    ]


@pytest.mark.parametrize("folder", sorted({path.parent for path in MANIFESTS.rglob("*.yaml")}), ids=lambda f: f.name)
def test_one_mistake_is_one_error(folder: Path, tmp_path: Path) -> None:
    """Whatever else refers to the document that is wrong."""
    texts = {path: path.read_text() for path in sorted(folder.rglob("*.yaml"))}
    tried = 0
    for path, text in texts.items():
        for raw in read_documents(text.encode(), path.name):
            assert raw.data["kind"] in kinds()
            lines = text.splitlines(keepends=True)
            lines.insert(raw.line - 1, "frobnicate: true\n")
            for other, kept in texts.items():
                (tmp_path / other.name).write_text("".join(lines) if other == path else kept)
            assert _told(tmp_path) == ["unknown key 'frobnicate'"], (path, raw.line)
            tried += 1
    assert tried
