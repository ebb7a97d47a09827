"""Where a client writes down what it was given, and the script that does so."""

from __future__ import annotations

import os
from pathlib import Path

EVENT = str(Path(__file__).with_name("event.sh"))


def tell_lease(runtime: str) -> None:
    """Tell the script which file is that of the process that we are, by its mark."""
    name = os.environ["CNM_PROCESS"].rpartition("/")[2]
    os.environ["CNM_LEASE"] = str(Path(runtime, f"{name}.lease"))
