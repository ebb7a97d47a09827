"""What goes along with a step, and how it comes back."""

from __future__ import annotations

from msgspec.structs import replace

from reconciler.planner.plan import Plan
from reconciler.resources.link import Link
from reconciler.resources.nft import NftSet
from tests.planner.scene import (
    address,
    bridge,
    filter_table,
    lines,
    netns,
    plan,
    reasons,
    route,
    sandbox,
    seen,
    stages,
    sysctl,
    veth,
)


def along(made: Plan) -> dict[str, list[str]]:
    return {op.id: [str(key) for key in op.also_removes] for op in made.ops() if op.also_removes}


def test_a_sandbox_goes_by_its_pair_and_then_its_namespace() -> None:
    """The namespace dies later than its last reference: the end in the host must not be seen meanwhile."""
    inside = address("eth0", "10.9.9.9/32", "a")
    made = plan([bridge()], seen([bridge()], sandbox("a"), [inside]))
    assert stages(made) == [["- link/ve-a"], ["- netns/a"]]
    assert along(made) == {
        "delete:link/ve-a": [
            "address/@a/eth0/10.0.0.2/24",
            "address/@a/eth0/10.9.9.9/32",
            "link/@a/eth0",
            "route/@a/0.0.0.0/0",
        ]
    }


def test_what_only_the_namespace_holds_goes_with_it() -> None:
    nowhere = route("192.0.2.0/24", netns="a", type="blackhole")
    made = plan([], seen([netns("a"), nowhere]))
    assert along(made) == {"delete:netns/a": [str(nowhere.key)]}
    assert lines(made) == ["- netns/a"]


def test_what_hung_on_a_link_made_anew_is_put_back_with_the_reason() -> None:
    world = [bridge(), address("br0", "10.0.0.1/24"), route("192.0.2.0/24", "br0", via="10.0.0.9")]
    made = plan(world, seen(world[1:], [Link(key=bridge().key, type="dummy", up=True)]))
    assert stages(made) == [
        ["- link/br0"],
        ["+ link/br0"],
        ["+ address/br0/10.0.0.1/24"],
        ["+ route/192.0.2.0/24"],
    ]
    assert reasons(made)["create:route/192.0.2.0/24"] == "goes with link/br0"


def test_ports_are_put_back_when_their_bridge_is_made_anew() -> None:
    world = [bridge(), *sandbox("a")]
    made = plan(world, seen(world[1:], [Link(key=bridge().key, type="dummy", up=True)]))
    assert lines(made) == ["- link/br0", "+ link/br0", "~ link/ve-a"]
    assert reasons(made)["update:link/ve-a"] == ('link/br0, whose port it is, is made anew; master: "" -> br0')


def test_a_primary_address_takes_its_secondaries_and_routes_along() -> None:
    primary, second = address("br0", "10.0.0.1/24", secondary=False), address("br0", "10.0.0.2/24", secondary=True)
    through = route("192.0.2.0/24", "br0", via="10.0.0.9")
    kept = route("198.51.100.0/24", "br0", via="172.16.0.9")
    other = address("br0", "172.16.0.1/24", secondary=False)
    wanted = [bridge(), address("br0", "10.0.0.2/24"), address("br0", "172.16.0.1/24"), through, kept]
    made = plan(wanted, seen([bridge(), primary, second, other, through, kept]))
    assert stages(made) == [[f"- {primary.key}"], [f"+ {second.key}"], [f"+ {through.key}"]]
    assert along(made) == {f"delete:{primary.key}": [str(second.key), str(through.key)]}


def test_a_secondary_address_goes_alone() -> None:
    primary, second = address("br0", "10.0.0.1/24", secondary=False), address("br0", "10.0.0.2/24", secondary=True)
    made = plan([bridge(), address("br0", "10.0.0.1/24")], seen([bridge(), primary, second]))
    assert (lines(made), along(made)) == ([f"- {second.key}"], {})


def test_a_link_taken_down_drops_routes_and_ipv6_and_what_stays_wanted_comes_back() -> None:
    v4, v6 = address("br0", "10.0.0.1/24"), address("br0", "fd00::1/64")
    way = route("192.0.2.0/24", "br0")
    made = plan([replace(bridge(), up=False), v4, v6], seen([bridge(), v4, v6, way]))
    assert along(made)["update:link/br0"] == [str(v6.key), str(way.key)]
    assert f"+ {v6.key}" in lines(made)
    assert f"+ {v4.key}" not in lines(made)


def test_an_mtu_too_small_for_ipv6_drops_it() -> None:
    v4, v6 = address("br0", "10.0.0.1/24"), address("br0", "fd00::1/64")
    made = plan([bridge(mtu=1000), v4], seen([bridge(mtu=1500), v4, v6]))
    assert along(made) == {"update:link/br0": [str(v6.key)]}


def test_elements_go_along_with_a_set_that_is_made_anew() -> None:
    table, chain, names, element = filter_table()
    assert isinstance(names, NftSet)
    changed = replace(names, type="ipv4_addr")
    made = plan([table, chain, names, element], seen([table, chain, changed, element]))
    assert along(made) == {f"delete:{names.key}": [str(element.key)]}
    assert reasons(made)[f"create:{element.key}"] == f"goes with {names.key}"


def test_a_setting_of_a_namespace_goes_along_with_it() -> None:
    setting = sysctl("net/ipv4/ip_default_ttl", "70", "a")
    assert along(plan([], seen([netns("a"), setting]))) == {"delete:netns/a": [str(setting.key)]}


def test_both_ends_of_a_pair_go_in_one_step() -> None:
    made = plan([bridge(), netns("a")], seen([bridge(), netns("a"), *veth("a")]))
    assert lines(made) == ["- link/ve-a"]
    assert along(made) == {"delete:link/ve-a": ["link/@a/eth0"]}
