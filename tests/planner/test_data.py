"""Resources from strangers: taken exactly, or refused with the place."""

from __future__ import annotations

import json
from typing import Any, get_args, get_type_hints

import pytest
from msgspec.structs import fields

from reconciler.errors import Origin
from reconciler.resources.data import from_data, key_from_data, to_data
from reconciler.resources.link import BridgePort, Peer
from reconciler.resources.linkinfo.registry import infos
from reconciler.resources.neighbour import Neighbour, neighbour_key
from reconciler.resources.nft import NftChain, Rule, chain_key
from reconciler.resources.registry import kinds
from reconciler.resources.resource import Resource
from reconciler.resources.sysctl import sysctl_key
from tests.contract.samples import samples
from tests.planner.scene import address, asked_by, bridge, filter_table, netns, route, sysctl, veth

SAMPLES: tuple[Resource, ...] = (
    *veth("web", port=BridgePort(isolated=True)),
    bridge(peer=Peer(netns="?", name="?")),
    netns("web", source="path:/run/netns/x"),
    netns("web.0a1b2c", sysctls=(("net/ipv4/ip_forward", "0"),)),
    address("eth0", "fd00::1/64", "web", nodad=True),
    route("0.0.0.0/0", "eth0", "web", via="10.0.0.1", metric=0),
    Neighbour(key=neighbour_key("", "br0", "10.0.0.2"), dev="br0", address="10.0.0.2", mac="02:00:00:00:00:01"),
    sysctl("net/ipv6/conf/eth0.10/forwarding", "1", dev="eth0.10", first=(sysctl_key("", "net/ipv4/ip_forward"),)),
    *filter_table(),
    NftChain(key=chain_key("inet", "cnm", "c"), rules=(Rule(comment="why", expr='[{"accept":null}]'),)),
    *(spec for sample in samples() for spec in (sample.spec, *sample.variants)),
)


def test_the_samples_are_of_all_kinds() -> None:
    assert {sample.kind for sample in SAMPLES} == set(kinds())


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: str(sample.key))
def test_there_and_back(sample: Resource) -> None:
    (placed,) = asked_by("Network/front", sample)
    back = from_data(json.loads(json.dumps(to_data(placed))))
    assert (back, back.origin) == (sample, Origin("net.yaml", 1, 1, "Network/front"))


