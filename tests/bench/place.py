"""Where the manifests of a scene and cnm's state are, inside the private host."""

from __future__ import annotations

from pathlib import Path

FOLDER, STATE = Path("/run/bench-manifests"), Path("/run/bench-state")
TOLD = Path("/run/bench-told")  # what a process said of itself
