"""Become the client: ``python -m reconciler.dhcp RUNTIME INTERFACE HOSTNAME IDENTITY``, in the sandbox's namespace.

What it is given is in ``RUNTIME/dhcp.SANDBOX.INTERFACE.lease``, a shell variable a line.
"""

from __future__ import annotations

import os
import sys

from reconciler.dhcp.lease import EVENT, tell_lease

_OPTIONS = ("subnet", "router", "dns", "domain", "staticroutes", "ntpsrv")


def main(runtime: str, interface: str, hostname: str, identity: str) -> None:
    """Never returns: this process, with its mark, is udhcpc from here on. It asks again for as long as nobody answers,
    and releases the lease when it is ended."""
    tell_lease(runtime)
    client = b"\0" + identity.encode()  # RFC 2132, 9.14: type 0, not a hardware address
    command = ["busybox", "udhcpc", "-f", "-R", "-i", interface, "-s", EVENT]
    command += ["-t", "5", "-T", "1", "-A", "5", "-B", "-C", "-x", f"0x3d:{client.hex()}", "-x", f"hostname:{hostname}"]
    command += [word for option in _OPTIONS for word in ("-O", option)]
    os.execvp(command[0], command)  # noqa: S606 - that is what this program is


if __name__ == "__main__":
    main(*sys.argv[1:])
