"""Snapshots of hosts that reach a fabric: made without one, from what is wanted there. ``python -m tests.golden.aci``

A case with a ``before.yaml`` has all of that on the fabric; the others have what its administrators made.
"""

from __future__ import annotations

import json
from pathlib import Path

from msgspec.structs import replace

from reconciler.engine.controller import NetworkController
from reconciler.planner.file import snapshot_to_data
from reconciler.planner.plan import Observation
from reconciler.resources.managedobject import Fabric, ManagedObject
from reconciler.resources.resource import Key, Observed
from reconciler.topology.view import NodeFacts
from tests.golden.case import FOLDER, NODE, Case


def reached(case: Case) -> str:
    """The snapshot's text."""
    before = case.folder / "before.yaml"
    sources = [before] if before.exists() else case.manifests
    with NetworkController(node=NODE, lock_file=case.folder / "cnm.lock") as controller:
        desired = controller.validate([str(path) for path in sources]).desired
    items: dict[Key, Observed] = {}
    for resource in desired:
        if isinstance(resource, Fabric):
            items[resource.key] = Observed(resource)
        elif isinstance(resource, ManagedObject) and (resource.existing or before.exists()):
            seen = replace(resource, existing=False, attributes=resource.attributes or ())
            items[resource.key] = Observed(seen, "" if resource.existing else "cnm")
    facts = NodeFacts(name=NODE, kernel="6.1.0")
    return json.dumps(snapshot_to_data(Observation(items=items, facts=facts)), indent=1) + "\n"


def main() -> None:
    for folder in sorted(Path(FOLDER, "aci").iterdir()):
        if folder.name != "waiting":
            (folder / "observed.json").write_text(reached(Case(folder)))


if __name__ == "__main__":
    main()
