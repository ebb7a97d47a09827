"""Romana's addresses: by where a node is, in blocks of one owner, and with few routes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.drivers.romana import layout_of, ways
from reconciler.errors import ManifestError, PlanError
from reconciler.manifest.document import Document
from reconciler.topology.groups import GroupSpec, cover, cut, faults, inside, lay_out
from reconciler.topology.resolve import Resolved
from reconciler.topology.space import Space
from reconciler.topology.view import BlockView
from tests.bench.romana import Centre, allocate
from tests.topology.datacentre import (
    Labels,
    Traffic,
    addresses,
    app,
    blocks,
    document,
    endpoint,
    leaf_of,
    network,
    node,
    racks,
    world,
)

TWO = [node("a", 0, {"rack": "0"}), node("b", 1, {"rack": "0"}), node("c", 2, {"rack": "1"})]
GROUPS = racks(2)


def plain(**options: Any) -> Document:
    return network("10.1.0.0/24", **{"groups": GROUPS, **options})


# -- the tree ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "room", "parts"),
    [
        (1, None, ["10.0.0.0/8"]),
        (2, None, ["10.0.0.0/9", "10.128.0.0/9"]),
        (3, None, ["10.0.0.0/10", "10.64.0.0/10", "10.128.0.0/10"]),
        (2, 5, ["10.0.0.0/11", "10.32.0.0/11"]),
        (5, 2, ["10.0.0.0/11", "10.32.0.0/11", "10.64.0.0/11", "10.96.0.0/11", "10.128.0.0/11"]),
    ],
)
def test_a_prefix_is_cut_padded_to_a_power_of_two(number: int, room: int | None, parts: list[str]) -> None:
    assert [str(part) for part in cut(ip_network("10.0.0.0/8"), number, room)] == parts


def test_padding_takes_no_nodes() -> None:
    """In Romana a padding group with no labels could be chosen for a host."""
    nodes = [node(f"n{n}", n) for n in range(12)]
    groups = [{"name": name} for name in "xyz"]
    found = world([*nodes, network("10.1.0.0/24", groups=groups), *endpoint("e", "n0")], "n0")
    names = [leaf.name for n in range(12) if (leaf := leaf_of(app(found), f"n{n}")) is not None]
    assert sorted(names) == ["x"] * 4 + ["y"] * 4 + ["z"] * 4, "a host goes to the group with the fewest"


def test_written_prefixes_are_taken_as_they_are() -> None:
    groups = [
        GroupSpec(name="x", cidrs=[ip_network("10.1.4.0/22")]),
        GroupSpec(name="y", cidrs=[ip_network("10.1.0.0/24")]),
    ]
    top = lay_out(groups, None, [ip_network("10.1.0.0/16")])
    assert [str(group.cidrs[0]) for group in top.groups] == ["10.1.4.0/22", "10.1.0.0/24"]


@pytest.mark.parametrize(
    ("groups", "room", "said"),
    [
        ([{"name": "x"}, {"name": "x"}], None, "two groups x"),
        ([{"name": "x"}, {"name": "y"}], 1, "2 groups, and room for 1"),
        ([{"name": "x"}], 64, "group x has 10.1.0.0/30, which is smaller than a block of /29"),
        ([{"name": str(n)} for n in range(9)], 512, "has 10.1.0.0/24, which cannot be cut for 512 groups"),
        ([{"name": "x", "routers": ["192.0.2.1", "192.0.2.2"]}], None, "several routers of one family"),
        ([{"name": "x", "cidrs": ["10.2.0.0/24"]}], None, "10.2.0.0/24 of group x is not inside 10.1.0.0/24"),
        ([{"name": "x", "cidrs": ["10.1.0.0/25", "10.1.0.128/25"]}], None, "two prefixes of 10.1.0.0/24"),
        ([{"name": "x", "cidrs": ["10.1.0.0/25"]}, {"name": "y", "cidrs": ["10.1.0.0/26"]}], None, "overlaps 10.1.0.0/25"),
        ([{"name": "x", "cidrs": ["10.1.0.0/25"]}, {"name": "y"}], None, "group y has no prefix of 10.1.0.0/24"),
        ([{"name": "x", "within": "z"}], None, "there is no group 'z'"),
        ([{"name": "x", "within": "y"}, {"name": "y", "within": "x"}], None, "group x is within itself"),
    ],
)  # fmt: skip
def test_trees_that_cannot_be_are_refused(groups: list[dict[str, Any]], room: int | None, said: str) -> None:
    with pytest.raises(ManifestError) as caught:
        world([*TWO, network("10.1.0.0/24", groups=groups, **({"room": room} if room else {}))], "a")
    assert said in str(caught.value)


# -- allocation --------------------------------------------------------------------------------------------------


def test_addresses_are_of_the_nodes_group_and_blocks_of_one_owner() -> None:
    documents = [*TWO, plain(), *endpoint("e1", "a"), *endpoint("e2", "a"), *endpoint("e3", "c")]
    documents += [*endpoint("e4", "a", {"tenant": "bank"}), *endpoint("e5", "a", {"tenant": "bank", "segment": "db"})]
    found = world(documents, "a")
    assert addresses(found) == {
        "e1": ["10.1.0.1"],
        "e2": ["10.1.0.2"],
        "e3": ["10.1.0.128"],
        "e4": ["10.1.0.8"],
        "e5": ["10.1.0.16"],
    }
    assert [(str(b.cidr), b.node, b.owner) for b in blocks(app(found))] == [
        ("10.1.0.0/29", "a", "default"),
        ("10.1.0.8/29", "a", "bank"),
        ("10.1.0.16/29", "a", "bank:db"),
        ("10.1.0.128/29", "c", "default"),
    ]


def test_a_second_node_begins_where_most_is_free() -> None:
    found = world([*TWO, plain(), *endpoint("e1", "a"), *endpoint("e2", "b")], "a")
    assert addresses(found) == {"e1": ["10.1.0.1"], "e2": ["10.1.0.64"]}


def test_a_block_is_free_again_when_nobody_has_an_address_of_it() -> None:
    """In Romana a block on the list of reusable ones could still have addresses, and a deleted one none."""
    documents = [*TWO, plain(blackouts=["10.1.0.8/29", "10.1.0.16/28", "10.1.0.32/27", "10.1.0.64/26"])]
    first = world([*documents, *endpoint("e1", "a")], "a")
    assert addresses(first) == {"e1": ["10.1.0.1"]}
    both = [*documents, *endpoint("e1", "a"), *endpoint("e2", "b")]
    with pytest.raises(ManifestError, match=r"no IPv4 address is left for endpoint e2 .*10.1.0.0/25 of group r0"):
        world(both, "a", first.lock)
    again = world([*documents, *endpoint("e2", "b", {"tenant": "bank"})], "a", first.lock)
    assert addresses(again) == {"e2": ["10.1.0.1"]}
    assert again.lock.blocks == {"10.1.0.0/29": ("b", "bank")}


def test_the_owners_blocks_of_any_subnet_come_before_a_new_one() -> None:
    documents = [*TWO, network("10.1.0.0/29", "10.2.0.0/24", groups=[{"name": "all"}])]
    six = [doc for n in range(6) for doc in endpoint(f"e{n}", "a")]
    full = world([*documents, *six, *endpoint("f", "a")], "a")
    assert addresses(full)["f"] == ["10.2.0.1"], "the first subnet is full"
    fewer = world([*documents, *six[2:], *endpoint("f", "a"), *endpoint("g", "a", {"tenant": "t"})], "a", full.lock)
    assert addresses(fewer)["g"] == ["10.2.0.8"], "the first one's block is not this tenant's"
    freed = world([*documents, *endpoint("f", "a"), *endpoint("h", "a")], "a", full.lock)
    assert addresses(freed)["h"] == ["10.2.0.2"], "its own block of the second subnet, though the first one is all free"


def test_subnets_can_be_for_some_tenants() -> None:
    options = {"subnets": [{"cidr": "10.2.0.0/24", "tenants": ["bank"], "blockLength": 26}]}
    documents = [*TWO, network("10.2.0.0/24", "10.1.0.0/24", **options)]
    found = world([*documents, *endpoint("e", "a"), *endpoint("f", "a", {"tenant": "bank"})], "a")
    assert addresses(found) == {"e": ["10.1.0.1"], "f": ["10.2.0.1"]}
    with pytest.raises(ManifestError, match=r"10.2.0.0/24 is not for tenant default"):
        world([*documents, *endpoint("e", "a", addresses=["10.2.0.9"])], "a")


@pytest.mark.parametrize(
    ("on", "address", "said"),
    [
        ("c", "10.1.0.9", "10.1.0.9 is outside 10.1.0.128/25 of group r1, where node c is"),
        ("b", "10.1.0.2", "10.1.0.2 is in block 10.1.0.0/29 of default on node a"),
        ("a", "10.1.0.70", "10.1.0.70 is blacked out (10.1.0.64/28)"),
        ("d", "10.1.0.9", "10.1.0.9 cannot be on node d, whose labels fit no group"),
    ],
)
def test_static_addresses_are_where_their_node_is(on: str, address: str, said: str) -> None:
    documents = [*TWO, node("d", 3), plain(blackouts=["10.1.0.64/28"]), *endpoint("e", "a", addresses=["10.1.0.1"])]
    with pytest.raises(ManifestError) as caught:
        world([*documents, *endpoint("x", on, addresses=[address])], "a")
    assert said in str(caught.value)


def test_a_node_that_fits_no_group_gets_no_address() -> None:
    with pytest.raises(ManifestError, match=r"node d, whose labels fit no group"):
        world([*TWO, node("d", 3), plain(), *endpoint("x", "d")], "a")


def test_an_owner_that_changes_moves_its_endpoint_and_nobody_else() -> None:
    others = [*TWO, plain(), *endpoint("e2", "a"), *endpoint("e3", "a")]
    before = world([*others, *endpoint("e1", "a")], "a")
    after = world([*others, *endpoint("e1", "a", {"tenant": "t"})], "a", before.lock)
    assert addresses(after) == {"e1": ["10.1.0.8"], "e2": ["10.1.0.2"], "e3": ["10.1.0.3"]}


def test_without_nodes_there_is_one_host() -> None:
    found = world([network("10.1.0.0/24"), *endpoint("e", "")], "here")
    assert addresses(found) == {"e": ["10.1.0.1"]}


def test_a_range_and_auxiliary_addresses_are_respected() -> None:
    subnet = {"cidr": "10.1.0.0/24", "range": "10.1.0.32/27", "auxiliary": {"printer": "10.1.0.32"}}
    net = document("Network", "app", {"driver": "romana", "subnets": [subnet], "options": {}})
    found = world([net, *endpoint("e", ""), *endpoint("s", "", addresses=["10.1.0.9"])], "here")
    assert addresses(found) == {"e": ["10.1.0.33"], "s": ["10.1.0.9"]}


# -- a change of the topology ------------------------------------------------------------------------------------


def test_a_changed_topology_places_every_address_anew_or_is_refused_whole() -> None:
    ends = [doc for n in range(20) for doc in endpoint(f"e{n}", "abc"[n % 3])]
    before = world([*TWO, plain(), *ends], "a")
    swapped = [GROUPS[1], GROUPS[0]]
    after = world([*TWO, plain(groups=swapped), *ends], "a", before.lock)
    for view in app(after).endpoints:
        part = leaf_of(app(after), view.sandbox.node).cidrs[0]  # type: ignore[union-attr]  # it is in one
        assert view.addresses[0].ip in part
    with pytest.raises(PlanError, match="has no address in the lock file"):
        world([*TWO, plain(groups=swapped), *ends], "a", before.lock, locked=True)
    with pytest.raises(ManifestError) as caught:
        world([*TWO, plain(groups=swapped, room=32), *ends], "a", before.lock)
    assert "no IPv4 address is left" in str(caught.value)


def test_room_lets_racks_come_without_moving_anybody() -> None:
    ends = [doc for n in range(9) for doc in endpoint(f"e{n}", "abc"[n % 3])]
    before = world([*TWO, plain(room=4), *ends], "a")
    more = [*TWO, node("d", 3, {"rack": "2"}), plain(room=4, groups=racks(3)), *ends, *endpoint("x", "d")]
    after = world(more, "a", before.lock)
    assert {**addresses(after), "x": []} == {**addresses(before), "x": []}
    assert addresses(after)["x"] == ["10.1.0.128"]


def test_a_thousand_nodes_with_a_hundred_endpoints_each_within_seconds() -> None:
    clock = process_time()
    network = allocate(Centre(1000, 50, 100))
    assert process_time() - clock < 20, "about 2 s"
    layout = layout_of(network)
    routes = [len(list(ways(network, layout, f"n{number:04}"))) for number in range(0, 1000, 100)]
    assert max(routes) <= 19 + 49, "a route to each node beside it, and one to each other rack"


# -- properties --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """Nodes by their labels, the network's options, and endpoints: number of the node, labels."""

    nodes: Sequence[Labels]
    options: Mapping[str, Any]
    ends: Sequence[tuple[int, Labels]]

    def base(self) -> list[Document]:
        nodes = [node(f"n{number}", number, labels) for number, labels in enumerate(self.nodes)]
        return [*nodes, network("10.1.0.0/18", "fd01::/64", **self.options)]

    def endpoints(self, name: str = "e") -> list[list[Document]]:
        return [endpoint(f"{name}{number}", f"n{on}", labels) for number, (on, labels) in enumerate(self.ends)]

    def documents(self) -> list[Document]:
        return [*self.base(), *(part for pair in self.endpoints() for part in pair)]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Zones of racks or racks alone, with routers or without, both families."""
    zones = draw(st.integers(0, 2))
    count = draw(st.integers(1, 5))
    groups = racks(count, draw(st.booleans()))
    if zones:
        inner = [g | {"name": f"{g['name']}z{zone}", "within": f"z{zone}"} for zone in range(zones) for g in groups]
        routed = {"routers": ["203.0.113.1", "2001:db8:2::1"]}
        groups = [
            {"name": f"z{zone}", "labels": {"zone": str(zone)}} | (routed if draw(st.booleans()) else {})
            for zone in range(zones)
        ] + inner
    options: dict[str, Any] = {"groups": groups, "blockLength4": draw(st.sampled_from([28, 29, 30]))}
    if draw(st.booleans()):
        options["blackouts"] = ["10.1.0.0/27", "10.1.1.4/30", "fd01::/100"]
    if draw(st.booleans()):
        options["room"] = draw(st.integers(max(zones, 1) if zones else count, 8))
    labels = st.builds(
        lambda rack, zone: {"rack": str(rack), "zone": str(zone)},
        st.integers(0, count - 1),
        st.integers(0, max(zones - 1, 0)),
    )
    nodes = draw(st.lists(labels, min_size=1, max_size=8))
    tenants: st.SearchStrategy[Labels] = st.sampled_from([{}, {"tenant": "t"}, {"tenant": "t", "segment": "s"}])
    return World(nodes, options, draw(st.lists(st.tuples(st.integers(0, len(nodes) - 1), tenants), max_size=40)))


def sound(found: Resolved) -> None:
    """What always holds of blocks and addresses."""
    view = app(found)
    held = [address.ip for e in view.endpoints for address in e.addresses]
    assert len(held) == len(set(held)) == 2 * len(view.endpoints)
    by_cidr = {block.cidr: block for block in blocks(view)}
    for one in by_cidr:
        assert not any(one is not other and one.version == other.version and one.overlaps(other) for other in by_cidr)
    used = set()
    options = view.options
    for e in view.endpoints:
        labels = dict(e.labels)
        owner = labels.get("tenant", "default") + (f":{labels['segment']}" if "segment" in labels else "")
        leaf = leaf_of(view, e.sandbox.node)
        assert leaf is not None
        for address in e.addresses:
            cidr, block = next((cidr, block) for cidr, block in by_cidr.items() if address.ip in cidr)
            used.add(cidr)
            assert (block.node, block.owner) == (e.sandbox.node, owner), "a block is one owner's on one node"
            assert any(part is not None and inside(cidr, part) for part in leaf.cidrs), "and inside its group"
            assert cidr.prefixlen == options.block_length(
                next(s.cidr for s in view.subnets if s.cidr.version == cidr.version)
            )
            assert not any(address.ip in dark for dark in options.blackouts)
    assert used == set(by_cidr), "no block without an address"


@settings(max_examples=40, deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_blocks_and_addresses_are_sound_whatever_comes_and_goes(centre: World, dice: random.Random) -> None:
    base, ends = centre.base(), centre.endpoints()
    first = world(centre.documents(), "n0")
    sound(first)
    shuffled = centre.documents()
    dice.shuffle(shuffled)
    assert world(shuffled, "n0").lock == first.lock, "the order of documents does not show"
    assert world(shuffled, "n0", first.lock, locked=True).lock == first.lock, "what is locked stays"
    kept = [pair for pair in ends if dice.random() < 0.6]
    came = centre.endpoints("f")[:9]
    second = world([*base, *(part for pair in [*kept, *came] for part in pair)], "n0", first.lock)
    sound(second)
    was, now = addresses(first), addresses(second)
    assert all(now[pair[1].name] == was[pair[1].name] for pair in kept), "nobody else moves"


@settings(max_examples=25, deadline=None)
@given(worlds())
def test_every_packet_arrives_and_none_goes_round(centre: World) -> None:
    view = app(world(centre.documents(), "n0"))
    traffic = Traffic(view)
    for here in traffic.tables:
        for address, holder in traffic.holders.items():
            assert traffic.arrives(here, address)[-1] == holder
        for subnet in view.subnets:
            for number in range(0, 1 << 14, 997):
                stray = subnet.cidr.network_address + number
                if stray not in traffic.holders:
                    passed = traffic.arrives(here, stray)
                    assert passed[-1] == "dropped", "what nobody has goes nowhere"
                    assert len(passed) == len(set(passed))


@given(st.dictionaries(st.integers(0, 63), st.sampled_from("abc"), max_size=20), st.integers(0, 63))
def test_a_block_more_beside_a_nodes_own_changes_no_route(holders: dict[int, str], more: int) -> None:
    whole = ip_network("10.0.0.0/26")
    found = [BlockView(ip_network(f"10.0.0.{n}/32"), holder) for n, holder in sorted(holders.items())]
    parts = list(cover(whole, found))
    assert all(one is two or not one[0].overlaps(two[0]) for one in parts for two in parts)
    for block in found:
        assert [node for cidr, node in parts if inside(block.cidr, cidr)] == [block.node]
    at = ip_address("10.0.0.0") + more
    own = [holder for cidr, holder in parts if at in cidr]
    if own and more not in holders:
        grown = sorted([*found, BlockView(ip_network(f"{at}/32"), own[0])], key=lambda block: block.cidr)
        assert list(cover(whole, grown)) == parts


@given(st.lists(st.integers(0, 31), max_size=40), st.integers(0, 31))
def test_free_space_against_a_plain_list(asked: list[int], near: int) -> None:
    space, free = Space(5), set(range(32))
    for number in asked:
        if number in free:
            space.take(number)
            free.discard(number)
    best = space.near(near)
    others = free - {near}
    if others:
        assert best == min(others, key=lambda n: ((n ^ near).bit_length(), n))
    roomy = space.roomy()
    if not free:
        assert roomy is None
        return
    level = max(k for k in range(6) for n in range(0, 32, 1 << k) if free.issuperset(range(n, n + (1 << k))))
    starts = [n for n in range(0, 32, 1 << level) if free.issuperset(range(n, n + (1 << level)))]
    assert roomy == starts[0]


@given(st.recursive(st.integers(1, 4), lambda inner: st.lists(inner, min_size=1, max_size=5), max_leaves=12))
def test_prefixes_of_groups_are_parts_of_those_around_and_apart(shape: Any) -> None:
    def specs(shape: Any, within: str | None = None) -> Iterator[GroupSpec]:
        for number, inner in enumerate([()] * shape if isinstance(shape, int) else shape):
            name = f"{within}-{number}" if within else f"g{number}"
            yield GroupSpec.model_validate({"name": name, "within": within})
            yield from specs(inner, name) if inner else ()

    groups = list(specs(shape))
    whole = ip_network("fd00::/32")
    assert list(faults(groups, None, [whole], [122])) == []
    leaves = list(lay_out(groups, None, [whole]).leaves())
    for leaf in leaves:
        assert leaf.cidrs[0] is not None
        assert inside(leaf.cidrs[0], whole)
        assert not any(leaf is not other and leaf.cidrs[0].overlaps(other.cidrs[0]) for other in leaves)  # type: ignore[arg-type]
