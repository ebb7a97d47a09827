"""Whose default route a sandbox has, and what follows from names alone."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.topology.derive import short_name
from reconciler.topology.view import EndpointView, NetworkView
from tests.property.worlds import document
from tests.topology.scene import endpoint, network, plugs, world

FAMILIES = {"4": ["10.{}.0.0/24"], "6": ["fd0{}::/64"], "46": ["10.{}.0.0/24", "fd0{}::/64"]}
choices = st.lists(
    st.tuples(st.sampled_from(sorted(FAMILIES)), st.booleans(), st.integers(-1, 1)), min_size=1, max_size=5
)


@given(choices)
def test_the_best_endpoint_carries_the_default_route(chosen: list[tuple[str, bool, int]]) -> None:
    """Highest priority, then dual stack before single, then the network's name; never an internal network."""
    documents = []
    priority = {}
    for number, (families, internal, wanted) in enumerate(chosen):
        name = f"n{number}"
        priority[name] = wanted
        documents.append(network(name, *(cidr.format(number) for cidr in FAMILIES[families]), internal=internal))
        documents.append(endpoint("e", name, sandbox="s", gatewayPriority=wanted))
    topology = world(*documents).topology
    for version in (4, 6):
        usable = [n for n in topology.networks if not n.internal and any(s.cidr.version == version for s in n.subnets)]
        carrying = [n for n in topology.networks if hop(n.endpoints[0], version) is not None]
        assert len(carrying) == min(1, len(usable))
        for best in carrying:
            assert best in usable
            assert hop(best.endpoints[0], version) in [subnet.gateway for subnet in best.subnets]
            for other in usable:
                assert priority[other.name] <= priority[best.name]
                if priority[other.name] == priority[best.name]:
                    assert dual(best) >= dual(other)
                    assert dual(best) > dual(other) or best.name <= other.name


def hop(view: EndpointView, version: int) -> object:
    return view.gateway4 if version == 4 else view.gateway6


def dual(view: NetworkView) -> bool:
    return view.ipv4 and view.ipv6


def test_each_family_may_leave_by_another_endpoint() -> None:
    found = plugs(world(network("a", "10.1.0.0/24"), network("b", "fd02::/64"), *two("a", "b")))
    assert (str(found["a/e"].gateway4), str(found["b/e"].gateway6)) == ("10.1.0.1", "fd02::1")
    assert (found["a/e"].gateway6, found["b/e"].gateway4) == (None, None)


def two(*networks: str, **spec: Any) -> list[Any]:
    return [endpoint("e", name, sandbox="s", **spec) for name in networks]


def test_shared_stacks_are_one_sandbox() -> None:
    """Interfaces and default route are counted in the namespace, whoever shares it."""
    shared = document("Sandbox", "log", {"stack": {"container": "s"}})
    found = world(network("a", "10.1.0.0/24"), network("b", "10.2.0.0/24"), *two("a", "b"), shared)
    assert [sandbox.netns for sandbox in found.topology.sandboxes] == ["s", "s"]
    assert [view.interface for view in plugs(found).values()] == ["eth0", "eth1"]


def test_interface_names_fill_the_gaps_that_static_ones_leave() -> None:
    documents = [network(name, f"10.{number}.0.0/24") for number, name in enumerate("abc", start=1)]
    plugged = [
        endpoint("x", "a", sandbox="s"),
        endpoint("y", "b", sandbox="s", interface="eth0"),
        endpoint("z", "c", sandbox="s"),
    ]
    found = plugs(world(*documents, *plugged))
    assert {name: view.interface for name, view in found.items()} == {"a/x": "eth1", "b/y": "eth0", "c/z": "eth2"}


@given(st.sampled_from("abc"), st.sampled_from("xyz"), st.booleans())
def test_mac_addresses_follow_from_names_and_never_change(net: str, name: str, alone: bool) -> None:
    others = [] if alone else [endpoint("other", net), network("more", "10.9.0.0/24"), endpoint(name, "more")]
    found = plugs(world(network(net, "10.1.0.0/24"), endpoint(name, net), *others))
    mac = found[f"{net}/{name}"].mac
    again = plugs(world(network(net, "10.2.0.0/16"), endpoint(name, net, sandbox="elsewhere")))
    assert again[f"{net}/{name}"].mac == mac
    first = int(mac[:2], 16)
    assert (first & 1, first & 2) == (0, 2), "unicast, locally administered (RFC 7042)"
    assert len({view.mac for view in found.values()}) == len(found)


@given(st.text(min_size=1), st.text())
def test_derived_interface_names_fit_the_kernel(one: str, two: str) -> None:
    name = short_name("ve-", "endpoint", one.replace("/", ""), two.replace("/", ""))
    assert len(name.encode()) <= 15
    assert name.isascii()


def test_endpoints_of_other_nodes_are_peers() -> None:
    nodes = [document("Node", name, {"addresses": [address]}) for name, address in
             (("here", "192.0.2.1"), ("there", "192.0.2.2"))]  # fmt: skip
    sandboxes = [document("Sandbox", name, {"node": name}) for name in ("here", "there")]
    found = world(
        network("front", "10.1.0.0/24"),
        *nodes,
        *sandboxes,
        endpoint("a", sandbox="here"),
        endpoint("b", sandbox="there"),
    )
    front = found.topology.network("front")
    assert [(view.name, view.local) for view in front.endpoints] == [("a", True), ("b", False)]
    assert [view.name for view in front.local] == ["a"]
    assert [sandbox.name for sandbox in found.topology.sandboxes] == ["here"]
