"""The documents say what is so: generated ones are up to date, examples run, links lead somewhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from reconciler.cli import reference
from tests.lab import Host

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_MANIFESTS = """\
apiVersion: cnm/v1alpha1
kind: Network
metadata: {name: web}
spec: {subnets: [{cidr: 10.77.0.0/24}]}
---
apiVersion: cnm/v1alpha1
kind: Sandbox
metadata: {name: shop}
---
apiVersion: cnm/v1alpha1
kind: Endpoint
metadata: {name: shop}
spec: {network: web, sandbox: shop}
"""


def test_the_command_reference_is_up_to_date() -> None:
    assert (ROOT / reference.PATH).read_text() == reference.reference(), "stale: run make docs"


@pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")
def test_the_library_example_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(), re.DOTALL)
    (tmp_path / "example.py").write_text(code)
    (tmp_path / "net.yaml").write_text(_MANIFESTS)
    with Host() as host:
        said = host.run(sys.executable, tmp_path / "example.py", tmp_path / "net.yaml").stdout
        assert host.namespaces() == []
    assert "create link/br-web none" in said
    assert "all holds" in said
    assert "Endpoint web/shop ok" in said
    assert "eth0" in said


@pytest.mark.requires("netns", "nft")
def test_the_readme_shows_the_real_plan(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    (manifest,) = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    (shown,) = re.findall(r"```\n\$ cnm plan shop.yaml\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "shop.yaml").write_text(manifest)
    with Host() as host:
        done = host.run("cnm", "plan", tmp_path / "shop.yaml", check=False)
    assert (done.returncode, done.stdout) == (2, shown)


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    for link in _LINK.findall(document.read_text()):
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{document.name}: {link}"
        if anchor and target.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert anchor in map(_anchor, headings), f"{document.name}: {link}"
