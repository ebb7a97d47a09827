"""Automatic subnets and addresses: what is free, what stays, what is refused."""

from __future__ import annotations

import random
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import ManifestError, PlanError
from reconciler.manifest.lockfile import Lock
from reconciler.topology.allocate import reserved
from reconciler.topology.view import HostRoute, NodeFacts
from tests.topology.scene import addresses, endpoint, network, world


def test_the_lowest_free_address_in_order_of_names() -> None:
    found = world(network("front", "10.1.0.0/24"), endpoint("b"), endpoint("a"))
    assert addresses(found) == {"front/a": ["10.1.0.2"], "front/b": ["10.1.0.3"]}


def test_static_addresses_come_first() -> None:
    found = world(network("front", "10.1.0.0/24"), endpoint("a"), endpoint("b", addresses=["10.1.0.2"]))
    assert addresses(found) == {"front/a": ["10.1.0.3"], "front/b": ["10.1.0.2"]}


def test_a_range_keeps_automatic_addresses_in_and_static_ones_may_be_outside() -> None:
    subnet = {"cidr": "10.1.0.0/24", "range": "10.1.0.128/25", "auxiliary": {"printer": "10.1.0.129"}}
    found = world(network("front", subnet), endpoint("a"), endpoint("b", addresses=["10.1.0.9"]))
    assert addresses(found) == {"front/a": ["10.1.0.128"], "front/b": ["10.1.0.9"]}
    found = world(network("front", subnet | {"gateway": "10.1.0.128"}), endpoint("a"))
    assert addresses(found) == {"front/a": ["10.1.0.130"]}


def test_a_family_without_a_static_address_gets_an_automatic_one() -> None:
    found = world(network("front", "10.1.0.0/24", "fd01::/64"), endpoint("a", addresses=["10.1.0.9"]))
    assert addresses(found) == {"front/a": ["10.1.0.9", "fd01::2"]}


def test_the_next_subnet_when_one_is_full() -> None:
    found = world(network("front", "10.1.0.0/30", "10.1.1.0/24"), endpoint("a"), endpoint("b"))
    assert addresses(found) == {"front/a": ["10.1.0.2"], "front/b": ["10.1.1.2"]}


@pytest.mark.parametrize(
    ("cidr", "gateway", "automatic"),
    [
        ("10.1.0.0/31", "10.1.0.0", "10.1.0.1"),  # RFC 3021: both are hosts
        ("fd01::/127", "fd01::", "fd01::1"),  # RFC 6164
        ("10.1.0.0/30", "10.1.0.1", "10.1.0.2"),
        ("fd01::/126", "fd01::1", "fd01::2"),
    ],
)
def test_the_smallest_subnets(cidr: str, gateway: str, automatic: str) -> None:
    found = world(network("front", cidr), endpoint("a"))
    assert found.topology.network("front").subnets[0].gateway == ip_address(gateway)
    assert addresses(found) == {"front/a": [automatic]}
    with pytest.raises(ManifestError, match=f"no IPv[46] address is left for endpoint c in network front .{cidr}."):
        world(network("front", cidr), *map(endpoint, "abc"))


@pytest.mark.parametrize("cidr", ["10.1.0.0/32", "fd01::/128"])
def test_a_subnet_of_one_address_has_room_for_the_gateway_only(cidr: str) -> None:
    assert world(network("front", cidr)).topology.network("front").subnets[0].gateway is not None
    with pytest.raises(ManifestError, match=r"no IPv[46] address is left"):
        world(network("front", cidr), endpoint("a"))


def test_the_lock_file_decides_while_it_fits() -> None:
    lock = Lock(addresses={"front/a": ("10.1.0.77",), "front/b": ("10.9.0.9",)})
    found = world(network("front", "10.1.0.0/24"), endpoint("a"), endpoint("b"), lock=lock)
    assert addresses(found) == {"front/a": ["10.1.0.77"], "front/b": ["10.1.0.2"]}
    assert found.lock.addresses == {"front/a": ("10.1.0.77",), "front/b": ("10.1.0.2",)}
    taken = world(network("front", "10.1.0.0/24"), endpoint("a"), endpoint("b", addresses=["10.1.0.77"]), lock=lock)
    assert addresses(taken)["front/a"] == ["10.1.0.2"]


