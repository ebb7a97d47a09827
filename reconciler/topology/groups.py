"""Groups of nodes in the shape of the data centre, each with a part of every subnet: what makes few routes of many
addresses.

A prefix is cut over its groups as Romana does it: padded to a power of two, the n-th group gets the n-th part. What is
padding is no group, so nobody can be in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from msgspec import Struct
from msgspec.structs import replace
from pydantic import Field

from reconciler.manifest.model import Model
from reconciler.manifest.suggest import meant
from reconciler.manifest.types import Cidr, IPAddress, Labels, Name
from reconciler.topology.view import Address, BlockView, NodeView, Subnet

Place = tuple[str | int, ...]  # of a part of the options
Fault = tuple[Place, str, str]  # where it is, what is wrong, what to do

Room = Annotated[int, Field(ge=1, le=65536)]


class GroupSpec(Model):
    """A group of nodes: a zone, a rack. It holds groups, those that are within it, or else the nodes that have its labels."""

    name: Name = Field(description="Its name, unique in the network.")
    within: Name | None = Field(default=None, description="The group around it. Default: it is one at the top.")
    labels: Labels = Field(
        default={}, description="Labels that a node must have to be in it, and those of the groups around it too."
    )
    cidrs: list[Cidr] = Field(
        default=[], description="Its prefix of each subnet, where others plan those. Default: the next part of the cut."
    )
    routers: list[IPAddress] = Field(
        default=[],
        description="By which its nodes reach those of other groups, like the rack's router; one of a family. Default: "
        "that of the group around it; without any, nodes reach each other directly.",
    )
    room: Room | None = Field(
        default=None,
        description="For how many groups within it the prefix is cut, so that more can come without moving anybody. "
        "Default: as many as there are; either is rounded up to a power of two.",
    )


class Group(Struct, frozen=True):
    """A group with its prefixes: ``cidrs`` in the order of the network's subnets, None where it has no part. ``path`` are
    the names of the groups around it and its own; ``labels`` what its nodes must have, by all of those. ``place`` is where
    it is written, below ``spec.options``."""

    path: tuple[str, ...]
    labels: Mapping[str, str]
    cidrs: tuple[Subnet | None, ...]
    routers: tuple[Address, ...]
    groups: tuple[Group, ...]
    place: Place

    @property
    def name(self) -> str:
        return "/".join(self.path)

    def leaves(self) -> Iterable[Group]:
        """The groups that have nodes, not groups."""
        if not self.groups:
            yield self
        for group in self.groups:
            yield from group.leaves()


def lay_out(groups: Sequence[GroupSpec], room: int | None, subnets: Sequence[Subnet]) -> Group:
    """The tree of a network with all prefixes. Where :func:`faults` finds something a group may lack its prefix, or be
    in no tree."""
    return _fill(Group((), {}, tuple(subnets), (), (), ()), _inside(groups), room)


_Inside = Mapping[str | None, Sequence[tuple[int, GroupSpec]]]  # name of the group around -> (number, group)


def _inside(groups: Sequence[GroupSpec]) -> _Inside:
    found: dict[str | None, list[tuple[int, GroupSpec]]] = {}
    for number, spec in enumerate(groups):
        found.setdefault(spec.within, []).append((number, spec))
    return found


def _fill(whole: Group, specs: _Inside, room: int | None) -> Group:
    here = specs.get(whole.path[-1] if whole.path else None, ())
    if len(set(whole.path)) < len(whole.path):
        return whole  # within itself
    parts: list[Sequence[Subnet | None]] = []
    for cidr in whole.cidrs:
        if cidr is not None and any(_written(spec, cidr) for _, spec in here):
            parts.append([_written(spec, cidr) for _, spec in here])
        else:
            parts.append(list(cut(cidr, len(here), room)))
    inner = []
    for place, (number, spec) in enumerate(here):
        group = Group(
            (*whole.path, spec.name),
            {**whole.labels, **spec.labels},
            tuple(part[place] for part in parts),
            tuple(spec.routers),
            (),
            ("groups", number),
        )
        inner.append(_fill(group, specs, spec.room))
    return replace(whole, groups=tuple(inner))


def _written(group: GroupSpec, whole: Subnet) -> Subnet | None:
    return next((cidr for cidr in group.cidrs if inside(cidr, whole)), None)


def cut(cidr: Subnet | None, number: int, room: int | None = None) -> Iterable[Subnet | None]:
    """The parts of a prefix for so many groups, or of the room for more; None where it is too small for that."""
    bits = (max(number, room or 0, 1) - 1).bit_length()
    for index in range(number):
        if cidr is None or cidr.prefixlen + bits > cidr.max_prefixlen:
            yield None
        else:
            length = cidr.prefixlen + bits
            yield prefix(int(cidr.network_address) + (index << (cidr.max_prefixlen - length)), length, cidr.version)


def inside(cidr: Subnet, whole: Subnet) -> bool:
    """Whether a prefix is a part of another, or all of it."""
    if isinstance(cidr, IPv4Network):
        return isinstance(whole, IPv4Network) and cidr.subnet_of(whole)
    return isinstance(whole, IPv6Network) and cidr.subnet_of(whole)


def prefix(number: int, length: int, version: int) -> Subnet:
    """A prefix by its first address as a number."""
    return IPv4Network((number, length)) if version == 4 else IPv6Network((number, length))


def faults(
    groups: Sequence[GroupSpec], room: int | None, subnets: Sequence[Subnet], lengths: Sequence[int]
) -> Iterable[Fault]:
    """What is wrong with the tree of these subnets, whose blocks have these prefix lengths."""
    specs = _inside(groups)
    names: set[str] = set()
    for number, spec in enumerate(groups):
        if spec.name in names:
            yield ("groups", number, "name"), f"there are two groups {spec.name}", "rename one"
        names.add(spec.name)
        families = [router.version for router in spec.routers]
        if len(set(families)) < len(families):
            text = f"group {spec.name} has several routers of one family"
            yield ("groups", number, "routers"), text, "write one of each family"
    known = {spec.name: spec for spec in groups}
    for number, spec in enumerate(groups):
        if spec.within is not None and spec.within not in known:
            yield ("groups", number, "within"), f"there is no group {spec.within!r}", meant(spec.within, known)
        elif _goes_round(spec, known):
            yield ("groups", number, "within"), f"group {spec.name} is within itself", "leave within out at the top"
    if len(names) == len(groups):
        yield from _faults(lay_out(groups, room, subnets), specs, room, lengths)


def _goes_round(spec: GroupSpec, known: Mapping[str, GroupSpec]) -> bool:
    around, passed = known.get(spec.within or ""), 0
    while around is not None and around is not spec and passed < len(known):
        around, passed = known.get(around.within or ""), passed + 1
    return around is spec


def _faults(whole: Group, specs: _Inside, room: int | None, lengths: Sequence[int]) -> Iterable[Fault]:
    here = f"group {whole.path[-1]}" if whole.path else "the network"
    inside_it = [spec for _, spec in specs.get(whole.path[-1] if whole.path else None, ())]
    if room is not None and room < len(inside_it):
        yield (*whole.place, "room"), f"{here} has {len(inside_it)} groups, and room for {room}", "raise room"
    for group, spec in zip(whole.groups, inside_it, strict=False):
        yield from _prefix_faults(whole, group, spec, inside_it)
    for number, cidr in enumerate(whole.cidrs):
        if cidr is None:
            continue  # told of one level above
        if any(part.cidrs[number] is None for part in whole.groups) and not any(_written(s, cidr) for s in inside_it):
            text = f"{here} has {cidr}, which cannot be cut for {max(len(inside_it), room or 0)} groups"
            yield whole.place or ("groups",), text, "write fewer groups or a wider subnet"
        if not whole.groups and cidr.prefixlen > lengths[number]:
            text = f"{here} has {cidr}, which is smaller than a block of /{lengths[number]}"
            yield whole.place, text, "write fewer groups, a wider subnet or a longer block length"
    for group, spec in zip(whole.groups, inside_it, strict=False):
        yield from _faults(group, specs, spec.room, lengths)


def _prefix_faults(whole: Group, group: Group, spec: GroupSpec, beside: Sequence[GroupSpec]) -> Iterable[Fault]:
    """Of prefixes that are written."""
    around = ", ".join(str(cidr) for cidr in whole.cidrs if cidr is not None)
    for number, cidr in enumerate(spec.cidrs):
        at = (*group.place, "cidrs", number)
        holder = next((part for part in whole.cidrs if part is not None and inside(cidr, part)), None)
        if holder is None:
            yield at, f"{cidr} of group {spec.name} is not inside {around or 'any subnet'}", "write a part of it"
        elif _written(spec, holder) != cidr:
            yield at, f"group {spec.name} has two prefixes of {holder}", "write one of each subnet"
        for other in beside[: beside.index(spec)]:
            twin = next((c for c in other.cidrs if c.version == cidr.version and c.overlaps(cidr)), None)
            if twin is not None:
                yield at, f"{cidr} of group {spec.name} overlaps {twin} of group {other.name}", "write another part"
    for part in whole.cidrs:
        if part is not None and _written(spec, part) is None and any(_written(other, part) for other in beside):
            text = f"group {spec.name} has no prefix of {part}, and others beside it have"
            yield (*group.place, "cidrs"), text, "write the prefixes of all of them, or of none"


class Layout(Struct, frozen=True, dict=True):
    """The tree, and the leaf that each node is in, by name; a node that fits none is left out. ``alone``: the manifests
    name no nodes, so there is one, under any name."""

    top: Group
    nodes: Mapping[str, Group]
    alone: bool = False

    def leaf(self, node: str) -> Group | None:
        if self.alone and not self.top.groups:
            return self.top
        return self.nodes.get(node)

    @cached_property
    def members(self) -> Mapping[tuple[str, ...], tuple[str, ...]]:
        """Path of a leaf -> its nodes, by name."""
        found: dict[tuple[str, ...], list[str]] = {}
        for node, leaf in sorted(self.nodes.items()):
            found.setdefault(leaf.path, []).append(node)
        return {path: tuple(nodes) for path, nodes in found.items()}

    def hosts(self, group: Group) -> tuple[str, ...]:
        """The nodes in a group and in the groups inside."""
        return tuple(node for leaf in group.leaves() for node in self.members.get(leaf.path, ()))


def assign(top: Group, nodes: Sequence[NodeView], blocks: Iterable[tuple[Subnet, str]]) -> Layout:
    """Each node to a leaf whose labels it has: the one that has most of its blocks (CIDR, node), else that with the fewest
    nodes. So a node stays where it is as long as it fits there, whoever else comes or goes."""
    leaves = list(top.leaves())
    fitting = {
        node.name: [leaf for leaf in leaves if all(node.labels.get(k) == v for k, v in leaf.labels.items())]
        for node in sorted(nodes, key=lambda node: node.name)
    }
    held: dict[str, list[Subnet]] = {}
    for cidr, name in blocks:
        held.setdefault(name, []).append(cidr)
    found: dict[str, Group] = {}
    count = dict.fromkeys((leaf.path for leaf in leaves), 0)
    for name, choice in fitting.items():
        if len(choice) == 1:
            found[name] = choice[0]
        elif any(score := [sum(_holds(leaf, cidr) for cidr in held.get(name, ())) for leaf in choice]):
            found[name] = choice[score.index(max(score))]
        if name in found:
            count[found[name].path] += 1
    for name, choice in fitting.items():
        if name not in found and choice:
            found[name] = min(choice, key=lambda leaf: count[leaf.path])
            count[found[name].path] += 1
    return Layout(top, found, alone=not nodes)


def _holds(leaf: Group, cidr: Subnet) -> bool:
    return any(part is not None and inside(cidr, part) for part in leaf.cidrs)


def cover(whole: Subnet, blocks: Sequence[BlockView]) -> Iterable[tuple[Subnet, str]]:
    """(prefix, node): the widest parts of a prefix in each of which one node has all blocks. ``blocks`` are those inside,
    by address. What is free goes with the node beside it, so that most blocks that come or go change no route."""
    if not blocks:
        return
    if len({block.node for block in blocks}) == 1:
        yield whole, blocks[0].node
        return
    length = whole.prefixlen + 1
    first = int(whole.network_address)
    middle = first + (1 << (whole.max_prefixlen - length))
    low = [block for block in blocks if int(block.cidr.network_address) < middle]
    yield from cover(prefix(first, length, whole.version), low)
    yield from cover(prefix(middle, length, whole.version), blocks[len(low) :])
