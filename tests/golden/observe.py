"""Take the snapshots of the golden cases anew: ``python -m tests.golden.observe [DRIVER/CASE...]`` (root).

For each case with a ``before.yaml`` or ``before.sh``, in a private host: apply the one, run the other, look.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from reconciler.planner.file import snapshot_to_data
from reconciler.planner.plan import Observation
from reconciler.topology.view import NodeFacts
from tests.golden.case import FOLDER, NODE, Case, cases
from tests.lab import Host

# What differs from machine to machine, and is not what a case is about.
_FIXED = {"name": NODE, "kernel": "6.1.0", "nameservers": []}


def observe(case: Case) -> str:
    """The snapshot's text."""
    with Host() as host, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before, script = case.folder / "before.yaml", case.folder / "before.sh"
        daemons = case.folder.parent / "host.sh"
        if daemons.exists():
            host.run("sh", "-e", daemons)
        if script.exists() and not before.exists():
            host.run("sh", "-e", script)
        if before.exists():
            shutil.copy(before, folder)
            host.run("cnm", "apply", "--yes", "-q", "--node", NODE, folder)
            if script.exists():
                host.run("sh", "-e", script)
        host.run("cnm", "show", "--observed", "--node", NODE, "-o", folder / "seen.json", *case.manifests)
        data = json.loads((folder / "seen.json").read_text())
    data["facts"] |= _FIXED
    return json.dumps(data, indent=1) + "\n"


def bare_of(daemons: Path) -> str:
    """The snapshot of a host with nothing on it but what a driver's cases have running."""
    with Host() as host, tempfile.TemporaryDirectory() as name:
        host.run("sh", "-e", daemons)
        path = Path(name) / "seen.json"
        host.run("cnm", "show", "--observed", "--node", NODE, "-o", path, cwd=name)
        data = json.loads(path.read_text())
    data["facts"] |= _FIXED
    return json.dumps(data, indent=1) + "\n"


def bare() -> str:
    """The snapshot of a host with nothing on it."""
    return (
        json.dumps(snapshot_to_data(Observation(items={}, facts=NodeFacts(name=NODE, kernel="6.1.0"))), indent=1) + "\n"
    )


def main(names: list[str]) -> None:
    (FOLDER / "bare.json").write_text(bare())
    for daemons in FOLDER.glob("*/host.sh"):
        daemons.with_name("bare.json").write_text(bare_of(daemons))
    for case in cases():
        made = any((case.folder / name).exists() for name in ("before.yaml", "before.sh"))
        made = made and case.folder.parent.name != "aci"  # what is on a fabric: tests/golden/aci.py
        if made and (not names or str(case) in names):
            (case.folder / "observed.json").write_text(observe(case))
            print(f"{case}: observed")


if __name__ == "__main__":
    main(sys.argv[1:])
