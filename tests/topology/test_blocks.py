"""The rules of blocks: no address twice, blocks given back, borrowing, strict affinity, pools that are for some nodes."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import Origin
from reconciler.topology.allocate import Asker
from reconciler.topology.pools import BlockPool, choose_by_blocks
from reconciler.topology.view import PoolView, SubnetView

NODES = ("n1", "n2", "n3")


def pool(
    cidr: str = "10.48.0.0/28",
    length: int = 30,
    *,
    nodes: Sequence[str] = NODES,
    locked: dict[str, tuple[str, ...]] | None = None,
    most: int | None = None,
    strict: bool = False,
    disabled: bool = False,
) -> BlockPool:
    net = ip_network(cidr)
    view = PoolView(cidr, net, length, frozenset(nodes), Origin(), max_blocks=most, strict=strict, disabled=disabled)
    return BlockPool(SubnetView(net, None, net, {}, Origin(), pool=view), locked=locked or {})


def asker(node: str) -> Asker:
    return Asker("app/x", node, "default", {})


def taken(node: str, count: int, *pools: BlockPool) -> list[str]:
    found = []
    for _ in range(count):
        number = choose_by_blocks(pools, asker(node))
        if number is not None:
            found.append(str(ip_network(number)[0] if number > 1 << 32 else ip_network((number, 32))[0]))
    return found


def held(pool: BlockPool) -> dict[str, str]:
    return {str(block.cidr): block.node for block in pool.blocks()}


def test_a_node_fills_its_blocks_before_it_gets_another() -> None:
    mine = pool()
    assert taken("n1", 3, mine) == ["10.48.0.1", "10.48.0.2", "10.48.0.3"]
    assert taken("n2", 1, mine) == ["10.48.0.4"]
    assert taken("n1", 1, mine) == ["10.48.0.8"]
    assert held(mine) == {"10.48.0.0/30": "n1", "10.48.0.4/30": "n2", "10.48.0.8/30": "n1"}


def test_when_no_block_is_left_it_borrows_the_lowest_address() -> None:
    mine = pool()
    assert len(taken("n1", 11, mine)) == 11
    assert taken("n2", 4, mine) == ["10.48.0.12", "10.48.0.13", "10.48.0.14"]
    assert held(mine)["10.48.0.12/30"] == "n2"
    mine = pool(most=1)
    taken("n1", 1, mine)
    taken("n2", 1, mine)
    assert taken("n1", 3, mine) == ["10.48.0.2", "10.48.0.3", "10.48.0.5"]


def test_a_strict_pool_lends_nothing() -> None:
    mine = pool(most=1, strict=True)
    taken("n2", 1, mine)
    assert len(taken("n1", 9, mine)) == 4


def test_other_pools_are_asked_before_anything_is_borrowed() -> None:
    first, second = pool(most=1), pool("10.49.0.0/28")
    taken("n2", 1, first)
    assert taken("n1", 5, first, second)[-1] == "10.49.0.1"


def test_pools_are_for_their_nodes_and_disabled_ones_for_nobody() -> None:
    assert taken("n1", 1, pool(nodes=("n2",))) == []
    assert taken("n1", 1, pool(disabled=True), pool("10.49.0.0/28")) == ["10.49.0.1"]


def test_locked_blocks_stay_their_nodes_and_empty_ones_are_given_back() -> None:
    mine = pool(locked={"10.48.0.4/30": ("n1",), "10.48.0.8/30": ("n2",), "10.48.0.12/30": ("gone",)})
    assert taken("n1", 1, mine) == ["10.48.0.4"]
    assert held(mine) == {"10.48.0.4/30": "n1"}


Step = tuple[str, str, bool]


@settings(max_examples=200)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 19), st.sampled_from(NODES)), max_size=20), min_size=1, max_size=4),
    st.booleans(),
    st.none() | st.integers(1, 3),
)
def test_whatever_comes_and_goes_no_address_is_held_twice(
    rounds: list[list[tuple[int, str]]], strict: bool, most: int | None
) -> None:
    """Each round is a set of endpoints on nodes; what was decided in the one before is locked, as the lock file does."""
    addresses: dict[int, int] = {}
    locked: dict[str, tuple[str, ...]] = {}
    places: dict[int, str] = {}
    for wanted in rounds:
        now = dict(wanted)
        mine = pool(strict=strict, most=most, locked=locked)
        kept = {who: addresses[who] for who in now if who in addresses and places.get(who) == now[who]}
        for who, number in sorted(kept.items()):
            assert mine.take(ip_network((number, 32))[0], asker(now[who]))
        for who in sorted(now.keys() - kept.keys()):
            number = choose_by_blocks([mine], asker(now[who]))
            if number is not None:
                kept[who] = number
        assert len(set(kept.values())) == len(kept)
        blocks = mine.blocks()
        for one in blocks:
            assert any(ip_network((number, 32))[0] in one.cidr for number in kept.values()), "an empty one is kept"
        assert len({one.cidr for one in blocks}) == len(blocks)
        for node in NODES:
            own = [one for one in blocks if one.node == node]
            earlier = [text for text, whose in locked.items() if whose == (node,)]
            assert most is None or len(own) <= max(most, len(earlier))
        locked = {str(one.cidr): (one.node,) for one in blocks}
        addresses, places = kept, {who: now[who] for who in kept}
