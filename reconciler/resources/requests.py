"""Netlink requests of a batch: gathered per namespace, sent together, refusals led back to the ops that asked."""

from __future__ import annotations

import errno
from collections.abc import Container
from typing import TYPE_CHECKING

from reconciler.errors import ObservationError
from reconciler.netlink.wire import Refusal

if TYPE_CHECKING:
    from reconciler.host.host import Host


class Requests:
    """Add requests under an op's id, then :meth:`send`. Requests of one namespace keep their order."""

    def __init__(self, host: Host, *, xfrm: bool = False) -> None:
        self._host = host
        self._xfrm = xfrm
        self._queues: dict[str, list[tuple[str, bytes, Container[int]]]] = {}

    def add(self, netns: str, op_id: str, *requests: bytes, forgive: Container[int] = ()) -> None:
        """``forgive``: errnos that mean the thing already is as it should be."""
        self._queues.setdefault(netns, []).extend((op_id, request, forgive) for request in requests)

    def send(self) -> dict[str, Refusal]:
        """The first refusal of each op that met one. The queues are empty afterwards."""
        refused: dict[str, Refusal] = {}
        for netns, queue in self._queues.items():
            try:
                namespace = self._host.netns(netns)
                namespace.check()
            except KeyError:
                lost = Refusal(errno.ENOENT, f"the network namespace of {netns} is not there")
                refused.update((op_id, lost) for op_id, _request, _forgive in queue)
                continue
            except ObservationError as error:
                refused.update((op_id, Refusal(errno.ESRCH, str(error))) for op_id, _request, _forgive in queue)
                continue
            starts = {n for n in range(1, len(queue)) if queue[n][0] != queue[n - 1][0]}
            socket = namespace.xfrm if self._xfrm else namespace.rtnl
            for position, refusal in socket.send([request for _id, request, _forgive in queue], starts).items():
                op_id, _request, forgive = queue[position]
                if refusal.errno not in forgive:
                    refused.setdefault(op_id, refusal)
        self._queues.clear()
        return refused
