"""Both kinds of index give the same answers, and these are right."""

from array import array
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.protocol.block import Block
from gobbler.protocol.selector import Selector
from gobbler.store.index import Hole, Index
from gobbler.store.live_index import LiveIndex
from gobbler.store.sealed_index import SealedIndex, seal
from tests.store.model import selector

BASE = 100
KEYS = [
    b"/foo",
    b'/foo\0{"u":"m"}',
    b"/foo/a",
    b'/foo/a\0{"u":"n"}',
    b"/foo/a/b",
    b"/foo/a0",
    b"/foo/ab",
    b"/foo/a-",
]

Shape = list[tuple[int, list[tuple[bytes, int]]]]
"""Blocks: how many ids are missing before it, and its runs."""

shapes = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 3]),
        st.lists(st.tuples(st.sampled_from(KEYS), st.integers(1, 4)), min_size=1, max_size=5),
    ),
    max_size=12,
)
selectors = st.builds(
    lambda paths, params: selector(*paths, **params),
    st.lists(st.sampled_from(["/foo", "/foo/a", "/foo/a/b", "/foo/b", "/foo/a0"]), min_size=1, max_size=3),
    st.sampled_from([{}, {"u": "m"}, {"u": "n"}]),
)


def live(shape: Shape) -> tuple[LiveIndex, list[Block]]:
    index, blocks, next_id, offset = LiveIndex(BASE, 50), [], BASE, 50
    for number, (missing, runs) in enumerate(shape):
        count = sum(count for _, count in runs)
        block = Block(next_id + missing, 1000 - number, tuple(runs), array("I", [1] * count), b"x" * count)
        index.add(block, offset, 10 + count)
        offset += 10 + count
        next_id = block.last_id + 1
        blocks.append(block)
    return index, blocks


def bytes_of(index: LiveIndex) -> bytes:
    steps: Iterator[None] = seal(index)
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            value: bytes = finished.value
            return value


def both(shape: Shape) -> tuple[list[Index], list[Block]]:
    index, blocks = live(shape)
    return [index, SealedIndex(memoryview(bytes_of(index)))], blocks


def selected(block: Block, wanted: Selector) -> int:
    return sum(count for key, count in block.runs if wanted.matches(key))


@given(shapes, selectors, st.integers(0, 12), st.integers(-1, 12))
def test_entries_are_those_of_the_blocks(shape: Shape, wanted: Selector, low: int, high: int) -> None:
    indexes, blocks = both(shape)
    high = min(high, len(blocks) - 1)
    expected = [
        (number, found)
        for number, block in enumerate(blocks)
        if low <= number <= high and (found := selected(block, wanted))
    ]
    for index in indexes:
        assert index.between(wanted, low, high) == expected
        newest = [entry for entry in index.newest_first(wanted, high) if entry[0] >= low]
        assert newest == expected[::-1]


@given(shapes, st.integers(BASE - 2, BASE + 60), st.integers(BASE, BASE + 60))
def test_ids_and_holes_are_those_of_the_blocks(shape: Shape, low: int, high: int) -> None:
    indexes, blocks = both(shape)
    held = {id for block in blocks for id in range(block.first_id, block.last_id + 1)}
    for index in indexes:
        assert len(index) == len(blocks)
        assert index.next_id == (max(held) + 1 if held else BASE)
        assert index.messages == len(held)
        assert index.whole == (held == set(range(BASE, index.next_id)))
        assert index.time == (1000 if blocks else 0)
        for number, block in enumerate(blocks):
            assert (index.first_id(number), index.last_id(number)) == (block.first_id, block.last_id)
        assert index.find(low) == sum(block.last_id < low for block in blocks)
        missing = {id for hole in index.holes(low, high) for id in range(hole.first, hole.last + 1)}
        inside = set(range(max(low, BASE), min(high, index.next_id - 1) + 1))
        assert missing & inside == inside - held
        assert not missing & held
        assert all(hole.first <= high and low <= hole.last for hole in index.holes(low, high) if low <= high)
    assert len({(index.end, index.filtered, index.time) for index in indexes}) == 1


def test_a_selector_for_the_whole_partition_needs_no_keys() -> None:
    for index in both([(0, [(b"/foo/a", 2)]), (0, [(b"/foo", 1)])])[0]:
        assert index.selects_all(selector("/foo"))
        assert index.selects_all(selector("/foo/a", "/foo"))
        assert not index.selects_all(selector("/foo/a"))
    for index in both([(0, [(b'/foo/a\0{"u":"m"}', 2)])])[0]:
        assert not index.selects_all(selector("/foo"))


def test_a_hole_before_the_first_block() -> None:
    for index in both([(3, [(b"/foo", 2)])])[0]:
        assert index.holes(BASE, BASE + 4) == [Hole(BASE, BASE + 2)]
        assert index.holes(BASE + 3, BASE + 4) == []
        assert index.holes(BASE + 1, BASE + 1) == [Hole(BASE, BASE + 2)]


@pytest.mark.parametrize("shape", [[], [(0, [(b"/foo", 1)])]])
def test_an_index_tells_how_much_memory_it_takes(shape: Shape) -> None:
    for index in both(shape)[0]:
        assert 1000 < index.memory < 10_000
