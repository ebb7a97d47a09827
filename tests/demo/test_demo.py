"""The demonstration is also a test: it ends with status 0 only when every claim in it holds."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.lab.host import ROOT


@pytest.mark.requires("netns", "nft", "ping", "link:bridge", "link:veth")
def test_the_demonstration_holds() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.demo"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