@pytest.mark.parametrize("kind", [*kinds().values(), *infos().values()], ids=lambda kind: kind.__name__)
def test_what_is_not_managed_is_left_out_and_comes_back_as_that(kind: type[Any]) -> None:
    hints = get_type_hints(kind)
    optional = [field for field in fields(kind) if type(None) in get_args(hints[field.name])]
    assert [field.name for field in optional if field.default is not None] == []


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: str(sample.key))
def test_no_unknown_field_and_no_wrong_type_is_taken(sample: Resource) -> None:
    data = to_data(sample)
    with pytest.raises(ValueError, match="surprise"):
        from_data(data | {"spec": data["spec"] | {"surprise": 1}})
    for name in data["spec"]:
        with pytest.raises(ValueError, match=name):
            from_data(data | {"spec": data["spec"] | {name: {"not": [1.5]}}})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "link",
        "link/",
        "links/br0",
        "link/@UP/eth0",
        "link/@../eth0",
        "link/@-a/eth0",
        f"link/@{'a' * 64}/eth0",
        "link/a/b",
        "link/a b",
        "link/..",
        "link/.",
        f"link/{'x' * 16}",
        "link/ééééééééé",
        "link/a\0",
        "link/a\n",
        "netns/..",
        "netns/a/b",
        "netns/UP",
        "sysctl/kernel/core_pattern",
        "sysctl/net/../kernel/core_pattern",
        "sysctl/net",
        "sysctl//net/x",
        f"route/{'1' * 513}",
        7,
        None,
        ["link", "", "br0"],
    ],
)
def test_odd_keys_are_refused(text: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        key_from_data(text)


LINK, RULE = "link/br0", {"comment": "", "expr": "[]"}


@pytest.mark.parametrize(
    ("key", "spec", "word"),
    [
        (LINK, {"mtu": "1500"}, "mtu"),
        (LINK, {"mtu": True}, "mtu"),
        (LINK, {"up": 1}, "up"),
        (LINK, {"master": "a/b"}, "master"),
        (LINK, {"mac": "zz"}, "mac"),
        (LINK, {"peer": {"netns": "../x", "name": "eth0"}}, "sandbox name"),
        (LINK, {"peer": {"netns": "a", "name": "x" * 16}}, "interface name"),
        (LINK, {"peer": {"netns": "a"}}, "peer.name"),
        (LINK, {"maker": ["sysctl", "", "kernel/x"]}, "sysctl"),
        (LINK, {"key": ["link", "", "br1"]}, "not its own"),
        (LINK, {"origin": {}}, "not its own"),
        (LINK, None, "no mapping"),
        ("netns/a", {"source": "file:/etc/passwd"}, "source"),
        ("netns/a", {"source": "pid:-1"}, "source"),
        ("netns/a", {"source": "path:relative"}, "source"),
        ("netns/a", {"sysctls": [["kernel/core_pattern", "|x"]]}, "sysctls"),
        ("netns/a", {"sysctls": [["net/../kernel/core_pattern", "|x"]]}, "sysctls"),
        ("address/br0/10.0.0.1/24", {"dev": "br0"}, "address"),
        ("address/br0/10.0.0.1/24", {"dev": "br0", "address": "10.0.0.1/33"}, "address"),
        (
            "address/br0/10.0.0.1/24",
            {"dev": "br1", "address": "10.0.0.1/24"},
            "its spec is about address/br1/10.0.0.1/24",
        ),
        ("address/br0/10.0.0.1/24", {"dev": "br0", "address": "10.0.0.9/24"}, "its spec is about"),
        ("route/10.0.0.0/8", {"to": "0.0.0.0/0"}, "its spec is about route/0.0.0.0/0"),
        ("route/10.0.0.0/8", {"to": "10.0.0.0/8", "metric": 5}, "its spec is about"),
        ("route/10.0.0.0/8", {"to": "10.0.0.0/8", "via": "here"}, "via"),
        ("neighbour/br0/10.0.0.2", {"dev": "br0", "address": "10.0.0.3"}, "its spec is about"),
        ("sysctl/net/x", {"value": 1}, "value"),
        ("sysctl/net/x", {"value": "1", "first": [["sysctl", "", "kernel/x"]]}, "net/"),
        ("nft-chain/c", {}, "nft-chain/c"),
        ("nft-element/inet/cnm", {}, "nft-element/inet/cnm"),
        ("nft-chain/inet/cnm/c", {"rules": [RULE | {"expr": "{"}]}, "expr"),
        ("nft-chain/inet/cnm/c", {"rules": [RULE | {"expr": '{"flush":1}'}]}, "expr"),
        ("nft-chain/inet/cnm/c", {"rules": [RULE | {"expr": "[" * 100_000}]}, "expr"),
    ],
)
def test_odd_specs_are_refused_and_the_error_says_where(key: str, spec: Any, word: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        from_data({"key": key, "spec": spec})
    assert word in str(caught.value)
    assert key in str(caught.value) or "sysctl" in str(caught.value) or "@" in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {"key": LINK},
        {"spec": {}},
        {"key": LINK, "spec": {}, "more": 1},
        {"key": LINK, "spec": {}, "origin": []},
        {"key": LINK, "spec": {}, "origin": {"line": "1"}},
        {"key": LINK, "spec": {}, "origin": {"line": True}},
        {"key": LINK, "spec": {}, "origin": {"shell": "x"}},
    ],
)
def test_odd_shapes_are_refused(data: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_data(data)
