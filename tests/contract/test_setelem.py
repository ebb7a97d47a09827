"""Elements by netlink are what nft(8) makes of the same words: listed alike, taken away by either, refused in the kernel's
words, and told apart by packets' own addresses."""

from __future__ import annotations

import json

import pytest

from reconciler.host.nftables import Nftables
from reconciler.netlink.setelem import DELSETELEM, NEWSETELEM, UnknownFormError, elements
from tests.kernel.private import isolated, run

pytestmark = pytest.mark.requires("netns", "nft")
CASES: dict[str, tuple[str, str | None, bool, list[tuple[str, str | None]]]] = {
    "addresses4": ("ipv4_addr", None, False, [("10.0.0.1", None), ("192.0.2.7", None)]),
    "addresses6": ("ipv6_addr", None, False, [("fd01::1", None), ("fe80::2", None)]),
    "links": ("ifname", None, False, [("br-front", None), ("ve-0123456789ab", None)]),
    "verdicts": ("ipv4_addr", "verdict", False, [("10.0.0.1", "goto there"), ("10.0.0.2", "jump there"), ("10.0.0.3", "drop")]),
    "macs": ("ifname . ether_addr", None, False, [("ve-1", "02:00:00:00:00:01")]),
    "frames": ("ifname . ether_type", None, False, [("ve-1", "arp"), ("ve-1", "8021q")]),
    "ports": ("ipv6_addr . inet_proto . inet_service", None, False, [("fd01::1", "tcp . 80"), ("fd01::1", "udp . 53")]),
    "publish": ("inet_proto . inet_service", "ipv4_addr", False, [("tcp . 80", "10.0.0.1")]),
    "numbers": ("inet_proto . inet_service", "inet_service", False, [("udp . 53", "5353")]),
    "nets4": ("ipv4_addr", None, True, [("10.0.0.0/24", None), ("10.0.1.0/24", None), ("192.0.2.1", None)]),
    "nets6": ("ipv6_addr", None, True, [("fd01::/64", None), ("fd01:0:0:1::/64", None), ("2001:db8::7", None)]),
    "snat": ("ipv4_addr", "ipv4_addr", True, [("10.0.0.0/8", "192.0.2.1")]),
}  # fmt: skip


def whole(items: list[tuple[str, str | None]], kind: str) -> list[tuple[str, str | None]]:
    """Of concatenations the second word belongs to the key."""
    if " . " not in kind or kind.startswith("inet_proto"):
        return items
    return [(f"{first} . {second}", None) for first, second in items]


def listed(name: str) -> str:
    found = json.loads(run("nft", "-j", "list", "table", "inet", "t"))["nftables"]
    spec = next(one for item in found for one in item.values() if one.get("name") == name)
    return json.dumps(sorted(map(json.dumps, spec.get("elem", ()))))


def words(items: list[tuple[str, str | None]]) -> str:
    return ", ".join(key if value is None else f"{key} : {value}" for key, value in items)


@pytest.mark.parametrize("name", sorted(CASES))
@isolated
def test_as_nft_does_it(name: str) -> None:
    kind, data, interval, items = CASES[name]
    items = whole(items, kind)
    flags = " flags interval;" if interval else ""
    run("nft", "add table inet t; add chain inet t there")
    word, types = ("map", f"{kind} : {data}") if data else ("set", kind)
    for which in ("one", "other"):
        run("nft", f"add {word} inet t {which} {{ type {types};{flags} }}")
    run("nft", f"add element inet t one {{ {words(items)} }}")
    tables = Nftables()

    def send(verb: int, some: list[tuple[str, str | None]]) -> str:
        found = elements(verb, ("inet", "t", "other"), (kind, data), some, interval=interval)
        return tables.commit(list(found), tables.generation())

    for _ in range(2):
        assert send(NEWSETELEM, items) == "", "once more is no mistake"
        assert listed("other") == listed("one")
    run("nft", f"delete element inet t other {{ {items[-1][0]} }}")
    run("nft", f"delete element inet t one {{ {items[-1][0]} }}")
    assert listed("other") == listed("one"), "nft takes away what we added"
    assert send(DELSETELEM, items[-1:]) == "No such file or directory"
    if items[:-1]:
        assert send(DELSETELEM, items[:-1]) == ""
    assert listed("other") == "[]"
    before = tables.generation()
    run("nft", f"add element inet t other {{ {words(items)} }}")
    found = list(elements(DELSETELEM, ("inet", "t", "other"), (kind, data), items, interval=interval))
    assert tables.commit(found, before) != "", "another one was here"
    assert tables.commit(found, tables.generation()) == "", "we take away what nft added"
    assert listed("other") == "[]"
    assert tables.tables() == {("inet", "t")}, "the socket is none the worse"


@isolated
def test_many_at_once_and_all_or_nothing() -> None:
    run("nft", "add table inet t; add set inet t s { type ipv4_addr; flags interval; }")
    tables = Nftables()
    place, types = ("inet", "t", "s"), ("ipv4_addr", None)
    nets = [(f"10.{number >> 8}.{number & 255}.0/25", None) for number in range(20_000)]
    assert tables.commit(list(elements(NEWSETELEM, place, types, nets, interval=True)), tables.generation()) == ""
    assert len(json.loads(listed("s"))) == 20_000
    more = [("11.0.0.0/8", None), ("10.0.0.0/26", None)]
    refused = tables.commit(list(elements(NEWSETELEM, place, types, more, interval=True)), tables.generation())
    assert refused == "File exists", "it overlaps"
    assert len(json.loads(listed("s"))) == 20_000


@pytest.mark.parametrize(
    ("types", "element"),
    [
        (("ipv4_addr", None), "10.0.0.300"),
        (("ifname", None), "br-*"),
        (("ipv4_addr . inet_service", None), "10.0.0.1"),
        (("mark", None), "7"),
        (("inet_service", None), "70000"),
    ],
)
def test_what_it_does_not_know_is_left_to_nft(types: tuple[str, None], element: str) -> None:
    with pytest.raises(UnknownFormError):
        list(elements(NEWSETELEM, ("inet", "t", "s"), types, [(element, None)], interval=False))


def test_the_ends_of_the_number_space_are_left_to_nft() -> None:
    for net in ("0.0.0.0/1", "128.0.0.0/1", "255.255.255.255"):
        with pytest.raises(UnknownFormError):
            list(elements(NEWSETELEM, ("inet", "t", "s"), ("ipv4_addr", None), [(net, None)], interval=True))