def test_all_locked_addresses_are_settled_before_any_is_chosen() -> None:
    lock = Lock(addresses={"front/b": ("10.1.0.2",)})
    found = world(network("front", "10.1.0.0/24"), endpoint("a"), endpoint("b"), lock=lock)
    assert addresses(found) == {"front/a": ["10.1.0.3"], "front/b": ["10.1.0.2"]}


def test_locked_names_every_decision_that_is_missing() -> None:
    documents = (network("front"), endpoint("a"), endpoint("b"))
    with pytest.raises(PlanError) as caught:
        world(*documents, locked=True, lock=Lock(addresses={"front/b": ("172.17.0.9",)}))
    assert [problem.message for problem in caught.value.problems] == [
        "front/a has no address in the lock file",
        "network front has no subnet in the lock file",
    ]
    lock = world(*documents).lock
    assert world(*documents, locked=True, lock=lock).lock == lock


def test_automatic_subnets_avoid_the_host_and_each_other() -> None:
    routes = (HostRoute("172.17.0.0/24", "docker0"), HostRoute("172.16.0.0/12", "vpn0"))
    facts = NodeFacts(name="here", routes=routes[:1], nameservers=("172.18.0.53",))
    found = world(network("a"), network("b"), network("c", "172.19.4.0/24"), facts=facts)
    assert found.lock.subnets == {"a": ("172.20.0.0/16",), "b": ("172.21.0.0/16",)}
    assert not found.conflicts
    behind_vpn = world(network("a"), facts=NodeFacts(name="here", routes=routes))
    assert behind_vpn.lock.subnets == {"a": ("192.168.0.0/20",)}
    with pytest.raises(ManifestError, match="no automatic subnet is left for network a"):
        world(network("a"), facts=NodeFacts(name="here", routes=(*routes, HostRoute("192.168.0.0/16", "lan0"))))


def test_a_locked_subnet_stays_although_the_host_has_a_route_to_it() -> None:
    """Our own bridge is such a route, when a snapshot of the host is older than its marks."""
    facts = NodeFacts(name="here", routes=(HostRoute("172.17.0.0/16", "br-a"),))
    found = world(network("a"), lock=Lock(subnets={"a": ("172.17.0.0/16",)}), facts=facts)
    assert found.lock.subnets == {"a": ("172.17.0.0/16",)}
    assert [conflict.message for conflict in found.conflicts] == [
        "subnet 172.17.0.0/16 overlaps this host's route to 172.17.0.0/16 (dev br-a)"
    ]


@pytest.mark.parametrize("to", ["10.1.0.0/16", "10.1.0.128/25", "10.1.0.7/32"])
def test_a_written_subnet_that_covers_a_route_of_the_host_is_a_conflict(to: str) -> None:
    found = world(network("front", "10.1.0.0/24"), facts=NodeFacts(routes=(HostRoute(to, "vpn0"),)))
    assert [conflict.hint for conflict in found.conflicts] == ["choose another subnet, or remove that route"]
    apart = world(network("front", "10.1.0.0/24"), facts=NodeFacts(routes=(HostRoute("10.2.0.0/24", "vpn0"),)))
    assert not apart.conflicts


names = st.sets(st.sampled_from("abcdefgh"), max_size=8)


@given(names, names, st.integers(0, 7), st.randoms(use_true_random=False))
def test_addresses_are_unique_stay_and_do_not_depend_on_order(
    first: set[str], second: set[str], kept: int, chance: random.Random
) -> None:
    subnet = {"cidr": "10.1.0.0/28", "auxiliary": {"kept": f"10.1.0.{kept + 2}"}}
    net = network("front", subnet, "fd01::/64")
    one = world(net, *map(endpoint, sorted(first)))
    chosen = [address for found in addresses(one).values() for address in found]
    assert len(chosen) == len(set(chosen)) == 2 * len(first)
    forbidden = {f"10.1.0.{kept + 2}", "10.1.0.1", "fd01::1"}
    forbidden |= {str(ip_address(n)) for n in reserved(ip_network("10.1.0.0/28"))}
    assert not forbidden.intersection(chosen)
    assert world(net, *map(endpoint, sorted(first)), lock=one.lock).lock == one.lock

    two = world(net, *map(endpoint, sorted(second)), lock=one.lock)
    for name in first & second:
        assert addresses(two)[f"front/{name}"] == addresses(one)[f"front/{name}"]
    shuffled = [net, *map(endpoint, sorted(second))]
    chance.shuffle(shuffled)
    assert world(*shuffled, lock=one.lock).lock == two.lock
