"""What keeps a person from cutting off the branch they sit on. Asked before anything is touched."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from msgspec import Struct

from reconciler.engine.result import Planned
from reconciler.errors import GuardError, UsageError
from reconciler.host.host import Host
from reconciler.host.peers import Peer, connected_peers
from reconciler.netlink.route import RTPROT_RA, lookup_route
from reconciler.planner.plan import Action, Plan
from reconciler.planner.way import Way, touching
from reconciler.resources.address import Address
from reconciler.resources.link import Link
from reconciler.resources.resource import Key

FEW = 20  # deletions up to this many are never a mass


class Guards(Struct, frozen=True):
    """``force``: the way to the person may be cut. ``keep_reachable``: further addresses to which the way must
    stay. ``allow_mass_delete``: more than ``share`` of our objects may go, and a host that could not be read
    whole may be changed."""

    force: bool = False
    keep_reachable: tuple[str, ...] = ()
    allow_mass_delete: bool = False
    share: float = 0.5
    environ: Mapping[str, str] | None = None


def check(host: Host, planned: Planned, guards: Guards) -> None:
    """Raises GuardError, in words, and what to do instead."""
    if planned.plan.empty:
        return
    if not guards.allow_mass_delete:
        check_mass(planned, guards.share)
    if not guards.force:
        check_ways(host, planned, guards)


def check_mass(planned: Planned, share: float) -> None:
    """Refuse to delete more than ``share`` of our objects because manifests shrank, or anything on half a look."""
    plan, observation = planned.plan, planned.observation
    if observation.partial:
        raise GuardError(
            f"this host could not be read whole ({', '.join(observation.partial)}); "
            "to change it all the same: --allow-mass-delete"
        )
    gone = _gone(plan)
    lost = sum(1 for key in gone if key in observation.items and observation.items[key].owner == plan.owner)
    if not planned.desired or lost <= FEW:
        return
    ours = sum(1 for seen in observation.items.values() if seen.owner == plan.owner)
    if lost > share * ours:
        raise GuardError(
            f"{lost} of our {ours} objects here would be deleted, more than {share:.0%}. Are these all the manifests "
            "that this host shall have? If so: --allow-mass-delete; to remove everything: cnm destroy"
        )


def _gone(plan: Plan) -> set[Key]:
    coming = {op.key for op in plan.ops() if op.action is not Action.DELETE}
    gone: set[Key] = set()
    for op in plan.ops():
        if op.action is Action.DELETE and not op.recreate:
            gone |= {op.key, *op.also_removes}
    return gone - coming


def check_ways(host: Host, planned: Planned, guards: Guards) -> None:
    """Refuse a plan that touches the way to the person who runs it, or to an address that must stay reachable."""
    environ = os.environ if guards.environ is None else guards.environ
    lines: list[str] = []
    for peer in (*connected_peers(environ), *map(_named, guards.keep_reachable)):
        way = find_way(host, peer, planned)
        found = touching(planned.plan, way, planned.observation.items) if way is not None else ()
        if found:
            lines.append(f"this plan touches the way to {peer.address} ({peer.known_by}), now {way}:")
            lines += [f"  {line}" for line in found]
    if lines:
        raise GuardError(
            "\n".join(
                [
                    *lines,
                    "If that goes wrong you cannot come back to mend it. `cnm try` applies it and reverts by itself unless",
                    "you confirm; --force applies it all the same.",
                ]
            )
        )


def _named(text: str) -> Peer:
    try:
        return Peer(ip_address(text), None, "to be kept reachable")
    except ValueError:
        raise UsageError(f"--keep-reachable {text}: write an IP address") from None


def find_way(host: Host, peer: Peer, planned: Planned) -> Way | None:
    """How this host reaches a peer now; None when it does not, or when the peer is this host itself."""
    if not host.root.links:
        host.root.look()
    used = lookup_route(host.root.rtnl, peer.address)
    if used is None or not used.ifindex:
        return None
    entry = lookup_route(host.root.rtnl, peer.address, entry=True) or used
    names = host.root.names()
    dev = names.get(used.ifindex, "")
    local = peer.local if peer.local is not None else ip_address(used.src) if used.src else None
    metric = 0 if ":" in entry.to and entry.metric == 1024 else entry.metric
    return Way(
        peer=peer.address,
        known_by=peer.known_by,
        dev=dev,
        to=entry.to,
        table=entry.table,
        metric=metric,
        via=used.via or None,
        local=local,
        links=frozenset(_links(host, used.ifindex, names)) | frozenset(_last_steps(peer, planned)),
        learned=entry.protocol == RTPROT_RA,
    )


def _links(host: Host, ifindex: int, names: Mapping[int, str]) -> Iterable[str]:
    """An interface, what it rides on in this namespace, and the ports of bridges and bonds that are not ours: one
    of them is the way out."""
    raws = {raw.ifindex: raw for raw in host.root.links}
    waiting, found = [ifindex], set()
    while waiting:
        index = waiting.pop()
        if index in found or index not in raws:
            continue
        found.add(index)
        raw = raws[index]
        if raw.link and raw.netnsid == -1:
            waiting.append(raw.link)
        waiting += [
            other.ifindex
            for other in raws.values()
            if other.master == index and not host.root.owners.get(other.ifindex)
        ]
    return [names[index] for index in found]


def _last_steps(peer: Peer, planned: Planned) -> Iterable[str]:
    """When the peer is in one of our sandboxes: the host's end of its cable."""
    items = planned.observation.items
    for key, seen in items.items():
        address = seen.resource
        if not key.netns or not isinstance(address, Address) or address.address.partition("/")[0] != str(peer.address):
            continue
        link = items.get(Key("link", key.netns, address.dev))
        if link is not None and isinstance(link.resource, Link) and link.resource.maker is not None:
            yield link.resource.maker.name
