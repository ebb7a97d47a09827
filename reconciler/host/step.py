"""The seam that everything passes which changes this machine, one step at a time.

A step is one netlink request, one nft transaction, one sysctl, one namespace made or removed, one write of a file
of ours, one record of the journal. What does it announces it first: tests make the n-th one fail, or end the
process there, for every n.
"""

from __future__ import annotations

from collections.abc import Callable

Step = Callable[[str, str], None]
"""Called with the sort of step and a word on it, before it is done; an OSError that it raises is what the step then
meets. Sorts: ``datagram`` (netlink requests that the kernel works through in one go, even when we are killed),
``netlink`` (one request in it), ``nft``, ``ovsdb`` (one transaction), ``openflow`` (one bundle),
``sysctl``, ``offload``, ``netns``, ``file``, ``journal``,
``process`` (started or ended), ``apic`` (one POST), ``attendant`` (something that it is handed or drops)."""


def unhindered(sort: str, what: str) -> None:
    """Nothing stands in the way."""
