"""Take away what a client left that was killed: ``python -m reconciler.dhcp.undo RUNTIME INTERFACE ...``, in the sandbox's
namespace. Nothing is released: the server takes the lease back when its time is over."""

from __future__ import annotations

import os
import sys

from reconciler.dhcp.lease import EVENT, tell_lease


def main(runtime: str, interface: str, *_more: str) -> None:
    """Never returns."""
    tell_lease(runtime)
    os.environ["interface"] = interface  # noqa: SIM112 - as udhcpc calls it
    os.execv("/bin/sh", ["sh", EVENT, "deconfig"])  # noqa: S606 - that is what this program is


if __name__ == "__main__":
    main(*sys.argv[1:])
