"""Reading a message by its shape finds what going through all of its attributes finds."""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack

from hypothesis import given
from hypothesis import strategies as st

from reconciler.netlink.shape import Reading, Shapes, Tree
from reconciler.netlink.wire import NLA_F_NESTED, attribute, attributes

TREE: Tree = {1: "one", 2: {1: "inner", 3: {1: "innermost"}}, 4: "four"}
HEADER = b"\x07" * 12


def named(names: Sequence[str]) -> Reading[list[tuple[str, bytes]]]:
    return lambda values: list(zip(names, values, strict=True))


def gone_through(tree: Tree, data: bytes) -> list[tuple[str, bytes]]:
    found = []
    for number, low, high in attributes(data, 0, len(data)):
        wanted = tree.get(number)
        if isinstance(wanted, str):
            found.append((wanted, data[low:high]))
        elif wanted is not None:
            found += gone_through(wanted, data[low:high])
    return found


plain = st.builds(attribute, st.integers(0, 5), st.binary(max_size=9))
nested = st.recursive(
    plain,
    lambda inner: st.builds(
        lambda number, parts: attribute(number | NLA_F_NESTED, b"".join(parts)),
        st.integers(1, 4),
        st.lists(inner, max_size=4),
    ),
    max_leaves=8,
)
# A length that is too small or too large for what is left ends the way through.
torn = st.builds(
    lambda length, number: pack("=HH", length, number), st.sampled_from((0, 3, 4, 8, 5000)), plain.map(len)
)
messages = st.builds(
    lambda parts, tail, cut: b"".join((*parts, tail))[: None if cut is None else -cut],
    st.lists(nested, max_size=8),
    st.one_of(st.just(b""), torn, st.binary(max_size=9)),
    st.sampled_from((None, 1, 2, 5)),
)


@given(st.lists(messages, min_size=1, max_size=12))
def test_reads_what_a_walk_finds(datas: list[bytes]) -> None:
    shapes = Shapes(TREE, named, len(HEADER))
    for data in datas * 2:
        buffer = bytearray(b"\xff" * 3 + HEADER + data + b"\xff" * 5)
        start = 3
        end = start + len(HEADER) + len(data)
        assert shapes.read(buffer, start, end) == gone_through(TREE, data)


@given(nested, st.data())
def test_of_a_known_length_only_the_same_shape_is_believed(message: bytes, data: st.DataObject) -> None:
    """The same length with other heads: a byte that is another one anywhere."""
    shapes = Shapes(TREE, named)
    shapes.read(message, 0, len(message))
    place = data.draw(st.integers(0, len(message) - 1))
    other = bytearray(message)
    other[place] = data.draw(st.integers(0, 255))
    assert shapes.read(other, 0, len(other)) == gone_through(TREE, bytes(other))


def test_ever_new_shapes_are_forgotten() -> None:
    shapes = Shapes(TREE, named)
    for length in range(2_000):
        data = attribute(4, bytes(length))
        assert shapes.read(data, 0, len(data)) == [("four", bytes(length))]
    assert sum(map(len, shapes._known.values())) <= 256
