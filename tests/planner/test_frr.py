"""FRR's configuration: nothing that a manifest says becomes a line of its own."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.drivers.frr import evpn, word
from reconciler.errors import Origin
from reconciler.topology.view import NodeView, SpeakerView


def node(number: int, name: str = "", *, reflector: bool = False) -> NodeView:
    address = f"192.0.2.{number}"
    speaker = SpeakerView(64512, address, reflector, "/etc/frr/frr.conf", "/run/frr")
    return NodeView(name or f"n{number}", (ip_address(address),), {}, Origin(), bgp=speaker)


@given(st.text() | st.from_regex(r"[a-z0-9.:]+[\s!#?|\"'\\]*[a-z]*"))
def test_a_word_is_one_word_or_refused(text: str) -> None:
    try:
        written = word(text)
    except ValueError:
        return
    assert written == text
    assert written.split() == [written]
    assert written.isascii()
    assert not set(written) & set("!#?|\"'\\;%$`")


@given(st.text(min_size=1))
def test_no_name_makes_a_line_more(name: str) -> None:
    plain = evpn("cnm", node(1), [node(2)], 4, flood=False)
    try:
        strange = evpn("cnm", node(1), [node(2, name)], 4, flood=False)
    except ValueError:
        return
    assert len(strange.splitlines()) == len(plain.splitlines())
    assert [line.split()[:3] for line in strange.splitlines()] == [line.split()[:3] for line in plain.splitlines()]


def neighbours(text: str) -> list[str]:
    return [line.split()[1] for line in text.splitlines() if "remote-as" in line]


def test_all_speak_to_all_or_to_the_reflectors() -> None:
    others = [node(2), node(3)]
    assert neighbours(evpn("cnm", node(1), others, 4, flood=False)) == ["192.0.2.2", "192.0.2.3"]
    others = [node(2), node(3, reflector=True)]
    assert neighbours(evpn("cnm", node(1), others, 4, flood=False)) == ["192.0.2.3"]
    text = evpn("cnm", node(3, reflector=True), [node(1), node(2)], 4, flood=False)
    assert neighbours(text) == ["192.0.2.1", "192.0.2.2"]
    assert text.count("route-reflector-client") == 2


def test_a_node_that_cannot_speak_is_an_error() -> None:
    with pytest.raises(ValueError, match="no IPv6 address"):
        evpn("cnm", node(1), [node(2)], 6, flood=False)
