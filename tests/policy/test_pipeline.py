"""The parts of policies as flows that can be tried without a switch."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from reconciler.features.openflow.match import port_masks, prefixes
from reconciler.policy.view import Nets, PeerView

ports = st.integers(0, 65535)


def _matches(mask: str, port: int) -> bool:
    if not mask:
        return True
    value, _, bits = mask.partition("/")
    return port & int(bits or "0xffff", 0) == int(value, 0)


@given(ports, ports, ports)
def test_masks_are_the_range_and_nothing_else(one: int, other: int, port: int) -> None:
    first, last = sorted((one, other))
    masks = list(port_masks(first, last))
    assert len(masks) <= 30
    for probe in {port, first, last, max(first - 1, 0), min(last + 1, 65535)}:
        assert sum(_matches(mask, probe) for mask in masks) == (first <= probe <= last)


cidrs = st.builds(
    lambda number, length: ip_network((number, length), strict=False), st.integers(0, 2**32 - 1), st.integers(0, 32)
)


@given(st.none() | st.lists(cidrs, max_size=3), st.lists(cidrs, max_size=3), st.integers(0, 2**32 - 1))
def test_networks_without_others(wanted: list[object] | None, holes: list[object], number: int) -> None:
    nets = (Nets("", tuple(wanted)),) if wanted is not None else None  # type: ignore[arg-type]
    found = prefixes(PeerView(nets=nets, not_nets=(Nets("", tuple(holes)),)), 4)  # type: ignore[arg-type]
    address = ip_address(number)
    right = (wanted is None or any(address in net for net in wanted)) and not any(address in net for net in holes)  # type: ignore[operator]
    assert any(address in ip_network(text or "0.0.0.0/0") for text in found) == right
